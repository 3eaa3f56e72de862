"""`hutong backup`, `hutong restore` and `hutong drill`: a city's data as of one moment, put away and brought back."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hutong.cli.composition import Composition, cities_option, packs_option
from hutong.cli.desk import Desk, data_option, end_with, existing, faults_of, open_desk, rebuilt, store_option
from hutong.cli.folders import kept_city
from hutong.cli.runtime import choose_city, load
from hutong.kernel.clock import SystemClock, iso
from hutong.kernel.commands import Request
from hutong.kernel.errors import NotFound
from hutong.kernel.housekeeping import Note
from hutong.store.backup.making import make_backup, newest, prune
from hutong.store.backup.manifest import NAME, Manifest, read_manifest
from hutong.store.backup.restoring import restore as bring_back
from hutong.store.sql.state import state_of

BACKED_UP, RESTORED = "backup.made", "backup.restored"

_into = click.Path(path_type=Path, file_okay=False)
_from = click.Path(path_type=Path, file_okay=False, exists=True)


class Told(msgspec.Struct, frozen=True):
    """Payload of both events: which backup, and what it says of itself."""

    backup: str
    made_at: int
    files: int
    size: int


@click.command()
@click.argument("destination", type=_into)
@click.option("--keep", type=click.IntRange(1), help="Delete all but so many of the newest backups there, afterwards.")
@data_option
@store_option
def backup(destination: Path, keep: int | None, data: Path, store: str) -> None:
    """Save everything as of now into a new folder of DESTINATION; the server may go on serving.

    Files that an earlier backup there has already are linked and take no space again.
    """
    existing(data, store)
    with open_desk(data, store) as desk, _progress() as progress:
        made = make_backup(data, desk.database, destination, SystemClock(), progress)
        manifest = read_manifest(made)
        _note(desk, BACKED_UP, made, manifest)
    gone = prune(destination, keep) if keep else []
    click.echo(f"{made}: {_told(manifest)}" + (f"; {len(gone)} older deleted" if gone else ""))


@click.command()
@click.argument("backup", type=_from)
@click.option("--data", type=_into, required=True, help="A new folder for the data.")
@click.option("--store", default="", help="Address of an empty database, where it is not to be in the data folder.")
def restore(backup: Path, data: Path, store: str) -> None:
    """Bring a backup back into a new data folder; of a folder of backups, the newest.

    The backup may come from SQLite and go into PostgreSQL, or the other way round.
    """
    one = _chosen(backup)
    with _progress() as progress:
        manifest = bring_back(one, data, store, progress)
    with open_desk(data, store) as desk:
        _note(desk, RESTORED, one, manifest)
    click.echo(f"{data}: {_told(manifest)}, made {iso(manifest.made_at)}")
    click.echo(f"Serve it: hutong up --data {data}" + (" --store …" if store else ""))


@click.command()
@click.argument("backup", type=_from)
@cities_option
@packs_option
@click.pass_obj
def drill(composition: Composition, backup: Path, cities: tuple[Path, ...], folders: tuple[Path, ...]) -> None:
    """Restore a backup (of a folder of backups, the newest) to a place aside, and see whether all of it is there.

    Compares hashes of files, rows of tables and hashes of state with what was saved, walks the ledger's chains, checks
    the history, and rebuilds state from the ledger.
    """
    one = _chosen(backup)
    packs = load(folders, composition)
    with tempfile.TemporaryDirectory(prefix="hutong-drill-") as folder:
        data = Path(folder) / "data"
        with _progress() as progress:
            manifest = bring_back(one, data, "", progress)
        city = choose_city(kept_city(data), packs, composition.with_cities(cities))
        with open_desk(data, "") as desk:
            faults = [*_differences(desk, manifest), *faults_of(desk), *rebuilt(desk, packs, city).faults]
    click.echo(f"{one}: {_told(manifest)}, made {iso(manifest.made_at)}")
    end_with(faults, "the backup can be restored: counts, hashes, chains, history and rebuilt state agree")


def _chosen(saved: Path) -> Path:
    """The backup in this folder, or the newest of those in it. Raises NotFound."""
    if (saved / NAME).exists():
        return saved
    if (found := newest(saved)) is None:
        raise NotFound("there is no backup here", where="BACKUP", seen=str(saved), fix="make one with `hutong backup`")
    return found


def _differences(desk: Desk, manifest: Manifest) -> Iterator[str]:
    """What is not as it was when the backup was made."""
    pairs: list[tuple[str, Mapping[str, int | str], Mapping[str, int | str]]] = [
        ("ledger", manifest.lanes, desk.ledger.lanes()),
        ("rows", manifest.rows, desk.database.row_counts()),
        ("state", manifest.state, state_of(desk.database)),
    ]
    for what, saved, restored in pairs:
        for name in sorted({*saved, *restored}):
            if saved.get(name) != restored.get(name):
                yield f"{what} {name}: saved {saved.get(name)}, restored {restored.get(name)}"


def _told(manifest: Manifest) -> str:
    events = sum(manifest.lanes.values())
    return f"{events:,} events, {len(manifest.files)} files, {manifest.size / 2**20:,.1f} MiB"


def _note(desk: Desk, kind: str, one: Path, manifest: Manifest) -> None:
    told = Told(one.name, manifest.made_at, len(manifest.files), manifest.size)
    command = Note(kind=kind, payload=msgspec.msgpack.encode(told))
    desk.writer.submit(Request(command=command, actor="system:desk")).result()


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Shows how far each part of the copying is; nothing where nobody looks."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def progress(what: str, done: int, whole: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what)
        bar.update(tasks[what], completed=done, total=whole)

    with bar:
        yield progress
