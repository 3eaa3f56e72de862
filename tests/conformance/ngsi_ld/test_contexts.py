"""Expansion and compaction agree with a JSON-LD 1.1 processor, and keep the further rules of clause 5.5.7."""

from typing import Any

import pytest
from pyld import jsonld

from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld import contexts as module
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Contexts, full_name, stored_name
from hutong.standards.ngsi_ld.core_context import CORE_DOCUMENT, CORE_TERMS, CORE_URL, DEFAULT_VOCABULARY
from hutong.standards.ngsi_ld.errors import LdContextNotAvailable

SMART = {
    "OffStreetParking": "https://uri.fiware.org/ns/data-models#OffStreetParking",
    "fiware": "https://uri.fiware.org/ns/data-models#",
    "availableSpotNumber": {"@id": "fiware:availableSpotNumber"},
    "schema": "https://schema.org/",
    "address": "schema:address",
    "refDevice": {"@id": "fiware:refDevice", "@type": "@id"},
}
OVERRIDING = {"location": "https://example.org/location", "status": "https://example.org/status"}
NESTED = {"a": "b:one", "b": "c:two/", "c": "https://example.org/"}
LONG_AND_SHORT = {"temperature": "https://example.org/t", "temp": "https://example.org/t", "ex": "https://example.org/"}
PREFIX_BY_FLAG = {"ex": {"@id": "https://example.org/x", "@prefix": True}, "no": {"@id": "https://example.org/no/"}}
TAKEN_NAME = {"speed": "https://example.org/speed"}
SETS: dict[str, Any] = {
    "core": [],
    "smart": [SMART],
    "overriding": [OVERRIDING],
    "nested": [NESTED],
    "long_and_short": [LONG_AND_SHORT],
    "prefix_by_flag": [PREFIX_BY_FLAG],
    "taken_name": [TAKEN_NAME],
    "several": [SMART, LONG_AND_SHORT, OVERRIDING],
}
NAMES = (
    "OffStreetParking", "occupancy", "availableSpotNumber", "address", "refDevice", "location", "status", "description",
    "title", "schema:name", "fiware:name", "temp", "temperature", "a", "b", "ex:deep/down", "unknown:name",
    "https://example.org/whole", "urn:a:b", "观测", "name_2", "speed", "ngsi-ld:thing", "geojson:thing",
)  # fmt: skip
URIS = (
    "https://uri.fiware.org/ns/data-models#OffStreetParking", "https://uri.fiware.org/ns/data-models#other",
    "https://schema.org/address", "https://schema.org/name", "https://example.org/t", "https://example.org/two/one",
    "https://example.org/x", "https://example.org/xy", "https://example.org/no/z", "https://uri.etsi.org/ngsi-ld/location",
    "https://uri.etsi.org/ngsi-ld/status", "https://uri.etsi.org/ngsi-ld/unheard", "http://purl.org/dc/terms/title",
    DEFAULT_VOCABULARY + "occupancy", DEFAULT_VOCABULARY + "speed", DEFAULT_VOCABULARY + "status", "https://nowhere.example/z",
    "https://example.org/location", "https://example.org/status", "https://purl.org/geojson/vocab#Point",
)  # fmt: skip


def for_pyld(user: list[Any]) -> list[Any]:
    """The user's @contexts and the core after them, as clause 5.5.7 has it, for a processor that fetches nothing."""
    return [{"@vocab": DEFAULT_VOCABULARY}, *user, CORE_DOCUMENT["@context"]]


@pytest.mark.parametrize("name", SETS)
def test_names_expand_as_json_ld_says(name: str) -> None:
    context = Contexts().resolve(SETS[name])
    for term in NAMES:
        [node] = jsonld.expand({"@context": for_pyld(SETS[name]), "@id": "urn:a:b", term: {"@id": "urn:c:d"}})
        [predicate] = [key for key in node if not key.startswith("@")]
        assert full_name(context.expand(term)) == predicate, term


@pytest.mark.parametrize("name", SETS)
def test_uris_compact_as_json_ld_says(name: str) -> None:
    context = Contexts().resolve(SETS[name])
    for uri in URIS:
        told = jsonld.compact({"@id": "urn:a:b", "@type": [uri]}, for_pyld(SETS[name]))
        assert context.compact(stored_name(uri)) == told["type"], uri


@pytest.mark.parametrize("name", SETS)
def test_what_was_expanded_compacts_to_the_same_thing(name: str) -> None:
    context = Contexts().resolve(SETS[name])
    for term in NAMES:
        stored = context.expand(term)
        assert context.expand(context.compact(stored)) == stored, term


def test_under_the_core_context_names_are_stored_as_they_come() -> None:
    for name in ("occupancy", "location", "description", "status", "Sensor", "观测"):
        assert CORE_CONTEXT.expand(name) == name
        assert CORE_CONTEXT.compact(name) == name


def test_the_default_vocabulary_and_core_terms_are_left_implicit() -> None:
    assert stored_name(DEFAULT_VOCABULARY + "occupancy") == "occupancy"
    assert stored_name("https://uri.etsi.org/ngsi-ld/location") == "location"
    assert stored_name(DEFAULT_VOCABULARY + "location") == DEFAULT_VOCABULARY + "location"
    assert full_name("location") == "https://uri.etsi.org/ngsi-ld/location"
    assert full_name("occupancy") == DEFAULT_VOCABULARY + "occupancy"


def test_every_core_term_is_protected() -> None:
    hostile = {term: "https://evil.example/" + term for term in CORE_TERMS}
    context = Contexts().resolve(hostile)
    for term, uri in CORE_TERMS.items():
        if not uri.startswith("@"):
            assert full_name(context.expand(term)) == uri


@pytest.mark.parametrize("name", ["my attr", "9lives", "", "a-b", "a.b", "@type", "_x", "a@b:c", "x" * 300, "a:b c"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        CORE_CONTEXT.expand(name)


def test_addresses_are_looked_up_and_may_refer_to_others() -> None:
    documents = {
        "https://ctx.example/a.jsonld": {"@context": ["https://ctx.example/b.jsonld", {"x": "https://example.org/x"}]},
        "https://ctx.example/b.jsonld": {"@context": {"y": "https://example.org/y"}},
    }
    context = Contexts(documents).resolve("https://ctx.example/a.jsonld")
    assert context.expand("x") == "https://example.org/x"
    assert context.expand("y") == "https://example.org/y"
    assert context.url == "https://ctx.example/a.jsonld"
    assert context.source == ["https://ctx.example/a.jsonld", CORE_URL]


@pytest.mark.parametrize("version", ["", "-v1.3", "-v1.6", "-v1.8", "-v1.9"])
def test_the_core_context_is_known_in_all_versions(version: str) -> None:
    url = f"https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context{version}.jsonld"
    assert Contexts().resolve(url) is CORE_CONTEXT
    assert Contexts().resolve([SMART, url]).expand("address") == "https://schema.org/address"


def test_an_unknown_address_is_not_available() -> None:
    with pytest.raises(LdContextNotAvailable) as raised:
        Contexts().resolve([SMART, "https://nowhere.example/context.jsonld"])
    assert raised.value.status == 504
    assert raised.value.fault.where == "@context[1]"


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"Vehicle": {"@id": "https://e.org/V", "@context": {"speed": "https://e.org/s"}}}, "@context.Vehicle"),
        ({"x": 5}, "@context.x"),
        ({"x": {"@reverse": "https://e.org/x"}}, "@context.x"),
        ({"x": "not a uri:"}, "@context.x"),
        ([{}, 7], "@context[1]"),
        (True, "@context"),
        ({"@vocab": "no uri"}, "@context.@vocab"),
        ({"@import": "https://e.org/c"}, "@context"),
        ({"a": "b:x", "b": "a:y"}, "@context.b"),
        ("https://ctx.example/none.jsonld", "@context"),
        ("https://ctx.example/loop.jsonld", None),
        ("no address", "@context"),
    ],
)
def test_what_is_no_context_is_bad_request_data(bad: Any, where: str | None) -> None:
    documents = {
        "https://ctx.example/none.jsonld": {"note": "no @context here"},
        "https://ctx.example/loop.jsonld": {"@context": "https://ctx.example/loop.jsonld"},
    }
    with pytest.raises(InvalidInput) as raised:
        Contexts(documents).resolve(bad)
    assert where is None or raised.value.fault.where == where


def test_compiled_contexts_are_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONTEXTS_KEPT_MAX", 3)
    contexts = Contexts()
    first = contexts.resolve([SMART])
    assert contexts.resolve([dict(SMART)]) is first
    for i in range(4):
        contexts.resolve({"x": f"https://example.org/{i}"})
    assert contexts.resolve([SMART]) is not first
    assert len(contexts._kept) == 3


def test_the_memory_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_KEPT_MAX", 10)
    context = Contexts().resolve(SMART)
    for i in range(50):
        assert context.expand(f"name{i}") == f"name{i}"
    assert len(context.expanded) <= 10
