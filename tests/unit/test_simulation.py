"""Simulations make up the same things and readings for everybody, and go on where they stopped."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hutong.connectors.ground import Ground
from hutong.connectors.mapping import entity_types
from hutong.connectors.plans import Plan, compile_simulations
from hutong.connectors.simulation import Simulations
from hutong.connectors.things import Things
from hutong.engines.sense.ports import Mark
from hutong.kernel.calendar import StateCouncilCalendar
from hutong.kernel.clock import DAY, HOUR, MINUTE, instant
from hutong.kernel.commands import Request
from hutong.kernel.errors import DeclarationFaults, StorageFull
from hutong.kernel.packs.faults import Faults
from hutong.kernel.place import Districts
from tests.declared import declared, packaged
from tests.sensing import Sensing

NOW = "2025-05-09T10:02:00+08:00"
SHANGHAI = timezone(timedelta(hours=8))
ENTITIES = """
[entity.Tank]
grade = "open"
[entity.Tank.property]
name = { type = "text" }
kind = { type = "text" }
capacity = { type = "integer", unit = "LTR" }
level = { type = "integer", unit = "LTR", min = 0, max = "capacity" }
heat = { type = "number", unit = "CEL" }
location = { type = "point" }
"""
SIMULATE = """
[simulate.tanks]
entity = "Tank"
things = 20
id = "urn:tank:{code}:{number}"
every = "10 min"
past = "2 d"
placed = 0.8
silent = 0.1
outages = 0.3

[simulate.tanks.fixed]
name = "{district} {number}"
kind = ["steel", "stone"]
capacity = { low = 100, high = 900 }

[simulate.tanks.series.level]
low = 0
high = "capacity"
noise = 0.02
fault = 0.02
day = [0, 0, 0, 0, 0, 0, 0, 0.2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.2, 0, 0, 0, 0, 0]
rest = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]

[simulate.tanks.series.heat]
low = 4
high = 20.5
day = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
"""


def square(code: str, name: str, west: float) -> dict[str, Any]:
    ring = [[west, 30.0], [west + 0.1, 30.0], [west + 0.1, 30.1], [west, 30.1], [west, 30.0]]
    return {
        "type": "Feature",
        "properties": {"code": code, "zh": name, "label": [west + 0.05, 30.05]},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


FEATURES = [square("330106", "西区", 120.0), square("330102", "东区", 120.2)]


def plans(simulate: str = SIMULATE) -> Sequence[Plan]:
    packs, faults = declared(entities=ENTITIES, simulate=simulate), Faults()
    found = compile_simulations(packs, entity_types(packs), faults)
    faults.check()
    return found


def things(simulate: str = SIMULATE) -> Things:
    return Things(plans(simulate)[0], Ground(FEATURES), SHANGHAI, StateCouncilCalendar())


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Sensing]:
    core = Sensing(declared(entities=ENTITIES, simulate=SIMULATE), tmp_path, NOW)
    yield core
    core.close()


def simulations(core: Sensing, submit: Callable[[Request], "Future[Any]"] | None = None) -> Simulations:
    return Simulations(
        plans(),
        Ground(FEATURES),
        SHANGHAI,
        StateCouncilCalendar(),
        submit or core.writer.submit,
        core.clock,
        core.latest,
    )


def told(core: Sensing, attribute: str = "level") -> pl.DataFrame:
    return core.history.rows.filter(pl.col("attribute") == attribute).sort("entity", "at")


def test_the_same_name_makes_the_same_things_and_readings() -> None:
    hour = instant(NOW) // HOUR
    one, again = things(), things()
    other = things(SIMULATE.replace("simulate.tanks", "simulate.vats"))
    assert (one.ids, one.fixed) == (again.ids, again.fixed)
    assert one.hour(hour).at.tolist() == again.hour(hour).at.tolist()
    assert one.hour(hour).values["level"].tolist() == again.hour(hour).values["level"].tolist()
    assert one.fixed["capacity"] != other.fixed["capacity"]


def test_things_lie_in_the_districts_they_are_named_after() -> None:
    made, districts = things(), Districts.from_geojson(FEATURES, key="code")
    spots = [made.place(n) for n in range(made.count)]
    assert sum(spot is None for spot in spots) == 4
    for n, spot in enumerate(spots):
        assert re.fullmatch(rf"(西区|东区) {n + 1}", made.fixed["name"][n])
        if spot is not None:
            assert districts.at(spot.lon, spot.lat) == spot.code
            assert made.ids[n] == f"urn:tank:{spot.code}:{n + 1}"
            assert made.fixed["name"][n].startswith(spot.district)
    assert {spot.code for spot in spots if spot} == {"330106", "330102"}
    assert set(made.fixed["kind"]) == {"steel", "stone"}
    assert all(isinstance(one, int) and 100 <= one <= 900 for one in made.fixed["capacity"])


def test_readings_follow_the_hours_of_working_days_and_of_days_off() -> None:
    made = things(SIMULATE.replace("fault = 0.02", "fault = 0"))
    capacity = np.array(made.fixed["capacity"])

    def share(at: str) -> float:
        found = made.hour(instant(at) // HOUR)
        return float(np.mean(found.values["level"] / capacity[found.thing]))

    assert share("2025-05-09T13:00:00+08:00") > 0.9  # a Friday
    assert share("2025-05-09T03:00:00+08:00") < 0.1
    assert share("2025-05-10T13:00:00+08:00") < 0.1  # a Saturday
    assert share("2025-05-01T13:00:00+08:00") < 0.1  # a holiday
    assert share("2025-04-27T13:00:00+08:00") > 0.9  # a Sunday that is worked
    heat = made.hour(instant("2025-05-09T03:00:00+08:00") // HOUR).values["heat"]
    assert heat.min() >= 4
    assert np.allclose(heat, np.round(heat, 2))


def test_each_thing_reports_at_its_interval_and_falls_out_for_two_hours_at_times() -> None:
    made = things()
    found = [
        made.hour(hour)
        for hour in range(instant("2025-05-09T00:00:00Z") // HOUR, instant("2025-05-10T00:00:00Z") // HOUR)
    ]
    at = pl.DataFrame(
        {"thing": np.concatenate([one.thing for one in found]), "at": np.concatenate([one.at for one in found])}
    )
    gaps = at.sort("thing", "at").with_columns(gap=pl.col("at").diff().over("thing"))["gap"].drop_nulls()
    assert set(gaps.unique()) == {10 * MINUTE, 2 * HOUR + 10 * MINUTE}
    assert 1 <= (gaps > HOUR).sum() <= 14


def test_the_past_is_made_at_first_start_and_then_time_goes_on(core: Sensing) -> None:
    running = simulations(core)
    assert running.tick() > 18 * 280
    now, readings = core.clock.now(), told(core)
    times = sorted(readings["at"].to_list())
    assert now - 2 * DAY <= times[0] < now - 2 * DAY + 10 * MINUTE
    assert now - 10 * MINUTE < times[-1] <= now
    assert running.tick() == 0
    core.clock.advance(10 * MINUTE)
    count = running.tick()
    assert 12 <= count <= 18  # those not silent, nor out of order
    assert told(core).height == readings.height + count


def test_everything_says_that_it_is_simulated_and_faults_are_suspect(core: Sensing) -> None:
    simulations(core).tick()
    rows = core.history.rows
    assert rows.filter(pl.col("marks") & int(Mark.SIMULATED) == 0).height == 0
    assert set(rows["source"]) == {"test.tanks"}
    suspect = told(core).filter(pl.col("marks") & int(Mark.SUSPECT) > 0)
    share = suspect.height / told(core).height
    assert 0.01 < share < 0.03


def test_silent_things_told_something_once_and_say_no_more(core: Sensing) -> None:
    running = simulations(core)
    running.tick()
    last = told(core).group_by("entity").agg(pl.col("at").max())
    silent = last.filter(pl.col("at") < core.clock.now() - 3 * HOUR + 10 * MINUTE)
    assert silent.height == 2
    core.clock.advance(DAY)
    running.tick()
    later = told(core).group_by("entity").agg(pl.col("at").max())
    assert later.join(silent, on=["entity", "at"], how="semi").height == 2


def test_places_are_left_out_for_some_and_never_zero(core: Sensing) -> None:
    simulations(core).tick()
    rows = core.rows("Tank")
    assert len(rows) == 20
    assert sum(row.lon is None for row in rows) == 4
    assert all(row.lon is None or row.lon > 120 for row in rows)


def test_a_restart_goes_on_without_a_gap_or_a_repeat(core: Sensing) -> None:
    simulations(core).tick()
    core.clock.advance(3 * HOUR)
    simulations(core).tick()  # a new process
    rows = told(core)
    assert rows.select("entity", "at").is_duplicated().any() is False
    assert core.history.rows.filter(pl.col("attribute") == "name").height == 20
    in_one = simulations(core)
    expected = [
        things().hour(hour) for hour in range((core.clock.now() - 3 * HOUR) // HOUR, core.clock.now() // HOUR + 1)
    ]
    silent = things().silent
    wanted = {
        (int(thing), int(at))
        for one in expected
        for thing, at in zip(one.thing, one.at, strict=True)
        if core.clock.now() - 3 * HOUR < at <= core.clock.now() and not silent[thing]
    }
    ids = {id: n for n, id in enumerate(things().ids)}
    since = rows.filter(pl.col("at") > core.clock.now() - 3 * HOUR)
    assert {(ids[id], at) for id, at in since.select("entity", "at").iter_rows()} == wanted
    assert in_one.tick() <= 1  # the last instant again, which changes nothing
    assert told(core).height == rows.height


def test_what_could_not_be_written_is_written_at_the_next_tick(core: Sensing) -> None:
    sent = 0

    def submit(request: Request) -> "Future[Any]":
        nonlocal sent
        sent += 1
        if sent == 3:
            future: Future[Any] = Future()
            future.set_exception(StorageFull("the disk is full"))
            return future
        return core.writer.submit(request)

    running = simulations(core, submit)
    with pytest.raises(StorageFull):
        running.tick()
    running.tick()
    rows = told(core)
    assert rows.select("entity", "at").is_duplicated().any() is False
    assert rows.height > 18 * 280


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ('"{district} {number}"', '"{town} {number}"', "no-template", 13),
        ('"urn:tank:{code}:{number}"', '"urn:tank:{code}"', "no-template", 5),
        ('["steel", "stone"]', "[1, 2]", "wrong-type", 14),
        ("{ low = 100, high = 900 }", '"many"', "wrong-type", 15),
        ('"capacity"\nnoise', '"volume"\nnoise', "expression-name", 19),
        ("series.level", "series.name", "wrong-type", 17),
    ],
)
def test_a_faulty_simulation_is_told_at_its_line(old: str, new: str, code: str, line: int) -> None:
    with pytest.raises(DeclarationFaults) as raised:
        plans(SIMULATE.replace(old, new))
    assert (code, f"test/simulate.toml:{line}") in {(fault.code, fault.where) for fault in raised.value.faults}


def test_a_city_without_districts_has_things_without_place() -> None:
    made = Things(plans()[0], None, UTC, StateCouncilCalendar())
    assert [made.place(n) for n in range(3)] == [None, None, None]
    assert made.fixed["name"][0] == " 1"


def test_the_packaged_simulations_fill_a_week_that_looks_like_one() -> None:
    packs, faults = packaged(), Faults()
    found = compile_simulations(packs, entity_types(packs), faults)
    faults.check()
    parks = [
        Things(plan, None, SHANGHAI, StateCouncilCalendar()) for plan in found if plan.name.startswith("smart_parking.")
    ]
    assert 50 <= sum(one.count for one in parks) <= 70
    hours = range(instant("2025-05-05T00:00:00Z") // HOUR, instant("2025-05-12T00:00:00Z") // HOUR)
    full = suspect = count = 0
    for one in parks:
        capacity = np.array(one.fixed["totalSpotNumber"])
        for hour in hours:
            readings = one.hour(hour)
            free = readings.values["availableSpotNumber"]
            full += int((free == 0).sum())
            suspect += int((free > capacity[readings.thing]).sum())
            count += free.size
    assert count > 100_000
    assert 0.003 < full / count < 0.1
    assert 0.0005 < suspect / count < 0.01
