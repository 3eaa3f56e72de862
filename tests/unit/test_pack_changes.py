"""What a changed pack does to a city that keeps values by the old one."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta, Struct

from hutong.cli.new_pack import new_pack_command
from hutong.engines.sense.declarations import FILES
from hutong.kernel.packs import KEPT, Pack, changes, read_packs, remembered
from tests.unit.pack_folders import FORM, change


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack without faults, which tests spoil."""
    return new_pack_command("river_gauges", tmp_path / "packs")


def loaded(pack: Path) -> Pack:
    packs, faults = read_packs([pack.parent], FORM)
    faults.check()
    return packs.by_name[pack.name]


@pytest.mark.parametrize(
    ("old", "new", "at", "was"),
    [
        ('unit = "MTR"', 'unit = "CMT"', "entity.RiverGauges.property.level.unit", "MTR"),
        ('"number"', '"integer"', "entity.RiverGauges.property.level.type", "number"),
        ('location = { type = "point" }', "", "entity.RiverGauges.property.location", ""),
    ],
)
def test_stored_values_need_a_migration(pack: Path, old: str, new: str, at: str, was: str) -> None:
    before = msgspec.json.decode(msgspec.json.encode(remembered(loaded(pack))))
    change(pack, "entities.toml", old, new)
    for language in ("zh", "en") if not new else ():
        text = (pack / f"text/{language}.toml").read_text(encoding="utf-8").splitlines(keepends=True)
        kept = "".join(line for line in text if "property.location" not in line)
        (pack / f"text/{language}.toml").write_text(kept, encoding="utf-8")
    (fault,) = changes(before, loaded(pack), FILES)
    assert (fault.code, fault.seen) == ("migration-needed", was)
    assert fault.where.startswith("river_gauges/entities.toml:")
    declared = f'\n[migration."entities.toml#{at}"]\n' + (f'was = "{was}"\n' if was else "")
    change(pack, "pack.toml", 'sector = "city_operations"', f'sector = "city_operations"{declared}')
    assert changes(before, loaded(pack), FILES) == []
    if was:
        change(pack, "pack.toml", f'was = "{was}"', 'was = "another"')
        assert [fault.code for fault in changes(before, loaded(pack), FILES)] == ["migration-needed"]


def test_additions_and_harmless_changes_need_none(pack: Path) -> None:
    before = remembered(loaded(pack))
    change(pack, "entities.toml", "max = 10", "max = 12")
    change(pack, "entities.toml", 'name = { type = "text" }', 'name = { type = "text" }\nflow = { type = "number" }')
    for language in ("zh", "en"):
        change(pack, f"text/{language}.toml", "property.name", 'property.flow = "Q"\nproperty.name')
    change(pack, "alerts.toml", "level >= 8", "level >= 9")
    assert changes(before, loaded(pack), FILES) == []


def test_a_whole_file_that_goes_takes_its_types_with_it(pack: Path) -> None:
    old = loaded(pack)
    gone = Pack(name=old.name, implements=(), sector=old.sector, path=pack, files={})
    assert [fault.what for fault in changes(remembered(old), gone, FILES)] == [
        "`entity.RiverGauges` was removed, and values are stored by it"
    ]


def test_a_key_learned_since_counts_with_its_default() -> None:
    class Old(Struct):
        kind: Annotated[str, Meta(extra=KEPT)]

    class New(Struct):
        kind: Annotated[str, Meta(extra=KEPT)]
        unit: Annotated[str, Meta(extra=KEPT)] = ""

    old = Pack(name="a", implements=(), sector="", path=Path(), files={"a.toml": Old("x")})
    new = Pack(name="a", implements=(), sector="", path=Path(), files={"a.toml": New("x")})
    assert changes(remembered(old), new, {"a.toml": New}) == []
