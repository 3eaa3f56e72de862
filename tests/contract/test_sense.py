"""State, history and alerts hold the same promises on every store."""

import msgspec
import pytest

from hutong.engines.sense.documents import Document, DropDocument, KeepDocument
from hutong.engines.sense.history import AmendHistory, Instance, Strike
from hutong.engines.sense.ports import (
    AlertAction,
    AllOf,
    AnyOf,
    Attribute,
    Change,
    Compare,
    EntityQuery,
    Exists,
    GeoFilter,
    HistoryQuery,
    Mark,
    Range,
    Tick,
    Verb,
)
from hutong.engines.sense.rebuild import Rebuild, canonical, differences, read_checkpoint
from hutong.kernel.clock import MINUTE, SECOND
from hutong.kernel.errors import AlreadyExists, InvalidInput, NotFound, OutOfRange
from hutong.kernel.ledger import latest_seal
from hutong.store.sql.alerts import SqlAlerts
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.documents import SqlDocuments
from hutong.store.sql.entities import SqlEntities
from hutong.store.sql.past import SqlPast
from hutong.store.sql.tables import ledger_payload, ledger_row
from tests.contract.core import NOON, Core

A, B = "urn:tank:a", "urn:tank:b"


def point(lon: float, lat: float) -> Attribute:
    return Attribute(kind="G", value={"type": "Point", "coordinates": [lon, lat]})


def tank(id: str, verb: Verb = Verb.CREATE, **attributes: Attribute) -> Change:
    return Change(verb=verb, id=id, types=("Tank",), attributes=attributes)


def test_a_created_entity_is_there_with_its_derived_value_unit_and_place(core: Core) -> None:
    done = core.change(tank(A, capacity=Attribute(value=200), level=Attribute(value=50.0), location=point(120.1, 30.2)))
    assert done[0].created
    document = core.document(A)
    assert document["share"].value == 0.25
    assert document["share"].marks == Mark.DERIVED
    assert document["level"].unit == "LTR"
    row = core.entities.get("", A)
    assert row is not None
    assert (row.place, row.city, row.lon, row.version) == ("330106", "330100", 120.1, 1)


def test_values_in_another_unit_of_the_same_quantity_are_converted(core: Core) -> None:
    core.change(tank(A, capacity=Attribute(value=2, unit="MTQ")))
    assert core.document(A)["capacity"].value == pytest.approx(2000)
    [refused] = core.change(tank(B, capacity=Attribute(value=2, unit="KGM")))
    assert isinstance(refused.error, InvalidInput)
    assert refused.error.fault.where == "capacity.unitCode"


def test_the_newest_observation_wins_and_a_late_one_is_history_only(core: Core) -> None:
    core.observe(A, NOON, level=10.0)
    core.observe(A, NOON - MINUTE, level=99.0)
    assert core.document(A)["level"].value == 10.0
    frame = core.lake.read(HistoryQuery(entities=(A,), attributes=("level",)))
    assert frame["number"].to_list() == [99.0, 10.0]


def test_an_exact_repeat_changes_nothing_whether_current_or_late(core: Core) -> None:
    core.observe(A, NOON - MINUTE, level=9.0)
    core.observe(A, NOON, level=10.0)
    before, ledger = core.entities.get("", A), core.ledger_store.lanes()
    assert core.observe(A, NOON, level=10.0).changed == ()
    core.observe(A, NOON - MINUTE, level=9.0)
    assert core.entities.get("", A) == before
    assert core.ledger_store.lanes() == ledger
    assert core.lake.read(HistoryQuery(entities=(A,))).height == 2


def test_a_value_outside_its_range_is_kept_as_suspect_and_stops_being_so(core: Core) -> None:
    core.observe(A, NOON, capacity=100.0, level=120.0)
    assert core.document(A)["level"].marks == Mark.SUSPECT
    core.observe(A, NOON + SECOND, capacity=200.0)
    assert core.document(A)["level"].marks == 0


def test_a_value_outside_a_range_that_rejects_is_refused_and_its_neighbours_are_kept(core: Core) -> None:
    bad, good = core.change(tank(A, pressure=Attribute(value=1000.0)), tank(B, pressure=Attribute(value=100.0)))
    assert isinstance(bad.error, OutOfRange)
    assert good.created
    assert core.entities.get("", A) is None


@pytest.mark.parametrize(
    ("attribute", "where"),
    [
        ({"level": Attribute(value="much")}, "level"),
        ({"level": Attribute(value=True)}, "level"),
        ({"valve": Attribute(value="ajar")}, "valve"),
        ({"colour": Attribute(value="red")}, "colour"),
        ({"location": Attribute(value=3)}, "location"),
    ],
)
def test_what_does_not_fit_the_declaration_is_refused_by_name(
    core: Core, attribute: dict[str, Attribute], where: str
) -> None:
    [refused] = core.change(Change(verb=Verb.CREATE, id=A, types=("Tank",), attributes=attribute))
    assert isinstance(refused.error, InvalidInput)
    assert refused.error.fault.where == where
    assert refused.error.fault.allowed


def test_verbs_refuse_what_they_must(core: Core) -> None:
    core.observe(A, NOON, level=1.0)
    again, missing, nothing = core.change(
        tank(A), tank(B, Verb.UPDATE), tank(A, Verb.UPDATE, capacity=Attribute(value=1.0))
    )
    assert isinstance(again.error, AlreadyExists)
    assert isinstance(missing.error, NotFound)
    assert isinstance(nothing.refused["capacity"], NotFound)
    kept = core.change(Change(verb=Verb.APPEND, id=A, overwrite=False, attributes={"level": Attribute(value=5.0)}))
    assert isinstance(kept[0].refused["level"], AlreadyExists)


def test_merge_patch_delete_and_replace(core: Core) -> None:
    core.observe(A, NOON, level=1.0, name="first", valve="open")
    core.change(
        Change(
            verb=Verb.MERGE,
            id=A,
            attributes={"name": Attribute(value="urn:ngsi-ld:null"), "level": Attribute(observed_at=NOON + SECOND)},
        )
    )
    document = core.document(A)
    assert "name" not in document
    assert (document["level"].value, document["level"].observed_at) == (1.0, NOON + SECOND)
    core.change(Change(verb=Verb.DELETE_ATTRIBUTES, id=A, attributes={"valve": Attribute()}))
    core.change(Change(verb=Verb.REPLACE, id=A, attributes={"name": Attribute(value="second")}))
    assert set(core.document(A)) == {"name"}
    core.change(Change(verb=Verb.DELETE, id=A))
    assert core.entities.get("", A) is None


def test_observations_from_the_future_are_refused(core: Core) -> None:
    done = core.observe(A, NOON + 10 * MINUTE, level=1.0)
    assert isinstance(done.error, InvalidInput)
    assert done.error.fault.where == "level.observedAt"
    assert core.entities.get("", A) is None


def test_a_command_with_a_key_is_done_once(core: Core) -> None:
    first = core.change(tank(A, level=Attribute(value=1.0)), key="k")
    second = core.change(tank(A, level=Attribute(value=1.0)), key="k")
    assert first[0].created
    assert second[0].created
    assert second[0].error is None


def test_an_alert_is_pending_fires_and_resolves_with_hysteresis(core: Core) -> None:
    core.observe(A, NOON, capacity=100.0, level=95.0)
    assert [alert.rule for alert in core.raised("pending")] == ["full"]
    core.minutes(11)
    core.observe(A, NOON + 11 * MINUTE, level=94.0)
    [firing] = core.raised("firing")
    assert msgspec.json.decode(firing.reason)["saw"]["share"] == 0.94
    core.observe(A, NOON + 12 * MINUTE, level=85.0)
    assert core.raised("firing"), "0.85 is not below the clearing threshold"
    core.observe(A, NOON + 13 * MINUTE, level=70.0)
    [resolved] = core.raised("resolved")
    assert resolved.id == firing.id
    assert resolved.resolved_at == NOON + 13 * MINUTE


def test_pending_fires_by_the_clock_alone_and_lapses_when_the_condition_ends(core: Core) -> None:
    core.observe(A, NOON, capacity=100.0, level=95.0)
    core.observe(B, NOON, capacity=100.0, level=95.0)
    core.minutes(5)
    core.observe(B, NOON + 5 * MINUTE, level=10.0)
    core.minutes(6)
    assert core.ask(Tick()) == 1
    assert [alert.entity for alert in core.raised("firing")] == [A, B] or core.raised("firing")[0].entity == A
    assert [alert.entity for alert in core.raised("lapsed")] == [B]


def test_a_fast_fall_raises_the_rate_rule(core: Core) -> None:
    core.observe(A, NOON, capacity=100.0, level=60.0)
    core.observe(A, NOON + 10 * SECOND, level=55.0)
    assert not core.raised("firing")
    core.observe(A, NOON + 12 * SECOND, level=40.0)
    assert [(alert.rule, alert.severity) for alert in core.raised("firing")] == [("leak", "critical")]


def test_silence_is_noticed_and_ends_with_the_next_word(core: Core) -> None:
    core.observe(A, NOON, level=1.0)
    core.minutes(31)
    core.ask(Tick())
    assert [alert.rule for alert in core.raised("firing")] == ["silent"]
    core.observe(A, NOON + 31 * MINUTE, level=1.0)
    assert [alert.rule for alert in core.raised("resolved")] == ["silent"]


def test_history_that_is_played_back_does_not_look_silent(core: Core) -> None:
    core.observe(A, NOON - 3000 * MINUTE, level=1.0)
    core.minutes(31)
    assert core.ask(Tick()) == 0


def test_a_thing_of_a_source_that_tells_of_the_present_is_silent_whatever_it_told_first(core: Core) -> None:
    core.observe(A, NOON - 3000 * MINUTE, level=1.0)
    core.observe(B, NOON, level=1.0)
    assert core.ask(Tick()) == 1
    assert [alert.entity for alert in core.raised("firing")] == [A]


def test_an_alert_is_acknowledged_and_silenced(core: Core) -> None:
    core.observe(A, NOON, level=60.0)
    core.observe(A, NOON + SECOND, level=40.0)
    [alert] = core.raised("firing")
    core.ask(AlertAction(alert=alert.id, acknowledge=True, silence_until=NOON + MINUTE, note="on the way"))
    [seen] = core.raised("firing")
    assert (seen.acknowledged_by, seen.silenced_until, seen.note) == ("tester", NOON + MINUTE, "on the way")
    with pytest.raises(NotFound):
        core.ask(AlertAction(alert="nothing", acknowledge=True))


def fill(core: Core) -> None:
    core.change(
        *(
            tank(
                f"urn:tank:{i:02}",
                level=Attribute(value=float(i), observed_at=NOON - i * MINUTE),
                name=Attribute(value=f"tank {i}"),
                location=point(120 + i / 100, 30),
            )
            for i in range(20)
        )
    )


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Compare(("level",), ">", (17,)), {18, 19}),
        (Compare(("level",), "==", (3.0, 5)), {3, 5}),
        (Compare(("level",), "==", (Range(2, 4),)), {2, 3, 4}),
        (Compare(("level",), "!=", (Range(1, 19),)), {0}),
        (Compare(("name",), "==", ("tank 7",)), {7}),
        (Compare(("name",), "~=", ("k 1$",)), {1}),
        (Compare(("name",), "!~=", ("1|2|3|4|5|6|7|8|9",)), {0}),
        (Compare(("level", "observedAt"), "<", ("2026-05-01T03:42:00Z",)), {19}),
        (AllOf((Compare(("level",), ">=", (5,)), Compare(("level",), "<", (7,)))), {5, 6}),
        (AnyOf((Compare(("level",), "<", (1,)), Compare(("name",), "==", ("tank 9",)))), {0, 9}),
        (AllOf((Exists(("level",)), Exists(("valve",)))), set()),
        (AllOf((Exists(("valve",), negated=True), Compare(("level",), ">", (18,)))), {19}),
        (Compare(("name",), ">", (5,)), set()),
        (Compare(("level",), "==", ("5",)), set()),
    ],
)
def test_filters_mean_the_same_everywhere(
    core: Core, where: AllOf | AnyOf | Compare | Exists, expected: set[int]
) -> None:
    fill(core)
    query = EntityQuery(types=(("Tank",),), where=where, limit=100)
    assert {int(row.id[-2:]) for row in core.entities.find(query)} == expected
    assert core.entities.count(query) == len(expected)


def test_geometry_decides_and_pages_follow(core: Core) -> None:
    fill(core)
    near = GeoFilter(relation="near", geometry={"type": "Point", "coordinates": [120.05, 30]}, distance_max=2000)
    assert {row.id[-2:] for row in core.entities.find(EntityQuery(geo=near))} == {"03", "04", "05", "06", "07"}
    square = {
        "type": "Polygon",
        "coordinates": [[[120.005, 29], [120.035, 29], [120.035, 31], [120.005, 31], [120.005, 29]]],
    }
    within = EntityQuery(geo=GeoFilter(relation="within", geometry=square), limit=2, offset=1)
    assert [row.id[-2:] for row in core.entities.find(within)] == ["02", "03"]
    assert core.entities.count(within) == 3


def test_several_types_ids_patterns_and_places(core: Core) -> None:
    fill(core)
    core.change(Change(verb=Verb.APPEND, id="urn:tank:03", types=("Tank", "Listed")))
    assert [row.id for row in core.entities.find(EntityQuery(types=(("Listed",),)))] == ["urn:tank:03"]
    assert [row.id for row in core.entities.find(EntityQuery(types=(("Tank", "Listed"),)))] == ["urn:tank:03"]
    assert core.entities.count(EntityQuery(types=(("Tank",), ("Other",)))) == 20
    assert core.entities.count(EntityQuery(id_pattern="urn:tank:0[1-3]$")) == 3
    assert core.entities.count(EntityQuery(place="3301")) == 19


def work(core: Core) -> None:
    fill(core)
    core.change(Change(verb=Verb.DELETE, id="urn:tank:01"))
    core.change(tank("urn:tank:01", name=Attribute(value="again")))
    for i in range(5):
        core.minutes(1)
        core.observe(A, core.clock.now(), capacity=100.0, level=90.0 + i, name="漏")
        core.observe(B, core.clock.now(), level=50.0 - 30 * i)
        core.observe("urn:tank:05", NOON - 999 * MINUTE, level=7.0 + i)
    core.change(Change(verb=Verb.REPLACE, id=B, attributes={"valve": Attribute(value="shut")}))
    core.change(Change(verb=Verb.APPEND, id=B, types=("Listed",), scopes=("/a",)))
    core.observe("urn:tank:06", core.clock.now(), level=1.0, valve="open")
    core.change(Change(verb=Verb.DELETE_ATTRIBUTES, id="urn:tank:06", attributes={"valve": Attribute()}))
    core.change(Change(verb=Verb.DELETE, id="urn:tank:06"))
    for id_ in ("urn:tank:07", "urn:tank:06", B):
        instances = [Instance(key="level", value=Attribute(value=3.0, observed_at=NOON - MINUTE))]
        core.ask(AmendHistory(id=id_, types=("Tank", "Old"), instances=instances, upsert=True))
    core.ask(AmendHistory(id="urn:tank:06", strikes=(Strike(entity="urn:tank:06"),), forgotten="*"))
    core.minutes(40)
    core.ask(Tick())
    for id_ in ("urn:kept:1", "urn:kept:2", "urn:kept:2", "urn:kept:3"):
        core.ask(KeepDocument(document=Document(kind="subscription", id=id_, body=b"{}")))
    core.ask(DropDocument(kind="subscription", id="urn:kept:1"))


def test_the_chain_verifies_and_state_can_be_rebuilt_from_it(
    core: Core, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work(core)
    assert list(core.ledger.verify()) == []
    scratch = SqlDatabase(f"sqlite:///{tmp_path_factory.mktemp('scratch') / 'scratch.db'}")
    entities, alerts, documents = SqlEntities(scratch), SqlAlerts(scratch, core.clock), SqlDocuments(scratch)
    past = SqlPast(scratch)
    Rebuild(core.changer, scratch, entities, alerts, documents, past).follow(core.ledger.entries())
    assert differences(core.entities, entities) == []
    served = canonical(core.entities, core.alerts, core.documents, core.past)
    assert served == canonical(entities, alerts, documents, past)
    assert len(set(served.values())) == 4
    scratch.close()


def test_a_checkpoint_seals_payloads_and_rebuilding_starts_from_it(
    core: Core, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work(core)
    file = core.upkeep.checkpoint()
    core.minutes(1)
    core.observe(A, core.clock.now(), level=1.0)
    assert list(core.ledger.verify()) == []
    assert any(entry.payload is None for entry in core.ledger.entries())
    scratch = SqlDatabase(f"sqlite:///{tmp_path_factory.mktemp('scratch') / 'scratch.db'}")
    entities, alerts, documents = SqlEntities(scratch), SqlAlerts(scratch, core.clock), SqlDocuments(scratch)
    past = SqlPast(scratch)
    rebuild = Rebuild(core.changer, scratch, entities, alerts, documents, past)
    rebuild.start_from(read_checkpoint(file))
    seal = latest_seal(core.ledger.entries())
    assert seal is not None
    assert rebuild.follow(core.ledger.entries(seal.upto)) >= 1
    served = canonical(core.entities, core.alerts, core.documents, core.past)
    assert served == canonical(entities, alerts, documents, past)
    assert len(set(served.values())) == 4
    scratch.close()


def test_a_changed_payload_and_a_missing_row_are_noticed(core: Core) -> None:
    work(core)
    with core.database.engine.begin() as connection:
        connection.execute(ledger_payload.update().where(ledger_payload.c.n == 2).values(bytes=b"forged"))
        connection.execute(ledger_row.delete().where(ledger_row.c.n == 5))
    found = "\n".join(core.ledger.verify())
    assert "main:2" in found
    assert "main:5 is missing" in found
