"""Rollups on both stores: hours, days, moving windows, groups, meters, validity, late data, restarts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hutong.engines.sense.ports import Mark
from hutong.kernel.clock import DAY, HOUR, MINUTE, instant
from tests.reckoned import Reckoned

ENTITIES = """
[entity.Station]
grade = "open"
[entity.Station.property]
name = { type = "text" }
area = { type = "text" }
pm25 = { type = "number", unit = "GQ", min = 0, max = 1000 }
o3 = { type = "number", unit = "GQ" }
[entity.StationDay]
grade = "open"
[entity.StationDay.property]
name = { type = "text" }
pm25 = { type = "number", unit = "GQ" }
pm25Double = { type = "number", unit = "GQ", derive = "pm25 * 2" }
o3Max8h = { type = "number", unit = "GQ" }
received = { type = "integer" }
dateObservedFrom = { type = "datetime" }
dateObservedTo = { type = "datetime" }
[entity.StationHour]
grade = "open"
[entity.StationHour.property]
o3Mean8h = { type = "number", unit = "GQ" }
[entity.Meter]
grade = "open"
[entity.Meter.property]
area = { type = "text" }
kind = { type = "text" }
total = { type = "number", unit = "KWH" }
[entity.AreaDay]
grade = "open"
[entity.AreaDay.property]
area = { type = "text" }
kind = { type = "text" }
energy = { type = "number", unit = "KWH" }
resets = { type = "integer" }
gap = { type = "number", unit = "SEC" }
meters = { type = "integer" }
"""
ROLLUPS = """
[rollup.day]
on = "Station"
into = "StationDay"
period = "day"
set = { pm25 = "avg(pm25)", received = "count(pm25)" }
valid_for = { pm25 = "count() >= 3" }
carry = ["name"]
[rollup.ozone]
on = "Station"
into = "StationHour"
period = "hour"
window = "8 h"
set = { o3Mean8h = "avg(o3)" }
valid = "count() >= 6"
[rollup.ozone_day]
on = "StationHour"
into = "StationDay"
period = "day"
set = { o3Max8h = "max(o3Mean8h)" }
[rollup.energy]
on = "Meter"
into = "AreaDay"
period = "day"
by = ["area", "kind"]
set = { energy = "increase(total)", resets = "resets(total)", gap = "gap(total)", meters = "things(total)" }
"""
FILES = {"entities.toml": ENTITIES, "rollups.toml": ROLLUPS}
A, DAY_OF_A, HOUR_OF_A = "urn:ngsi-ld:Station:a", "urn:ngsi-ld:StationDay:a", "urn:ngsi-ld:StationHour:a"
MAY = instant("2026-05-01T00:00:00+08:00")

Open = Callable[..., Reckoned]


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[Reckoned]:
    city = Reckoned(FILES, tmp_path, "2026-05-01T00:00:00+08:00", database_url)
    yield city
    city.close()


def hours(made: Reckoned, begin: int, values: list[float], name: str = "") -> None:
    made.tell_all([made.change("Station", A, begin + n * HOUR, pm25=value) for n, value in enumerate(values)])
    if name:
        made.tell("Station", A, None, name=name)


def test_a_day_is_rolled_up_when_it_is_over_and_dated_by_its_start(made: Reckoned) -> None:
    made.pulse(6 * HOUR)
    hours(made, MAY, [10, 20, 60, 30], name="Lake")
    made.pulse(MINUTE)
    assert made.now(DAY_OF_A) == {}
    made.pulse(DAY)
    now = made.now(DAY_OF_A)
    assert (now["pm25"].value, now["pm25"].unit, now["pm25"].observed_at) == (30, "GQ", MAY)
    assert now["pm25"].marks == Mark.DERIVED
    assert (now["received"].value, now["name"].value, now["pm25Double"].value) == (4, "Lake", 60)
    assert now["pm25Double"].observed_at == MAY  # a name without a time is no news of today


def test_what_is_not_valid_is_missing_and_never_nothing(made: Reckoned) -> None:
    made.pulse(6 * HOUR)
    hours(made, MAY, [10, 20])
    made.pulse(DAY)
    assert "pm25" not in made.now(DAY_OF_A)
    assert made.now(DAY_OF_A)["received"].value == 2
    made.pulse(DAY)
    assert made.past(DAY_OF_A, "received") == [(MAY, 2)]


def test_suspect_values_do_not_count(made: Reckoned) -> None:
    made.pulse(6 * HOUR)
    hours(made, MAY, [10, 20, 5000, 30])
    made.pulse(DAY)
    assert made.now(DAY_OF_A)["pm25"].value == 20
    assert made.now(DAY_OF_A)["received"].value == 3


def test_late_data_correct_a_day_that_was_over_and_say_so(made: Reckoned) -> None:
    made.pulse(6 * HOUR)
    hours(made, MAY, [10, 20, 30])
    made.pulse(2 * DAY)
    hours(made, MAY + DAY, [50, 50, 50])
    made.pulse(DAY)
    assert made.now(DAY_OF_A)["pm25"].value == 50
    made.tell("Station", A, MAY + 5 * HOUR, pm25=100)
    made.pulse(MINUTE)
    assert made.now(DAY_OF_A)["pm25"].value == 50
    assert made.past(DAY_OF_A, "pm25")[:2] == [(MAY, 20), (MAY, 40)]
    assert made.past(DAY_OF_A, "pm25Double")[:2] == [(MAY, 40), (MAY, 80)]


def test_a_value_that_turns_out_missing_is_taken_back(made: Reckoned) -> None:
    made.pulse(6 * HOUR)
    hours(made, MAY, [10, 20, 30])
    made.pulse(DAY)
    made.tell("Station", A, MAY + 2 * HOUR, marks=int(Mark.SUSPECT), pm25=31)
    made.pulse(MINUTE)
    assert "pm25" not in made.now(DAY_OF_A)
    assert "pm25Double" not in made.now(DAY_OF_A)
    assert made.past(DAY_OF_A, "pm25") == [(MAY, 20), (MAY, None)]
    made.tell("Station", A, MAY + 3 * HOUR, pm25=30)
    made.pulse(MINUTE)
    assert made.now(DAY_OF_A)["pm25"].value == 20


def test_a_day_without_a_value_leaves_no_older_one_standing(made: Reckoned) -> None:
    made.pulse(6 * HOUR)
    hours(made, MAY, [10, 20, 30])
    made.pulse(DAY)
    hours(made, MAY + DAY, [10])
    made.pulse(DAY)
    assert "pm25" not in made.now(DAY_OF_A)
    assert made.now(DAY_OF_A)["received"].value == 1


def test_a_repeat_changes_nothing_whatever_came_before(made: Reckoned) -> None:
    made.pulse(6 * HOUR)
    hours(made, MAY, [10, 20, 30])
    made.pulse(DAY)
    version = made.version(DAY_OF_A)
    made.pulse(MINUTE)
    made.runtime.reckoning.roller.forget()
    made.pulse(MINUTE)
    assert made.version(DAY_OF_A) == version
    assert made.past(DAY_OF_A, "pm25") == [(MAY, 20)]


def test_windows_move_hourly_and_feed_the_rollup_of_a_day(made: Reckoned) -> None:
    made.pulse(DAY)
    made.tell_all([made.change("Station", A, MAY + n * HOUR, o3=float(n)) for n in range(24)])
    made.pulse(DAY)
    past = dict(made.past(HOUR_OF_A, "o3Mean8h"))
    assert MAY + 4 * HOUR not in past
    assert past[MAY + 5 * HOUR] == 2.5
    assert past[MAY + 7 * HOUR] == 3.5
    assert past[MAY + 23 * HOUR] == 19.5
    assert past[MAY + 25 * HOUR] == 20.5
    assert past[MAY + 26 * HOUR] is None
    assert MAY + 27 * HOUR not in past
    assert made.past(DAY_OF_A, "o3Max8h")[0] == (MAY, 19.5)


def test_meters_add_up_by_group_with_resets_and_gaps(made: Reckoned) -> None:
    made.pulse(DAY)
    for id_, kind, values in (
        ("m1", "power", {0: 100.0, 6: 110.0, 12: 130.0}),
        ("m2", "power", {0: 5.0, 12: 7.0, 18: 1.0, 20: 4.0}),
        ("m3", "gas", {0: 50.0, 12: 51.0}),
    ):
        made.tell("Meter", f"urn:ngsi-ld:Meter:{id_}", None, area="西湖", kind=kind)
        for hour, total in values.items():
            made.tell("Meter", f"urn:ngsi-ld:Meter:{id_}", MAY + hour * HOUR, total=total)
    made.tell("Meter", "urn:ngsi-ld:Meter:m4", MAY, area="西湖", total=9.0)
    made.pulse(MINUTE)
    power = made.now("urn:ngsi-ld:AreaDay:西湖:power")
    assert [power[key].value for key in ("energy", "resets", "gap", "meters")] == [30 + 2 + 3, 1, 12 * 3600, 2]
    assert made.now("urn:ngsi-ld:AreaDay:西湖:gas")["energy"].value == 1
    made.pulse(DAY)
    made.tell("Meter", "urn:ngsi-ld:Meter:m3", MAY + 30 * HOUR, total=61.0)
    made.pulse(DAY)
    assert made.now("urn:ngsi-ld:AreaDay:西湖:gas")["energy"].value == 10


def test_it_catches_up_after_a_restart_from_compacted_history(database_url: str, tmp_path: Path) -> None:
    made = Reckoned(FILES, tmp_path, "2026-05-01T06:00:00+08:00", database_url)
    hours(made, MAY, [10, 20, 60])
    made.close()
    again = Reckoned(FILES, tmp_path, "2026-05-03T06:00:00+08:00", database_url)
    again.runtime.upkeep.compact()
    again.pulse()
    assert again.now(DAY_OF_A)["pm25"].value == 30
    version = again.version(DAY_OF_A)
    again.close()
    third = Reckoned(FILES, tmp_path, "2026-05-03T06:10:00+08:00", database_url)
    third.pulse()
    assert third.past(DAY_OF_A, "pm25") == [(MAY, 30)]
    assert third.version(DAY_OF_A) == version
    third.close()


def test_who_asks_for_history_gets_values_as_corrected_and_none_that_were_taken_back(made: Reckoned) -> None:
    made.pulse(6 * HOUR)
    hours(made, MAY, [10, 20, 30])
    made.pulse(DAY)
    made.tell("Station", A, MAY + 5 * HOUR, pm25=100)
    made.pulse(MINUTE)
    assert made.seen(DAY_OF_A, "pm25") == [(MAY, 40)]
    for hour in (1, 2):
        made.tell("Station", A, MAY + hour * HOUR, marks=int(Mark.SUSPECT), pm25=31)
    made.pulse(MINUTE)
    assert made.seen(DAY_OF_A, "pm25") == []
