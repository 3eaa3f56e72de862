"""Commands that work on a city's data, beside a running server or without one: token, verify, rebuild."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hutong.cli.composition import DATA, Composition, cities_option, packs_option
from hutong.cli.folders import kept_city, locked, usable
from hutong.cli.runtime import choose_city, load, locate_in
from hutong.engines.sense.changes import Changer
from hutong.engines.sense.compile import compile_types
from hutong.engines.sense.rebuild import KINDS, Rebuild, differences, file_hash, read_checkpoint
from hutong.engines.sense.upkeep import noted_files
from hutong.kernel.access import SYSTEM, Access, Actor, QueuedAccessLog
from hutong.kernel.clock import DAY, SystemClock, iso
from hutong.kernel.commands import Handler, Request
from hutong.kernel.errors import IntegrityBroken, NotFound
from hutong.kernel.housekeeping import Housekeeper, Within
from hutong.kernel.ids import TimeOrderedIds
from hutong.kernel.ledger import SEALED, Ledger, Sealed, latest_seal
from hutong.kernel.outbox import Outbox, OutboxHandler
from hutong.kernel.packs import City, Packs
from hutong.kernel.packs.faults import Faults
from hutong.kernel.tokens import Tokens
from hutong.kernel.writer import Writer
from hutong.store.lake import LakeHistory
from hutong.store.sql.access import SqlGrants, SqlTokens
from hutong.store.sql.alerts import SqlAlerts
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.documents import SqlDocuments
from hutong.store.sql.entities import SqlEntities
from hutong.store.sql.ledger import SqlLedger
from hutong.store.sql.outbox import SqlOutbox
from hutong.store.sql.past import SqlPast
from hutong.store.sql.state import state_of

LANE = "desk"

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA,
    show_default=True,
    help="The city's data folder.",
)
store_option = click.option("--store", default="", help="Database address where it is not in the data folder.")


@dataclass(frozen=True)
class Desk:
    """A city's stores, opened beside a server that may be running; it writes in a ledger lane of its own."""

    data: Path
    database: SqlDatabase
    ledger: SqlLedger
    writer: Writer
    tokens: Tokens

    def ask(self, command: Any) -> Any:
        return self.writer.submit(Request(command=command, actor="system:desk")).result()

    def within(self, kind: str, work: Any) -> Any:
        return self.ask(Within(kind=kind, work=work))


@contextmanager
def open_desk(data: Path, store: str) -> Iterator[Desk]:
    """Open the stores of a data folder. Raises Conflict while another command writes, InvalidInput where none can."""
    usable(data)
    clock = SystemClock()
    ids = TimeOrderedIds(clock)
    with locked(data, LANE):
        database = SqlDatabase(store or f"sqlite:///{data / 'hutong.db'}")
        ledger = SqlLedger(database)
        house = Housekeeper(ledger, ledger, clock, "")
        outgoing = OutboxHandler(Outbox(SqlOutbox(database)), clock, "")
        handlers: dict[type, Handler] = dict.fromkeys(house.COMMANDS, house)
        handlers |= dict.fromkeys(outgoing.COMMANDS, outgoing)
        writer = Writer(database, Ledger(ledger, LANE), ledger, clock, handlers)
        writer.start()
        access = Access(clock, ids, QueuedAccessLog(), SqlGrants(database))
        try:
            yield Desk(data, database, ledger, writer, Tokens(access, SqlTokens(database), clock, ids))
        finally:
            writer.close()
            database.close()


@click.group()
def token() -> None:
    """Make, list and revoke API tokens."""


@token.command("create")
@click.option("--role", "roles", multiple=True, required=True, help="A role the token has; may be given again.")
@click.option("--name", default="", help="What the token is for.")
@click.option("--type", "types", multiple=True, help="Type of thing it may touch; a device needs at least one.")
@click.option("--place", default="", help="Administrative code within which its roles hold.")
@click.option("--days", type=click.IntRange(1, 3660), help="Days until it expires.")
@data_option
@store_option
def create_token(
    roles: tuple[str, ...], name: str, types: tuple[str, ...], place: str, days: int | None, data: Path, store: str
) -> None:
    """Make a token and print it; it cannot be shown again."""
    actor = Actor(id="", kind="service", roles=roles, types=types, place=place)
    expires = SystemClock().now() + days * DAY if days else None
    with open_desk(data, store) as desk:
        _, text = desk.within(
            "access.token_issued",
            lambda tx: desk.tokens.issue(tx, SYSTEM, name or ", ".join(roles), actor, expires),
        )
    click.echo(text)


@token.command("list")
@data_option
@store_option
def list_tokens(data: Path, store: str) -> None:
    """Every token: id, name, roles, and whether it still holds."""
    existing(data, store)
    with open_desk(data, store) as desk:
        for one in SqlTokens(desk.database).all():
            state = (
                f"revoked {iso(one.revoked_at)}"
                if one.revoked_at
                else (f"until {iso(one.expires_at)}" if one.expires_at else "holds")
            )
            click.echo(f"{one.id}  {one.name}  {', '.join(one.actor.roles)}  {state}")


@token.command("revoke")
@click.argument("id")
@data_option
@store_option
def revoke_token(id: str, data: Path, store: str) -> None:
    """End a token now."""
    existing(data, store)
    with open_desk(data, store) as desk:
        desk.within("access.token_revoked", lambda tx: desk.tokens.revoke(tx, SYSTEM, id))


@click.command()
@data_option
@store_option
def verify(data: Path, store: str) -> None:
    """Walk the ledger's chains, and check the files of history and checkpoints against it."""
    existing(data, store)
    with open_desk(data, store) as desk:
        faults = faults_of(desk)
        lanes = desk.ledger.lanes()
    click.echo(f"{sum(lanes.values())} events in {len(lanes)} lanes")
    end_with(faults, "the chain holds, and what stands on it is what it says")


@click.command()
@data_option
@store_option
@click.option("--city", default="", help="Name of the city, where the data folder does not know it.")
@cities_option
@packs_option
@click.pass_obj
def rebuild(
    composition: Composition, data: Path, store: str, city: str, cities: tuple[Path, ...], folders: tuple[Path, ...]
) -> None:
    """Rebuild state from the newest checkpoint and the ledger after it, and compare it with what is served."""
    existing(data, store)
    packs = load(folders, composition)
    chosen = choose_city(kept_city(data, city), packs, composition.with_cities(cities))
    with open_desk(data, store) as desk:
        outcome = rebuilt(desk, packs, chosen)
    click.echo(f"{outcome.applied} events applied {'on a checkpoint' if outcome.sealed else 'from the beginning'}")
    for name, digest in outcome.served.items():
        click.echo(f"{name}  {digest}")
    end_with(outcome.faults, "what is served is what the ledger tells")


def faults_of(desk: Desk) -> list[str]:
    """What does not hold of the ledger's chains, the files of history and the newest checkpoint."""
    ledger = Ledger(desk.ledger, LANE)
    faults = list(ledger.verify())
    lake = LakeHistory(desk.data / "history", SystemClock())
    faults += [
        str(fault) for fault in lake.verify({path: digest.hex() for path, digest in noted_files(desk.ledger).items()})
    ]
    lake.close()
    seal = latest_seal(ledger.entries(kinds=(SEALED,)))
    return [*faults, *(_checkpoint_faults(desk.data, seal) if seal is not None else ())]


@dataclass(frozen=True)
class Rebuilt:
    """State rebuilt beside what is served: events applied, whether on a checkpoint, served hashes, differences."""

    applied: int
    sealed: bool
    served: Mapping[str, str]
    faults: list[str]


def rebuilt(desk: Desk, packs: Packs, city: City | None) -> Rebuilt:
    """Rebuild state from the newest checkpoint and the ledger after it, and compare it with what is served."""
    overlays = compile_types(packs, Faults())
    with tempfile.TemporaryDirectory() as folder, desk.database.snapshot():
        scratch = SqlDatabase(f"sqlite:///{Path(folder) / 'rebuilt.db'}")
        entities = SqlEntities(scratch)
        changer = Changer(overlays, True, city.declared.code if city else "", locate_in(city))
        work = Rebuild(
            changer,
            scratch,
            entities,
            SqlAlerts(scratch, SystemClock()),
            SqlDocuments(scratch),
            SqlPast(scratch),
        )
        ledger = Ledger(desk.ledger, LANE)
        seal = latest_seal(ledger.entries(kinds=(SEALED,)))
        if seal is not None:
            work.start_from(read_checkpoint(desk.data / "checkpoints" / seal.checkpoint))
        applied = work.follow(ledger.entries(seal.upto if seal else None, kinds=KINDS))
        served, again = state_of(desk.database), state_of(scratch)
        faults = [
            f"{name}: served {served[name][:16]}…, rebuilt {again[name][:16]}…"
            for name in served
            if served[name] != again[name]
        ]
        faults += [f"differs: {id_}" for id_ in differences(SqlEntities(desk.database), entities)] if faults else []
        scratch.close()
    return Rebuilt(applied, seal is not None, served, faults)


def _checkpoint_faults(data: Path, seal: Sealed) -> list[str]:
    file = data / "checkpoints" / seal.checkpoint
    if not file.exists():
        return [f"{file}: the checkpoint that the ledger rests on is missing"]
    return [] if file_hash(file) == seal.checkpoint_hash else [f"{file}: not the checkpoint that was sealed"]


def existing(data: Path, store: str) -> None:
    """Raises NotFound where there are no data of a city."""
    """Raises NotFound where no city keeps data."""
    if not store and not (data / "hutong.db").exists():
        raise NotFound(
            "there are no data of a city here",
            where="--data",
            seen=str(data),
            fix="name the folder that `hutong up --data` was given",
        )


def end_with(faults: Sequence[str], good: str) -> None:
    """Tell the faults and raise IntegrityBroken, or say that all is well."""
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        raise IntegrityBroken(f"{len(faults)} faults found", fix="restore from a backup, or look at each")
    click.echo(good)
