"""`hutong replay`: play recorded data to a running Hutong as if it happened now, only faster."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from hutong.cli.broker import Broker
from hutong.cli.composition import Composition, packs_option
from hutong.connectors.mapping import Source, compile_sources, entity_types
from hutong.connectors.replay import Origin, Played, Player, Recording, summary
from hutong.engines.sense.declarations import SourcesFile
from hutong.kernel.clock import SystemClock, instant, iso
from hutong.kernel.errors import Fault, HutongError, InvalidInput, NotFound
from hutong.kernel.packs import Pack, Packs, read_packs
from hutong.kernel.packs.documents import read_document
from hutong.kernel.packs.faults import listed, meant
from hutong.kernel.packs.structs import StructReader

INTERRUPTED = 130


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--speed", default="600", show_default=True, help="How many times faster than it was; `max`: at once.")
@click.option("--to", "address", default="http://127.0.0.1:8080", show_default=True, help="Address of the Hutong.")
@click.option("--token", envvar="HUTONG_TOKEN", default="", help="API token; HUTONG_TOKEN is read too.")
@click.option("--source", "only", default="", help="Play the files of this source alone.")
@click.option(
    "--mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of [source.<name>] tables, as sources.toml has them, instead of those of the packs.",
)
@packs_option
@click.option("--from", "begin", default="", help="Leave out what was before this instant.")
@click.option("--until", "end", default="", help="Leave out what was at this instant and after.")
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("replay-rejects.ndjson"),
    show_default=True,
    help="File for rows that are not taken.",
)
@click.pass_obj
def replay(
    composition: Composition,
    folder: Path,
    speed: str,
    address: str,
    token: str,
    only: str,
    mapping: Path | None,
    folders: tuple[Path, ...],
    begin: str,
    end: str,
    rejects: Path,
) -> None:
    """Play the recorded data in FOLDER to a running Hutong.

    Files are found by the names that sources declare. What has no time of observation goes first, then all rows in
    order of time. A repeat changes nothing, so that an interrupted replay may be started again.
    """
    factor = _speed(speed)
    if not rejects.parent.is_dir():
        raise InvalidInput("there is no such folder", where="--rejects", seen=str(rejects.parent), fix="make it first")
    sources = _chosen(_sources(composition, folders, mapping), only)
    with _bar() as bar:
        task = bar.add_task("reading", total=None, at="", rejected=0)
        recording = Recording(
            folder,
            sources,
            instant(begin, "--from") if begin else None,
            instant(end, "--until") if end else None,
            lambda file, rows: bar.update(task, description=f"reading {file}", completed=rows),
        )
        bar.update(task, description="playing", completed=0, total=recording.rows)

        def told(played: Played) -> None:
            bar.update(
                task, completed=played.rows, at=iso(played.at)[:19] if played.at else "", rejected=len(played.rejects)
            )

        broker = Broker(
            address,
            token,
            SystemClock(),
            time.sleep,
            lambda reason: bar.update(task, description=f"waiting, {reason}" if reason else "playing"),
        )
        player = Player(recording, broker.upsert, SystemClock(), time.sleep, factor)
        code, stopped = 0, ""
        try:
            player.play(told)
        except KeyboardInterrupt:
            code, stopped = INTERRUPTED, "stopped"
        except HutongError as error:
            code, stopped = 1, str(error)
        finally:
            broker.close()
    _close(player.played, recording, rejects, stopped)
    sys.exit(code)


def _close(played: Played, recording: Recording, rejects: Path, stopped: str) -> None:
    """Tell what was done, and how to go on."""
    click.echo(summary(played, recording))
    if played.rejects:
        _write(rejects, played.rejects)
        click.echo(f"what was not taken, and why: {rejects}")
    if stopped:
        click.echo(f"hutong: {stopped}", err=True)
        if played.at is not None:
            click.echo(f"go on with --from {iso(played.at)}", err=True)


def _sources(composition: Composition, folders: Sequence[Path], mapping: Path | None) -> Sequence[Source]:
    """The sources of files of all packs, or those of a mapping. Raises DeclarationFaults."""
    packs, faults = read_packs([*composition.pack_roots, *folders], composition.form)
    faults.check()
    if mapping is None:
        found = compile_sources(packs, entity_types(packs), faults)
        faults.check()
        return found
    document = read_document(mapping, str(mapping), faults)
    faults.check()
    assert document is not None
    file = StructReader(str(mapping), document.lines, faults).read(document.table, SourcesFile)
    faults.check()
    known = entity_types(packs)
    own = Pack(
        name=mapping.parent.name or ".",
        implements=(),
        sector="",
        path=mapping.parent,
        files={mapping.name: file},
        lines={mapping.name: document.lines},
    )
    for name, source in file.source.items():
        if source.entity not in known:
            faults.add(
                "unknown-type",
                "no pack declares this type",
                where=own.where(mapping.name, "source", name, "entity"),
                seen=source.entity,
                allowed=listed(known),
                fix=meant(source.entity, known),
            )
    found = compile_sources(Packs({own.name: own}), known, faults)
    faults.check()
    return found


def _chosen(sources: Sequence[Source], only: str) -> Sequence[Source]:
    if not only:
        return sources
    found = [source for source in sources if only in (source.name, source.name.partition(".")[2])]
    if not found:
        names = [source.name for source in sources]
        raise NotFound(
            "there is no such source", where="--source", seen=only, allowed=listed(names), fix=meant(only, names)
        )
    return found


def _speed(text: str) -> float:
    """How many times faster; 0 for as fast as can be. Raises InvalidInput."""
    if text == "max":
        return 0.0
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise InvalidInput(
            "not a speed", where="--speed", seen=text, allowed="a number above 0, or max", fix="write 600"
        )
    return factor


class _Rate(ProgressColumn):
    """Rows in a second, of late."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} rows/s")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("{task.fields[at]}"),
        TextColumn("{task.fields[rejected]} rejected"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _write(path: Path, rejects: Sequence[tuple[Origin, Fault]]) -> None:
    with path.open("wb") as file:
        for origin, fault in rejects:
            file.write(msgspec.json.encode({"file": origin.file, "row": origin.row, "reason": fault}) + b"\n")
