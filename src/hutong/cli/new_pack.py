"""`hutong new-pack`: a working pack to begin with."""

import re
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from hutong.kernel.errors import AlreadyExists, HutongError, InvalidInput
from hutong.kernel.packs.declarations import NAME

_SKELETON = "skeleton"


def new_pack_command(name: str, folder: Path) -> Path:
    """Write a pack of that name into the folder and give its path.

    Its entity type is the name in capitals (`river_gauges`: RiverGauges). Raises InvalidInput for a name that no pack
    can have, AlreadyExists when there is something of that name.
    """
    if not re.fullmatch(NAME, name):
        raise InvalidInput(
            "not a name for a pack",
            where="NAME",
            seen=name,
            allowed="small letters, digits and _, a letter first",
            fix="such as river_gauges",
        )
    target = folder / name
    if target.exists():
        raise AlreadyExists("there is something of that name", where=str(target), seen=name, fix="take another name")
    _copy(resources.files("hutong.cli") / _SKELETON, target, name)
    return target


def _copy(source: Traversable, target: Path, name: str) -> None:
    target.mkdir(parents=True)
    capitals = "".join(part.capitalize() for part in name.split("_"))
    for entry in source.iterdir():
        if entry.is_dir():
            _copy(entry, target / entry.name, name)
        else:
            text = entry.read_text(encoding="utf-8").replace(_SKELETON, name)
            (target / entry.name).write_text(text.replace(_SKELETON.capitalize(), capitals), encoding="utf-8")


@click.command("new-pack")
@click.argument("name")
@click.option(
    "--in",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="packs",
    show_default=True,
    metavar="DIR",
    help="the folder of packs to write it into",
)
def new_pack(name: str, folder: Path) -> None:
    """Write a working pack called NAME, to be changed into what it shall be."""
    try:
        target = new_pack_command(name, folder)
    except HutongError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    click.echo(f"wrote {target}; now: hutong check --packs {folder}")
