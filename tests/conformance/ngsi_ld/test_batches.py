"""Batches (clauses 5.6.7 to 5.6.10, 5.6.20): faulty items do not hold back the others."""

from typing import Any

import msgspec
import pytest

from hutong.engines.sense.ports import Change, Verb
from hutong.kernel.errors import AlreadyExists, HutongError, InvalidInput, MalformedBody, TooLarge
from hutong.standards.ngsi_ld import entities as module
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT
from hutong.standards.ngsi_ld.entities import Refused, read_batch, read_ids
from hutong.standards.ngsi_ld.errors import LdContextNotAvailable
from tests.conformance.ngsi_ld.wire import CONTEXTS


def batch(items: Any, verb: Verb = Verb.CREATE, **more: Any) -> list[Change | Refused]:
    return read_batch(msgspec.json.encode(items), verb, CONTEXTS, CORE_CONTEXT, **more)


def test_faulty_items_of_a_batch_do_not_hold_back_the_others() -> None:
    good = {"id": "urn:a:1", "type": "V", "speed": 1}
    results = batch(
        [
            good,
            {"id": "urn:a:2", "type": "V", "speed": {"value": 1, "observedAt": "noon"}},
            5,
            {"type": "V"},
            {**good, "id": "urn:a:3"},
        ]
    )
    assert [type(result) for result in results] == [Change, Refused, Refused, Refused, Change]
    refused = [result for result in results if isinstance(result, Refused)]
    assert [(r.index, r.id, r.error.fault.where) for r in refused] == [
        (1, "urn:a:2", "[1].speed.observedAt"),
        (2, "", "[2]"),
        (3, "", "[3].id"),
    ]


def test_an_id_twice_in_a_batch_of_creations_is_refused_the_second_time() -> None:
    item = {"id": "urn:a:1", "type": "V"}
    first, second = batch([item, item])
    assert isinstance(first, Change)
    assert isinstance(second, Refused)
    assert isinstance(second.error, AlreadyExists)
    assert second.error.fault.where == "[1].id"


def test_an_id_twice_in_a_batch_of_upserts_is_applied_in_order() -> None:
    items = [{"id": "urn:a:1", "type": "V", "speed": i} for i in (1, 2)]
    results = batch(items, Verb.REPLACE, upsert=True)
    assert [r.attributes["speed"].value for r in results if isinstance(r, Change)] == [1, 2]
    assert all(isinstance(r, Change) and r.upsert for r in results)


def test_each_item_may_bring_its_own_context() -> None:
    def item(n: int) -> dict[str, Any]:
        return {"id": f"urn:a:{n}", "type": "V", "@context": {"V": f"https://example.org/{n}"}}

    items = [item(1), item(2), {**item(3), "@context": "https://nowhere.example/c"}, {"id": "urn:a:4", "type": "V"}]
    results = read_batch(msgspec.json.encode(items), Verb.CREATE, CONTEXTS, None)
    assert [r.types for r in results if isinstance(r, Change)] == [
        ("https://example.org/1",),
        ("https://example.org/2",),
    ]
    errors = [type(r.error) for r in results if isinstance(r, Refused)]
    assert errors == [LdContextNotAvailable, InvalidInput]


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"[]", InvalidInput), (b"{}", InvalidInput), (b"[null]", InvalidInput), (b"[1,", MalformedBody)],
)
def test_a_batch_at_fault_as_a_whole(body: bytes, error: type[HutongError]) -> None:
    with pytest.raises(error):
        read_batch(body, Verb.CREATE, CONTEXTS, CORE_CONTEXT)


def test_a_batch_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTITIES_PER_BATCH_MAX", 2)
    with pytest.raises(TooLarge):
        batch([{"id": f"urn:a:{i}", "type": "V"} for i in range(3)])


def test_a_batch_of_deletions() -> None:
    results = read_ids(b'["urn:a:1", "nope", 5]')
    assert results[0] == Change(verb=Verb.DELETE, id="urn:a:1")
    assert [(r.index, r.id) for r in results if isinstance(r, Refused)] == [(1, "nope"), (2, "")]
