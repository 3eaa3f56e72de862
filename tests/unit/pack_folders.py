"""Folders of packs that tests write and spoil."""

from pathlib import Path

from hutong.engines.sense.declarations import FILES
from hutong.kernel.errors import Fault
from hutong.kernel.mission import read_mission
from hutong.kernel.packs import PackFormat, read_packs

FORM = PackFormat(FILES, (), read_mission())


def faults_of(pack: Path, form: PackFormat = FORM) -> list[Fault]:
    """The faults of all packs in the folder that the pack is in."""
    return list(read_packs([pack.parent], form)[1])


def change(pack: Path, file: str, old: str, new: str) -> None:
    """Put `new` where `old` stands, once, in a file of the pack or city."""
    text = (pack / file).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    (pack / file).write_text(text.replace(old, new), encoding="utf-8")
