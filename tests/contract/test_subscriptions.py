"""Who is told of which changes: on both stores, and agreeing with what the stores themselves find."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hutong.engines.sense.conditions import predicate
from hutong.engines.sense.documents import Document, DropDocument, KeepDocument
from hutong.engines.sense.geometry import admits, geometry_in
from hutong.engines.sense.ports import (
    Attribute,
    Change,
    ChangeEntities,
    Compare,
    EntityQuery,
    GeoFilter,
    Mark,
    Selector,
    Verb,
)
from hutong.engines.sense.subscriptions import Notice, On, Subscription, channel_of, read_notice
from hutong.kernel.clock import MINUTE, SECOND
from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT
from hutong.standards.ngsi_ld.q import read_q
from tests.contract.core import NOON, Core

A, B = "urn:ngsi-ld:Tank:a", "urn:ngsi-ld:Tank:b"
S = "urn:ngsi-ld:Subscription:s"
LEVEL = Attribute(value=1.0)
ANY_TANK = (Selector(types=(("Tank",),)),)


def subscribe(core: Core, id_: str = S, selectors: tuple[Selector, ...] = ANY_TANK, **given: Any) -> None:
    one = Subscription(id=id_, selectors=selectors, **given)
    core.ask(KeepDocument(document=Document(kind="subscription", id=id_, body=msgspec.json.encode(one))))


def told(core: Core, id_: str = S) -> list[Notice]:
    channel = channel_of("", id_)
    return [read_notice(parcel.body) for parcel in core.outbox.store.take([channel], 1000)[channel]]


def doc(notice: Notice) -> dict[str, Attribute]:
    assert notice.row is not None
    return msgspec.json.decode(notice.row.doc, type=dict[str, Attribute])


def levels(core: Core, id_: str = S) -> list[Any]:
    return [doc(notice)["level"].value for notice in told(core, id_)]


def test_every_state_is_told_in_order_even_those_of_one_group(core: Core) -> None:
    subscribe(core)
    core.change(*(_level(A, value) for value in (1.0, 2.0, 3.0)))
    core.change(_level(A, 4.0))
    assert levels(core) == [1.0, 2.0, 3.0, 4.0]
    assert [notice.created for notice in told(core)] == [True, False, False, False]


def test_what_is_derived_is_told_as_it_was_then(core: Core) -> None:
    subscribe(core, watched=("share",), on=On.ATTRIBUTE_CREATED | On.ATTRIBUTE_UPDATED, previous=True)
    core.observe(A, NOON, capacity=100.0)
    core.change(*(_level(A, value, NOON + i * SECOND) for i, value in enumerate((50.0, 60.0))))
    assert [doc(notice)["share"].value for notice in told(core)] == [0.5, 0.6]
    assert [notice.before["share"].value for notice in told(core)[1:]] == [0.5]


def test_what_is_outside_its_range_is_told_as_suspect(core: Core) -> None:
    subscribe(core)
    core.change(_level(A, -5.0, NOON), _level(A, 5.0, NOON + SECOND))
    assert [bool(doc(notice)["level"].marks & Mark.SUSPECT) for notice in told(core)] == [True, False]


def test_triggers(core: Core) -> None:
    for trigger in On:
        subscribe(core, f"urn:x:{trigger.name}", on=int(trigger))
    core.observe(A, level=1.0)
    core.observe(A, level=2.0)
    core.observe(A, name="n")
    core.change(Change(verb=Verb.DELETE_ATTRIBUTES, id=A, attributes={"name": Attribute()}))
    core.change(Change(verb=Verb.DELETE, id=A))
    counts = {trigger.name: len(told(core, f"urn:x:{trigger.name}")) for trigger in On}
    assert counts == {
        "ENTITY_CREATED": 1,
        "ENTITY_DELETED": 1,
        "ATTRIBUTE_CREATED": 2,
        "ATTRIBUTE_UPDATED": 1,
        "ATTRIBUTE_DELETED": 2,
    }
    [removed, gone] = told(core, "urn:x:ATTRIBUTE_DELETED")
    assert removed.gone["name"].value == "n"
    assert gone.deleted
    assert doc(gone)["level"].value == 2.0


def test_only_watched_attributes_and_named_things_count(core: Core) -> None:
    subscribe(core, watched=("level",), selectors=(Selector(ids=(A,), types=(("Tank",),)),))
    core.observe(A, name="n")
    core.observe(B, level=1.0)
    core.observe(A, level=2.0)
    assert levels(core) == [2.0]


def test_a_late_observation_and_a_repeat_are_no_news(core: Core) -> None:
    core.observe(A, NOON, level=1.0)
    subscribe(core)
    core.observe(A, NOON, level=1.0)
    core.observe(A, NOON - MINUTE, level=9.0)
    assert told(core) == []


def test_ids_patterns_types_scopes_and_places_select(core: Core) -> None:
    inside = {"type": "Polygon", "coordinates": [[[120, 30], [121, 30], [121, 31], [120, 31], [120, 30]]]}
    subscribe(core, "urn:x:pattern", (Selector(id_pattern=".*:b$", types=(("Tank",),)),))
    subscribe(core, "urn:x:both", (Selector(types=(("Tank", "Old"),)),))
    subscribe(core, "urn:x:any", ())
    subscribe(core, "urn:x:scope", scopes=(("/north/#",),))
    subscribe(core, "urn:x:place", geo=GeoFilter(relation="within", geometry=inside))
    place = {"type": "Point", "coordinates": [120.5, 30.5]}
    core.change(
        Change(
            verb=Verb.CREATE, id=A, types=("Tank",), scopes=("/north/one",), attributes={"level": Attribute(value=1.0)}
        ),
        Change(verb=Verb.CREATE, id=B, types=("Tank", "Old"), attributes={"location": Attribute("G", place)}),
    )
    found = {name: [n.row.id for n in told(core, f"urn:x:{name}") if n.row] for name in ("pattern", "both", "any")}
    assert found == {"pattern": [B], "both": [B], "any": [A, B]}
    assert [n.row.id for n in told(core, "urn:x:scope") if n.row] == [A]
    assert [n.row.id for n in told(core, "urn:x:place") if n.row] == [B]


def test_a_paused_an_expired_and_a_dropped_one_are_not_told(core: Core) -> None:
    subscribe(core, "urn:x:paused", active=False)
    subscribe(core, "urn:x:expired", expires_at=NOON + MINUTE)
    subscribe(core, "urn:x:dropped")
    subscribe(core, "urn:x:changed", watched=("name",))
    core.minutes(2)
    core.ask(DropDocument(kind="subscription", id="urn:x:dropped"))
    subscribe(core, "urn:x:changed", watched=("level",))
    core.observe(A, level=1.0)
    assert [len(told(core, f"urn:x:{name}")) for name in ("paused", "expired", "dropped", "changed")] == [0, 0, 0, 1]


def test_who_is_about_a_thing_is_found_anew_when_either_changes(core: Core) -> None:
    subscribe(core, "urn:x:first")
    core.observe(A, level=1.0)
    subscribe(core, "urn:x:second")
    subscribe(core, "urn:x:old", (Selector(types=(("Old",),)),))
    core.observe(A, level=2.0)
    core.change(Change(verb=Verb.APPEND, id=A, types=("Tank", "Old"), attributes={"level": Attribute(value=3.0)}))
    core.ask(DropDocument(kind="subscription", id="urn:x:first"))
    core.observe(A, level=4.0)
    assert levels(core, "urn:x:first") == [1.0, 2.0, 3.0]
    assert levels(core, "urn:x:second") == [2.0, 3.0, 4.0]
    assert levels(core, "urn:x:old") == [3.0, 4.0]


def test_an_interval_is_told_by_the_clock_once_each(core: Core) -> None:
    subscribe(core, interval=MINUTE)
    core.observe(A, level=1.0)
    core.upkeep.remind()
    assert told(core) == []
    core.minutes(1)
    core.upkeep.remind()
    core.upkeep.remind()
    assert [notice.row for notice in told(core)] == [None]


def test_tenants_are_apart(core: Core) -> None:
    subscribe(core)
    core.ask(ChangeEntities(changes=[_level(A, 1.0)], tenant="other"))
    assert told(core) == []


def test_one_that_cannot_be_read_stops_nobody(core: Core) -> None:
    core.ask(KeepDocument(document=Document(kind="subscription", id="urn:x:broken", body=b"{}")))
    subscribe(core)
    core.observe(A, level=1.0)
    assert levels(core) == [1.0]


def _level(id_: str, value: float, at: int | None = None) -> Change:
    attributes = {"level": Attribute(value=value, observed_at=at)}
    return Change(verb=Verb.APPEND, upsert=True, id=id_, types=("Tank",), attributes=attributes)


# --- conditions agree with the stores -------------------------------------------------------------------------

VALUES: list[Any] = [
    1, 2.5, -3, 1e20, True, False, "", "a", "b", "Bcd", "1", "2026-05-01T00:00:00Z", [1, "a", True], ["b", 2.5], [],
    {"city": "Berlin", "n": {"m": 7}, "gone": None}, {"city": ["Berlin", "Bonn"]}, [[1]],
]  # fmt: skip
QUERIES = [
    "x", "!x", "x==1", "x!=1", "x>1", "x>=2.5", "x<0", "x==1,2.5", "x!=1,2.5", "x==1..3", "x!=1..3", 'x=="a"',
    'x!="a"', 'x>"a"', "x==true", "x!=true", "x==false", "x~=^B", "x!~=^B", 'x=="a".."b"', "x[city]==Berlin",
    "x[city]", "!x[city]", "x[gone]", "x[n.m]>6", "x[n.m]==7", "x.observedAt>2026-05-01T11:00:00Z", "x.observedAt",
    "x.unitCode==CEL", "x.unitCode!=CEL", "x.unitCode~=C", "x.accuracy>0.5", "x.accuracy", "!x.accuracy",
    "x.accuracy.by==me", "x.modifiedAt>2026-01-01T00:00:00Z", "x.createdAt<2026-01-01T00:00:00Z",
    "x==1;y==2", "x==1|y==2", "(x==1|x==2.5);!y", "y", "x.datasetId==urn:x:d", 'x=="1"', "x==1e20",
]  # fmt: skip


@pytest.fixture
def several(database_url: str, tmp_path: Path) -> Iterator[Core]:
    core = Core(database_url, tmp_path, undeclared=True)
    changes = []
    for i, value in enumerate(VALUES):
        bare = {"x": Attribute(value=value)}
        accuracy = Attribute(value=i / 10, sub={"by": Attribute(value="me")})
        full = {
            "x": Attribute(
                value=value, observed_at=NOON - i * MINUTE, unit="CEL" if i % 2 else None, sub={"accuracy": accuracy}
            ),
            "y": Attribute(value=2),
        }
        changes += [_thing(f"urn:x:bare:{i:02}", bare), _thing(f"urn:x:full:{i:02}", full)]
    changes.append(_thing("urn:x:without", {"z": Attribute(value=1)}))
    core.change(*changes)
    yield core
    core.close()


def _thing(id_: str, attributes: dict[str, Attribute]) -> Change:
    return Change(verb=Verb.CREATE, id=id_, types=("Thing",), attributes=attributes)


def test_conditions_mean_what_they_mean_to_the_store(several: Core) -> None:
    rows = several.entities.find(EntityQuery(types=(("Thing",),), limit=1000))
    docs = {row.id: msgspec.json.decode(row.doc, type=dict[str, Attribute]) for row in rows}
    assert len(docs) == 2 * len(VALUES) + 1
    differing = {}
    for text in QUERIES:
        where = read_q(text, CORE_CONTEXT)
        found = {row.id for row in several.entities.find(EntityQuery(types=(("Thing",),), where=where, limit=1000))}
        answers = predicate(where)
        here = {id_ for id_, one in docs.items() if answers(one)}
        if found != here:
            differing[text] = sorted(found ^ here)
    assert differing == {}


@pytest.mark.parametrize("relation", ["near", "within", "contains", "intersects", "equals", "disjoint", "overlaps"])
def test_places_mean_what_they_mean_to_the_store(core: Core, relation: Any) -> None:
    square = {"type": "Polygon", "coordinates": [[[120, 30], [121, 30], [121, 31], [120, 31], [120, 30]]]}
    half = {"type": "Polygon", "coordinates": [[[120.5, 30], [122, 30], [122, 31], [120.5, 31], [120.5, 30]]]}
    point = {"type": "Point", "coordinates": [120.5, 30.5]}
    far = {"type": "Point", "coordinates": [10.0, 50.0]}
    for i, place in enumerate((square, half, point, far)):
        attributes = {"location": Attribute("G", place)}
        core.change(Change(verb=Verb.CREATE, id=f"urn:x:{i}", types=("Tank",), attributes=attributes))
    geo = GeoFilter(relation=relation, geometry=square, distance_max=1000.0 if relation == "near" else None)
    found = {row.id for row in core.entities.find(EntityQuery(types=(("Tank",),), geo=geo))}
    admitted = admits(geo)
    here = set()
    for row in core.entities.find(EntityQuery(types=(("Tank",),))):
        shape = geometry_in(msgspec.json.decode(row.doc, type=dict[str, Attribute]), "location")
        if shape is not None and admitted(shape):
            here.add(row.id)
    assert here == found


def test_an_instant_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput):
        predicate(Compare(("x", "observedAt"), ">", ("soon",)))
