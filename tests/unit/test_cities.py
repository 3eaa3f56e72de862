"""Cities: what is read, and that every fault is told at its line."""

from pathlib import Path

import pytest

from hutong.cli.new_pack import new_pack_command
from hutong.kernel.packs import City, read_cities, read_packs
from tests.unit.pack_folders import FORM, change


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack without faults, which tests spoil."""
    return new_pack_command("river_gauges", tmp_path / "packs")


CITY = """[city]
name = "lakeside"
zh = "湖滨市"
en = "Lakeside"
code = "999900"
timezone = "Asia/Shanghai"
packs = ["river_gauges"]

[department]
water = { zh = "市水务局", en = "Water Bureau" }
"""


@pytest.fixture
def city(tmp_path: Path) -> Path:
    folder = tmp_path / "cities" / "lakeside"
    folder.mkdir(parents=True)
    (folder / "city.toml").write_text(CITY, encoding="utf-8")
    return folder


def cities_of(city: Path, pack: Path) -> tuple[dict[str, City], list[tuple[str, str]]]:
    cities, faults = read_cities([city.parent], read_packs([pack.parent], FORM)[0])
    return cities, [(fault.where, fault.code) for fault in faults]


def test_a_city_reads_as_written(city: Path, pack: Path) -> None:
    (city / "districts.geojson").write_bytes(b"{}")
    cities, faults = cities_of(city, pack)
    assert faults == []
    found = cities["lakeside"]
    assert (found.name, found.declared.code, found.declared.demo) == ("lakeside", "999900", False)
    assert found.departments["water"].zh == "市水务局"
    assert found.districts() == b"{}"


def test_all_faults_of_a_city_are_told(city: Path, pack: Path) -> None:
    change(city, "city.toml", '"lakeside"', '"seaside"')
    change(city, "city.toml", "Asia/Shanghai", "Asia/Shangai")
    change(city, "city.toml", "999900", "9999")
    change(city, "city.toml", "river_gauges", "river_guages")
    change(city, "city.toml", "water =", "Water =")
    (city / "district.geojson").write_bytes(b"{}")
    assert cities_of(city, pack)[1] == [
        ("lakeside/city.toml:2", "name-differs"),
        ("lakeside/city.toml:5", "pattern-not-met"),
        ("lakeside/city.toml:6", "unknown-timezone"),
        ("lakeside/city.toml:7", "unknown-pack"),
        ("lakeside/city.toml:10", "pattern-not-met"),
        ("lakeside/district.geojson", "unknown-file"),
    ]


def test_a_city_without_its_file_is_a_fault(city: Path, pack: Path) -> None:
    (city / "city.toml").unlink()
    assert cities_of(city, pack) == ({}, [("lakeside/city.toml", "missing-file")])
