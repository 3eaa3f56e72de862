"""`hutong reference`: pages written from the declarations, the program itself, and what is proved."""

from collections.abc import Mapping
from pathlib import Path

import click

from hutong.cli.check import mission_report
from hutong.cli.composition import Composition
from hutong.cli.reference.bounds import bounds
from hutong.cli.reference.commands import commands
from hutong.cli.reference.errors import errors
from hutong.cli.reference.expressions import expressions
from hutong.cli.reference.pack_keys import pack_keys
from hutong.cli.reference.roles import roles
from hutong.cli.reference.routes import routes
from hutong.cli.reference.units import unit_codes
from hutong.cli.runtime import choose_city
from hutong.kernel.errors import DeclarationFaults
from hutong.kernel.packs import read_packs


def pages(composition: Composition, program: click.Group) -> Mapping[str, str]:
    """Every page of the reference by file name. Raises DeclarationFaults, also where a proof does not hold."""
    packs, faults = read_packs(composition.pack_roots, composition.form)
    faults.check()
    mission = mission_report(composition, (), packs)
    if failed := mission.faults():
        raise DeclarationFaults(failed)
    return {
        "pack-keys.md": pack_keys(composition.form.files),
        "expressions.md": expressions(),
        "units.md": unit_codes(),
        "errors.md": errors(),
        "cli.md": commands(program),
        "http.md": routes(choose_city("", packs, composition)),
        "roles.md": roles(),
        "bounds.md": bounds(),
        "mission.md": mission.markdown(),
    }


@click.command()
@click.option(
    "--in",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="docs/reference",
    show_default=True,
    metavar="DIR",
    help="the folder to write into",
)
@click.pass_context
def reference(context: click.Context, folder: Path) -> None:
    """Write the pages of the reference; the proofs of all packs run for it."""
    program = context.find_root().command
    assert isinstance(program, click.Group)
    written = pages(context.obj, program)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
