"""`hutong check`: every fault of every pack and city at once, and with --mission every proof."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click

from hutong.cli.composition import Composition, cities_option
from hutong.cli.mission_report import MissionReport
from hutong.cli.new_pack import new_pack as new_pack
from hutong.cli.proving import Prover
from hutong.kernel.errors import Fault
from hutong.kernel.packs import Packs, read_cities, read_packs


def fault_lines(fault: Fault) -> str:
    """A fault as a block for the terminal."""
    rows = [("seen", fault.seen), ("allowed", fault.allowed), ("fix", fault.fix)]
    return "\n".join([f"{fault.where}: {fault.what} [{fault.code}]", *(f"    {a:8}{b}" for a, b in rows if b)])


def check_command(
    composition: Composition,
    folders: Sequence[Path] = (),
    mission: bool = False,
    say: Callable[[str], None] = click.echo,
) -> int:
    """Check the packaged packs and cities, and the packs in `folders`. Gives the exit code: 1 for faults, else 0.

    With `mission` the proofs run too; that the mission is not complete is no fault.
    """
    roots = [*composition.pack_roots, *folders]
    packs, pack_faults = read_packs(roots, composition.form)
    cities, city_faults = read_cities(composition.city_roots, packs)
    faults = [*pack_faults, *city_faults]
    report = mission_report(composition, folders, packs) if mission else None
    if report is not None:
        faults += report.faults()
    _say_all(faults, say)
    say(
        f"{_counted(len(packs), 'pack', 'packs')}, {_counted(len(cities), 'city', 'cities')}: "
        f"{_counted(len(faults), 'fault', 'faults') if faults else 'no faults'}"
    )
    for line in report.lines() if report is not None else ():
        say(line)
    return 1 if faults else 0


def mission_report(composition: Composition, folders: Sequence[Path], packs: Packs) -> MissionReport:
    """Try every proof of the packs, in the city of the demonstration where there is one."""
    cities, _ = read_cities(composition.city_roots, packs)
    city = next((one for one in cities.values() if one.declared.demo), None)
    prover = Prover([*composition.pack_roots, *folders], composition.form, composition.harness, city)
    return MissionReport(composition.form.mission, packs, prover.trials(packs))


@click.command()
@click.option("--mission", is_flag=True, help="run the proofs of all packs, and count what they prove")
@click.option(
    "--packs",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="a folder of packs to check besides those of Hutong; may be repeated",
)
@cities_option
@click.pass_obj
def check(composition: Composition, mission: bool, folders: tuple[Path, ...], cities: tuple[Path, ...]) -> None:
    """List every fault of packs and cities, with file, line and fix."""
    sys.exit(check_command(composition.with_cities(cities), folders, mission))


def _say_all(faults: Iterable[Fault], say: Callable[[str], None]) -> None:
    for fault in faults:
        say(fault_lines(fault))


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
