"""Forecasts on both stores: made in time, marked, measured, never taken for the present, and warning ahead."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hutong.engines.sense.ports import AlertQuery, Mark
from hutong.kernel.clock import DAY, HOUR, MINUTE, instant
from tests.reckoned import Reckoned, faults_of

FILES = {
    "entities.toml": """
[entity.Feeder]
grade = "open"
[entity.Feeder.property]
name = { type = "text" }
load = { type = "number", unit = "KWT" }
[entity.FeederForecast]
grade = "open"
[entity.FeederForecast.property]
name = { type = "text" }
load = { type = "number", unit = "KWT" }
loadLow = { type = "number", unit = "KWT" }
loadHigh = { type = "number", unit = "KWT" }
peak = { type = "number", unit = "KWT" }
limit = { type = "number", unit = "KWT" }
mae = { type = "number", unit = "KWT" }
skill = { type = "number", unit = "C62" }
coverage = { type = "number", unit = "C62" }
over = { type = "number", unit = "KWT" }
periods = { type = "integer" }
""",
    "forecasts.toml": """
[forecast.load]
on = "Feeder"
of = "avg(load)"
into = "FeederForecast"
period = "hour"
season = 24
horizon = 24
backtest = 168
carry = ["name"]
[forecast.load.set]
load = "value"
loadLow = "lower"
loadHigh = "upper"
peak = "max(value)"
mae = "mae"
skill = "skill"
coverage = "coverage"
over = "actual - was_upper"
periods = "history"
""",
    "alerts.toml": """
[alert.ahead]
on = "FeederForecast"
when = "peak > 200"
""",
}
MAY = instant("2026-05-01T00:00:00+08:00")
A, OF_A = "urn:ngsi-ld:Feeder:a", "urn:ngsi-ld:FeederForecast:a"


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[Reckoned]:
    city = Reckoned(FILES, tmp_path, "2026-05-01T00:00:00+08:00", database_url)
    yield city
    city.close()


def days(made: Reckoned, count: int) -> int:
    """Load that repeats daily: 100 at midnight, 123 at 23 o'clock, more by 2 on odd days. Gives the instant after."""
    end = MAY + count * DAY
    made.clock.advance(end - made.clock.now())
    changes = [
        made.change("Feeder", A, MAY + n * HOUR, load=100.0 + n % 24 + 2 * (n // 24 % 2)) for n in range(count * 24)
    ]
    made.tell_all(changes)
    made.tell("Feeder", A, None, name="North")
    return end


def test_what_is_foretold_is_history_to_come_and_the_present_step_is_state(made: Reckoned) -> None:
    now = days(made, 10)
    made.pulse(MINUTE)
    state = made.now(OF_A)
    assert (state["load"].value, state["load"].observed_at, state["load"].marks) == (102.0, now, Mark.FORECAST)
    assert (state["loadLow"].value, state["loadHigh"].value) == (100.0, 104.0)
    assert (state["peak"].value, state["name"].value, state["periods"].value) == (125.0, "North", 216)
    assert (state["mae"].value, state["coverage"].value) == (2.0, 1.0)
    assert 0 < state["skill"].value < 1
    past = made.past(OF_A, "load")
    assert past[0] == (now, 102.0)
    assert past[-1] == (now + 23 * HOUR, 125.0)
    assert made.now(A)["load"].observed_at == now - HOUR
    row = made.runtime.stores.entities.get("", OF_A)
    assert row is not None
    assert row.observed_at == now


def test_it_is_made_again_when_a_period_begins_and_keeps_quiet_in_between(made: Reckoned) -> None:
    now = days(made, 10)
    made.pulse(MINUTE)
    version = made.version(OF_A)
    made.pulse(16 * MINUTE)
    assert made.version(OF_A) == version
    made.tell("Feeder", A, now, load=150.0)
    made.pulse(HOUR)
    state = made.now(OF_A)
    assert (state["load"].value, state["load"].observed_at) == (103.0, now + HOUR)
    assert state["over"].value == pytest.approx(150 - 104)


def test_without_two_seasons_of_history_there_is_no_forecast_and_it_says_how_much_there_is(made: Reckoned) -> None:
    days(made, 1)
    made.pulse(MINUTE)
    state = made.now(OF_A)
    assert "load" not in state
    assert state["periods"].value == 24
    assert made.past(OF_A, "load") == []


def test_a_feeder_that_fell_silent_loses_its_forecast(made: Reckoned) -> None:
    days(made, 4)
    made.pulse(MINUTE)
    assert "load" in made.now(OF_A)
    made.pulse(5 * DAY)
    assert "load" not in made.now(OF_A)
    assert "peak" not in made.now(OF_A)


def test_its_page_draws_it_dashed_with_its_band_to_the_end(made: Reckoned) -> None:
    days(made, 10)
    made.pulse(MINUTE)
    page = made.page(f"/en/platforms/made/things/{OF_A}?show=load")
    assert 'class="line foretold"' in page
    assert 'class="band-fill"' in page
    told = msgspec.json.decode(made.page(f"/en/platforms/made/history.json?thing={OF_A}&show=load"))
    assert told["foretold"]
    assert [len(told["samples"]), *told["samples"][0][1:4]] == [24, 102.0, 100.0, 104.0]


def test_rules_warn_ahead(made: Reckoned) -> None:
    now = days(made, 4)
    made.pulse(MINUTE)
    assert made.runtime.stores.alerts.find(AlertQuery()) == []
    made.tell("Feeder", A, now, load=300.0)
    made.pulse(HOUR)
    [alert] = made.runtime.stores.alerts.find(AlertQuery())
    assert (alert.rule, alert.entity, alert.live) == ("made.ahead", OF_A, 1)


def test_it_goes_on_after_a_restart(database_url: str, tmp_path: Path) -> None:
    made = Reckoned(FILES, tmp_path, "2026-05-01T00:00:00+08:00", database_url)
    now = days(made, 4)
    made.close()
    again = Reckoned(FILES, tmp_path, "2026-05-05T00:05:00+08:00", database_url)
    again.pulse()
    assert again.now(OF_A)["load"].observed_at == now
    again.close()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"max(value)"', '"increase(value)"', "expression-aggregate"),
        ('into = "FeederForecast"', 'into = "Feeder"', "rollup-groups"),
        ('into = "FeederForecast"', 'into = "Forecast"', "unknown-type"),
        ('mae = "mae"', 'mase = "mase"', "unknown-property"),
        ("season = 24", "season = 24\nmethod = 'seasonal_naive'", ""),
    ],
)
def test_what_is_wrong_is_told(old: str, new: str, code: str) -> None:
    faults = faults_of({**FILES, "forecasts.toml": FILES["forecasts.toml"].replace(old, new)})
    assert (code in {fault.code for fault in faults}) is bool(code)
