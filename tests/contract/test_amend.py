"""Amending history: what is struck is gone at once and for good, what is added is there once, also after a crash."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hutong.engines.sense.history import AmendHistory, Instance, Strike, instance_id
from hutong.engines.sense.ports import Attribute, Change, EntityQuery, HistoryQuery, Verb
from hutong.kernel.clock import MINUTE
from hutong.kernel.errors import InvalidInput, NotFound
from hutong.store.lake import LakeHistory
from hutong.store.lake.lake import Lake
from hutong.store.lake.table import HistoryTable
from tests.contract.core import NOON, Core

A, B = "urn:tank:a", "urn:tank:b"


def amend(core: Core, id: str = A, **what: Any) -> Any:
    return core.ask(AmendHistory(id=id, **what))


def told(core: Core, id: str = A, *levels: float, **more: Any) -> Any:
    """Levels a minute apart from NOON on."""
    instances = [
        Instance(key="level", value=Attribute(value=level, observed_at=NOON + i * MINUTE))
        for i, level in enumerate(levels)
    ]
    return amend(core, id, types=("Tank",), instances=instances, upsert=True, **more)


def rows(core: Core, id: str = A) -> pl.DataFrame:
    return core.lake.read(HistoryQuery(entities=(id,)))


def levels(core: Core, id: str = A) -> list[float]:
    return rows(core, id)["number"].to_list()


def strike(row: dict[str, Any]) -> Strike:
    return Strike(**{name: row[name] for name in ("entity", "attribute", "at", "kind", "number", "text", "extra")})


def nothing(_: Core) -> None:
    """Leave the rows where they are: in memory."""


def compact(core: Core) -> None:
    core.upkeep.compact()


def settle(core: Core) -> None:
    core.upkeep.compact()
    core.upkeep.amend()


STAGES = pytest.mark.parametrize("stage", [nothing, compact, settle])


def test_what_is_told_of_the_past_is_history_and_not_present(core: Core) -> None:
    assert told(core, A, 1.0, 2.0) is True
    assert told(core, A, 1.0, 2.0, scopes=("/north",)) is False
    assert levels(core) == [1.0, 2.0]
    assert core.entities.get("", A) is None
    past = core.past.get("", A)
    assert past is not None
    assert (past.type, past.types, past.scopes, past.deleted_at) == ("Tank", ("Tank",), ("/north",), None)
    outside = [Instance(key="pressure", value=Attribute(value=5000.0, observed_at=NOON))]
    for error, id_, given in (
        (NotFound, B, {}),
        (InvalidInput, A, {"instances": outside}),
        (InvalidInput, "urn:x", {"types": ("Nobody",), "upsert": True}),
        (InvalidInput, "urn:x", {"upsert": True}),
    ):
        with pytest.raises(error):
            amend(core, id_, **given)


@STAGES
def test_what_is_struck_is_gone_and_may_come_again(core: Core, stage: Callable[[Core], None]) -> None:
    told(core, A, 1.0, 2.0, 3.0)
    told(core, B, 7.0)
    stage(core)
    amend(core, strikes=(strike(rows(core).row(1, named=True)),))
    assert levels(core) == [1.0, 3.0]
    stage(core)
    assert levels(core) == [1.0, 3.0]
    told(core, A, 1.0, 2.0)
    assert levels(core) == [1.0, 2.0, 3.0]
    amend(core, strikes=(Strike(entity=A),), forgotten="*")
    assert (levels(core), levels(core, B), core.past.get("", A)) == ([], [7.0], None)
    told(core, A, 2.0)
    stage(core)
    assert (levels(core), levels(core, B)) == ([2.0], [7.0])


@STAGES
def test_an_attribute_is_struck_with_or_without_its_datasets(core: Core, stage: Callable[[Core], None]) -> None:
    keys = ("level", "level@urn:d:1", "name")
    given = [Instance(key=key, value=Attribute(value="x" if key == "name" else 1.0, observed_at=NOON)) for key in keys]
    amend(core, types=("Tank",), instances=given, upsert=True)
    stage(core)
    amend(core, strikes=(Strike(entity=A, attribute="level"),), forgotten="level")
    assert rows(core)["attribute"].to_list() == ["level@urn:d:1", "name"]
    amend(core, strikes=(Strike(entity=A, attribute="level", datasets=True),), forgotten="level")
    stage(core)
    assert rows(core)["attribute"].to_list() == ["name"]
    asked = HistoryQuery(entities=(A,), attributes=("level",), datasets=True)
    amend(core, instances=given[:2])
    stage(core)
    assert core.lake.read(asked)["attribute"].to_list() == ["level", "level@urn:d:1"]


@STAGES
def test_an_instance_is_changed_in_place_and_keeps_its_id(core: Core, stage: Callable[[Core], None]) -> None:
    told(core, A, 1.0, 2.0)
    stage(core)
    row = rows(core).row(0, named=True)
    id_ = instance_id(row)
    for level in (9.0, 8.0):
        row = rows(core).row(0, named=True)
        value = Attribute(value=level, observed_at=NOON, created_at=row["recorded_at"])
        one = Instance(key="level", value=value, id=id_, at=NOON)
        amend(core, strikes=(strike(row),), instances=[one])
        stage(core)
        assert levels(core) == [level, 2.0]
        assert instance_id(rows(core).row(0, named=True)) == id_
    assert core.lake.instance(HistoryQuery(entities=(A,)), id_)["number"].to_list() == [8.0]


def test_deleting_keeps_or_deletes_the_past(database_url: str, tmp_path: Path) -> None:
    core = Core(database_url, tmp_path, keep_history=False)
    core.observe(A, NOON, level=1.0)
    core.change(Change(verb=Verb.DELETE, id=A))
    assert (levels(core), core.past.get("", A)) == ([], None)
    core.close()


def test_what_was_deleted_is_remembered(core: Core) -> None:
    core.observe(A, NOON, level=1.0, capacity=10.0, valve="open")
    core.minutes(1)
    core.change(Change(verb=Verb.DELETE_ATTRIBUTES, id=A, attributes={"valve": Attribute()}))
    core.change(Change(verb=Verb.DELETE, id=A))
    assert levels(core) != []
    past = core.past.get("", A)
    assert past is not None
    assert (past.types, past.deleted_at) == (("Tank",), NOON + MINUTE)
    assert [(one.attribute, one.kind, one.at) for one in core.past.deletions("", [A, B])] == [
        ("valve", "P", NOON + MINUTE)
    ]
    amend(core, strikes=(Strike(entity=A, attribute="valve"),), forgotten="valve")
    assert core.past.deletions("", [A]) == []


def test_the_present_and_the_past_are_known_together(core: Core) -> None:
    for id_ in ("urn:tank:3", "urn:tank:1"):
        core.observe(id_, NOON, level=1.0)
    for id_ in ("urn:tank:2", "urn:tank:1"):
        amend(core, id_, types=("Tank", "Old"), upsert=True)
    query = EntityQuery(types=(("Tank",),))
    assert [one.id for one in core.past.known(query, "", 9)] == ["urn:tank:1", "urn:tank:2", "urn:tank:3"]
    assert [one.id for one in core.past.known(query, "urn:tank:1", 1)] == ["urn:tank:2"]
    assert [one.id for one in core.past.known(EntityQuery(types=(("Old",),)), "", 9)] == ["urn:tank:1", "urn:tank:2"]
    assert [one.id for one in core.past.known(EntityQuery(id_pattern="3$"), "", 9)] == ["urn:tank:3"]
    assert [one.id for one in core.past.known(EntityQuery(ids=("urn:tank:2",)), "", 9)] == ["urn:tank:2"]
    assert core.past.known(EntityQuery(types=(("Tank", "New"),)), "", 9) == []
    assert core.past.known(query, "", 9)[0].types == ("Tank", "Old")


# --- crashes --------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process dies here."""


POINTS: dict[str, tuple[Any, str, str]] = {
    "before anything": (LakeHistory, "amend", "before"),
    "while files are written": (Lake, "_rewritten", "before"),
    "files written, not committed": (HistoryTable, "commit", "before"),
    "committed, not yet told": (Lake, "amend", "after"),
    "done": (LakeHistory, "amend", "after"),
}


@pytest.fixture
def cities(database_url: str, tmp_path: Path) -> Iterator[Callable[[], Core]]:
    """Opens the same city again and again, as after a crash: what was in memory is lost."""
    opened: list[Core] = []

    def again() -> Core:
        while opened:
            opened.pop().close()
        opened.append(Core(database_url, tmp_path))
        return opened[-1]

    yield again
    again().close()
    opened.clear()


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("compacted", [True, False])
def test_amendments_hold_exactly_once_after_a_crash(
    cities: Callable[[], Core], monkeypatch: pytest.MonkeyPatch, point: str, compacted: bool
) -> None:
    core = cities()
    told(core, A, 1.0, 2.0, 3.0)
    told(core, B, 7.0, 8.0)
    if compacted:
        core.upkeep.compact()
    first, second, _ = rows(core).iter_rows(named=True)
    id_ = instance_id(first)
    changed = Instance(key="level", value=Attribute(value=9.0, observed_at=NOON), id=id_, at=NOON)
    amend(core, strikes=(strike(first), strike(second)), instances=[changed])
    amend(core, B, strikes=(Strike(entity=B),), forgotten="*")
    told(core, B, 7.0)

    def holds(city: Core) -> None:
        assert (levels(city), levels(city, B)) == ([9.0, 3.0], [7.0])
        assert instance_id(rows(city).row(0, named=True)) == id_

    holds(core)
    whose, name, when = POINTS[point]
    with monkeypatch.context() as patch:
        patch.setattr(whose, name, _dying(getattr(whose, name), when))
        with pytest.raises(Crash):
            core.upkeep.amend()
    for _ in range(2):
        core = cities()
        holds(core)
        core.upkeep.amend()
        holds(core)
        core.upkeep.checkpoint()
        holds(core)
    assert list(core.ledger.verify()) == []
    assert core.lake.unamended() == {}


def _dying(function: Callable[..., Any], when: str) -> Callable[..., Any]:
    def die(*given: Any, **more: Any) -> Any:
        if when == "after":
            function(*given, **more)
        raise Crash

    return die
