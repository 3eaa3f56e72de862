"""What a history chart shows, and how it is drawn on the server."""

import asyncio
from zoneinfo import ZoneInfo

import pytest

from hutong.kernel.access import ANONYMOUS
from hutong.kernel.clock import DAY, HOUR, MINUTE, FrozenClock, instant
from hutong.portal.board import Boards
from hutong.portal.charts import Sample, Series, Span, draw, nice, series, with_gaps
from tests.fake_city import NOON, fake_portal

ZONE = ZoneInfo("Asia/Shanghai")
THING = "urn:ngsi-ld:OffStreetParking:sim-001"


def read(span: Span, name: str = "occupancy", later: int = 0) -> Series:
    clock = FrozenClock(NOON)
    portal, _ = fake_portal(clock)

    async def reading() -> Series:
        boards = Boards(portal)
        board = await boards.of(portal.platforms[0], ANONYMOUS)
        thing = next(thing for thing in board.things() if thing.id == THING)
        clock.advance(later)
        found = await series(portal, ANONYMOUS, thing, portal.platforms[0].types[0], name, span)
        await boards.close()
        return found

    return asyncio.run(reading())


def test_short_spans_show_single_observations() -> None:
    found = read("24h")
    assert found.bucket == 0
    assert found.end - found.begin == DAY
    assert len(found.observed) == 96


def test_long_spans_show_means_with_least_and_greatest() -> None:
    found = read("30d")
    assert found.bucket == HOUR
    assert all(sample.low <= sample.value <= sample.high for sample in found.observed)  # type: ignore[operator]  # numbers in buckets


def test_of_what_is_long_silent_the_last_span_with_data_is_shown() -> None:
    found = read("24h", later=10 * DAY)
    assert found.past
    assert found.observed[-1].at >= instant(NOON) - HOUR


def test_a_gap_is_longer_than_the_source_promises() -> None:
    samples = [Sample(at * MINUTE, 1.0) for at in (0, 10, 20, 60, 70)]
    assert [sample.value for sample in with_gaps(samples, 0, 30 * MINUTE)] == [1, 1, 1, None, 1, 1]
    assert with_gaps(samples, 0, 40 * MINUTE) == samples
    assert [sample.value for sample in with_gaps(samples, 0, None)] == [1] * 5  # 40 min is not over five times 10
    assert with_gaps([], 0, None) == []


def test_the_drawing_breaks_its_line_where_nothing_came() -> None:
    samples = with_gaps([Sample(at * MINUTE, float(at)) for at in (0, 10, 20, 60, 70)], 0, 30 * MINUTE)
    drawing = draw(Series("x", "24h", 0, 100 * MINUTE, 0, samples), ZONE, "zh")
    assert drawing is not None
    assert drawing.lines.count("M") == 2
    assert len(drawing.gaps) == 1
    assert draw(Series("x", "24h", 0, DAY, 0, []), ZONE, "zh") is None


def test_suspect_observations_are_drawn_apart() -> None:
    samples = [Sample(0, 1.0), Sample(MINUTE, 9.0, suspect=True)]
    drawing = draw(Series("x", "24h", 0, HOUR, 0, samples), ZONE, "en")
    assert drawing is not None
    assert len(drawing.suspects) == 1


def test_constant_series_can_be_drawn() -> None:
    drawing = draw(Series("x", "24h", 0, HOUR, 0, [Sample(0, 0.0), Sample(MINUTE, 0.0)]), ZONE, "en")
    assert drawing is not None
    assert len(drawing.up) > 1


@pytest.mark.parametrize(("step", "next_"), [(0.7, 1), (1, 1), (1.1, 2), (2.2, 2.5), (30, 50), (0.012, 0.02)])
def test_nice_steps(step: float, next_: float) -> None:
    assert nice(step) == pytest.approx(next_)
