"""The energy pack against recordings that nobody here wrote."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from hutong.connectors.tables import read_table
from tests.declared import packaged, sources

pytestmark = pytest.mark.unit


def mapped(file: Path, name: str) -> pl.DataFrame:
    """All rows of a file as its source maps them; none may be refused."""
    [source] = [one for one in sources(packaged()) if one.name == f"energy_monitoring.{name}"]
    assert source.matches(file.name)
    frames = []
    for chunk in read_table(file):
        found = source.map(chunk.frame)
        assert (found.rejects, chunk.rejects) == ([], [])
        frames.append(found.frame)
    return pl.concat(frames)


def test_three_years_of_load_map_whole(shared: Callable[[str], Path]) -> None:
    load = mapped(shared("data/load_victoria/vic_electricity.csv.gz"), "load_victoria")
    assert load.height == 52_608
    assert load["id"].unique().to_list() == ["urn:ngsi-ld:PowerLoad:victoria"]
    assert (load["at"].diff().drop_nulls() == 30 * 60 * 1_000_000).all()
    assert load["value demand"].sum() == pytest.approx(245_530_000, rel=0.01)


def test_a_house_s_meters_agree_day_by_day(shared: Callable[[str], Path]) -> None:
    """Sums of minutes in kilowatt-minutes and in watt-hours are the same energy."""
    days = mapped(shared("data/household_energy_daily/household_power_consumption_days.csv"), "household")
    assert days.height == 1_442
    assert days["value subEnergy"].to_list() == pytest.approx(days["value mainEnergy"].to_list(), rel=1e-6)
