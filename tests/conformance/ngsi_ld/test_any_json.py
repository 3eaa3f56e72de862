"""Whatever JSON comes is read or refused with its place; what is read can be written in every representation."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hutong.engines.sense.ports import Attribute, Entity, Verb
from hutong.kernel.errors import HutongError
from hutong.standards.ngsi_ld.attributes import KINDS, RESERVED, VALUE_MEMBERS
from hutong.standards.ngsi_ld.contexts import Contexts
from hutong.standards.ngsi_ld.entities import read_attribute, read_batch, read_change
from hutong.standards.ngsi_ld.query import read_query_body
from hutong.standards.ngsi_ld.representations import Form, Shape, write_entity, write_feature

# PostgreSQL keeps no U+0000.
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5)
CONTEXTS = Contexts()
USER = CONTEXTS.resolve({"speed": "https://example.org/speed", "ex": "https://example.org/"})
NAMES = st.sampled_from(sorted(RESERVED)) | st.sampled_from(
    ["speed", "ex:a", "location", "scope", "quality", "a b", "b"]
)
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [*KINDS, "Point", "urn:a:b", "urn:ngsi-ld:null", "@none", "2026-05-01T10:00:00Z", "suspect", "CEL", ""]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TYPED = st.builds(
    lambda kind, rest: {**rest, "type": kind}, st.sampled_from([*KINDS]), st.dictionaries(NAMES, VALUES, max_size=4)
)
GOOD_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Property": st.recursive(
        st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | TEXTS
        | st.floats(allow_nan=False, allow_infinity=False, width=32),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    ).filter(lambda value: value not in (float("inf"), float("-inf"))),
    "GeoProperty": st.builds(
        lambda x, y: {"type": "Point", "coordinates": [x, y]}, st.floats(-180, 180), st.floats(-90, 90)
    ),
    "Relationship": st.sampled_from(["urn:a:b", ["urn:a:b", "urn:c:d"]]),
    "LanguageProperty": st.dictionaries(st.sampled_from(["zh", "en-GB", "@none"]), TEXTS, min_size=1),
    "VocabProperty": st.sampled_from(["x", "ex:y", ["x", "https://example.org/speed"]]),
    "JsonProperty": st.dictionaries(TEXTS, st.none() | st.integers(0, 9), max_size=3),
    "ListProperty": st.lists(st.integers(0, 9) | TEXTS, max_size=3),
    "ListRelationship": st.lists(st.sampled_from(["urn:a:b", "urn:c:d"]), max_size=3),
}
ABOUT = st.fixed_dictionaries({}, optional={"observedAt": st.just("2026-05-01T10:00:00.5Z")})


@st.composite
def attributes(draw: st.DrawFn, depth: int = 0) -> Any:
    """A valid attribute, of any kind, with sub-attributes and instances."""
    kind = draw(st.sampled_from([*KINDS]))
    one = {"type": kind, VALUE_MEMBERS[KINDS[kind]]: draw(GOOD_VALUES[kind]), **draw(ABOUT)}
    if depth < 2 and draw(st.booleans()):
        one["accuracy"] = draw(attributes(depth=depth + 1))
    return [one, {**one, "datasetId": "urn:d:1"}] if draw(st.integers(0, 5)) == 0 else one


GOOD = st.builds(
    lambda members: {"id": "urn:a:b", "type": "V", **members},
    st.dictionaries(st.sampled_from(["speed", "ex:a", "名", "b"]), attributes(), max_size=3),
)
ENTITIES = st.builds(
    lambda members: {"id": "urn:a:b", "type": "V", **members}, st.dictionaries(NAMES, TYPED | VALUES, max_size=5)
)


def encoded(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (OverflowError, ValueError):
        return b"{}"


def refusal(read: Callable[[], Any]) -> HutongError | None:
    """The error that reading ends with, if any; whatever else is raised fails the test."""
    try:
        read()
    except HutongError as error:
        return error
    return None


def told(attributes: dict[str, Attribute]) -> dict[str, Any]:
    return {key: msgspec.to_builtins(attribute) for key, attribute in attributes.items()}


@settings(max_examples=150, deadline=None)
@given(raw=GOOD)
def test_what_is_valid_is_read_and_comes_back_from_every_representation(raw: dict[str, Any]) -> None:
    change = read_change(encoded(raw), Verb.CREATE, CONTEXTS, USER)
    entity = Entity(id=change.id, types=change.types, attributes=change.attributes)
    forms: tuple[Form, ...] = ("normalized", "concise")
    for form in forms:
        again = write_entity(entity, USER, Shape(form=form))
        assert told(read_change(msgspec.json.encode(again), Verb.CREATE, CONTEXTS, USER).attributes) == told(
            change.attributes
        )
    shape = Shape(form="simplified", system=True)
    assert msgspec.json.encode([write_entity(entity, USER, shape), write_feature(entity, USER, shape)])


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.MERGE, Verb.APPEND])
@settings(max_examples=150, deadline=None)
@given(raw=ENTITIES)
def test_any_entity_is_read_or_refused(verb: Verb, raw: dict[str, Any]) -> None:
    error = refusal(lambda: read_change(encoded(raw), verb, CONTEXTS, USER))
    assert error is None or error.fault.what


@settings(max_examples=150, deadline=None)
@given(raw=VALUES)
def test_any_body_is_read_or_refused(raw: Any) -> None:
    body = encoded(raw)
    for read in (
        lambda: read_change(body, Verb.MERGE, CONTEXTS, USER, entity_id="urn:a:b", simplified=True),
        lambda: read_change(body, Verb.CREATE, CONTEXTS, None),
        lambda: read_attribute(body, Verb.PATCH, CONTEXTS, USER, entity_id="urn:a:b", name="speed"),
        lambda: read_batch(body, Verb.CREATE, CONTEXTS, USER),
        lambda: read_query_body(raw, {}, USER),
    ):
        error = refusal(read)
        assert error is None or error.fault.what


@settings(max_examples=150, deadline=None)
@given(
    raw=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(0, 5)
        | st.sampled_from(["@id", "@vocab", "a", "a:b", "https://e.org/", "x y"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["a", "b", "@vocab", "@context", "@id", "@type", "a:b", ""]), inner, max_size=4
            )
        ),
        max_leaves=10,
    )
)
def test_any_context_is_compiled_or_refused(raw: Any) -> None:
    error = refusal(lambda: CONTEXTS.resolve(raw))
    if error is not None:
        assert error.fault.where.startswith("@context")
        return
    context = CONTEXTS.resolve(raw)
    for name in ("a", "b", "a:c", "location"):
        if refusal(lambda: context.expand(name)) is None:  # noqa: B023 - called before the next turn
            stored = context.expand(name)
            assert context.expand(context.compact(stored)) == stored
