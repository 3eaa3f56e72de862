"""What changes history: the handler of AmendHistory, and what its events do when they are read again.

An amendment strikes rows that came before it and adds rows of its own; both are one event. The rows reach the lake as
those of observations do; strikes hold at once and are taken into the files by upkeep.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from hutong.engines.sense.changes import Changer, types_of
from hutong.engines.sense.history import (
    AmendHistory,
    Forgotten,
    HistoryWriter,
    Instance,
    Past,
    PastChange,
    PastStore,
    Strike,
    Struck,
)
from hutong.engines.sense.observations import LATE, Block
from hutong.engines.sense.ports import Change, EntityRow, EntityStore, Verb
from hutong.kernel.clock import Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError, NotFound
from hutong.kernel.ledger import Event, Position
from hutong.kernel.transactions import Transaction

AMENDED = "sense.amended"
ALL = "*"


class Amendment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Payload of a `sense.amended` event. `block` holds the rows it adds, `past` what became of entities' pasts."""

    tenant: str
    recorded_at: int
    strikes: tuple[Strike, ...] = ()
    block: bytes = b""
    past: tuple[PastChange, ...] = ()

    def encode(self) -> bytes:
        return zlib.compress(msgspec.msgpack.encode(self), 1)

    @classmethod
    def decode(cls, payload: bytes) -> "Amendment":
        return msgspec.msgpack.decode(zlib.decompress(payload), type=cls)

    def event(self, actor: str, city: str, caused_by: str = "") -> Event:
        """The event that makes it so."""
        return Event(
            kind=AMENDED,
            payload=self.encode(),
            at=self.recorded_at,
            actor=actor,
            city=city,
            scope=city,
            caused_by=caused_by,
        )

    def rows(self, position: Position) -> pl.DataFrame | None:
        """The rows that it adds to history."""
        return Block.decode(self.block).history(position) if self.block else None

    def struck(self, position: Position) -> list[Struck]:
        """What it takes away."""
        return [
            Struck(strike=one, tenant=self.tenant, lane=position.lane, n=position.n, recorded_at=self.recorded_at)
            for one in self.strikes
        ]


def forget(
    tx: Transaction,
    block: Block,
    past: PastStore,
    history: HistoryWriter,
    emit: Callable[[Event], Position],
    actor: str,
    city: str,
) -> Iterator[tuple[Amendment, Position]]:
    """Take away the whole past of the entities that a block deletes."""
    ids = [one.id for one in block.past if isinstance(one, Past)]
    if ids:
        history.strike_room(len(ids))
        tenant = block.head.tenant
        amendment = Amendment(
            tenant=tenant,
            recorded_at=block.head.recorded_at,
            strikes=tuple(Strike(entity=id_) for id_ in ids),
            past=tuple(Forgotten(tenant=tenant, entity=id_) for id_ in ids),
        )
        past.apply(tx, amendment.past)
        yield amendment, emit(amendment.event(actor, city))


def take(history: HistoryWriter, amendment: Amendment, position: Position) -> int:
    """Let history follow a committed amendment; gives how many rows came."""
    if amendment.strikes:
        history.strike(amendment.struck(position))
    rows = amendment.rows(position)
    if rows is None or not rows.height:
        return 0
    history.append(rows)
    return rows.height


class AmendHandler:
    """Implements the kernel's Handler for what changes history."""

    COMMANDS = (AmendHistory,)

    def __init__(
        self,
        changer: Changer,
        entities: EntityStore,
        past: PastStore,
        history: HistoryWriter,
        clock: Clock,
        city: str,
    ) -> None:
        self._changer, self._entities, self._past, self._history = changer, entities, past, history
        self._clock, self._city = clock, city
        self._written: list[tuple[Amendment, Position]] = []
        self._rows = self._strikes = 0

    def weight(self, command: Any) -> int:
        return 1 + len(command.instances)

    def encode(self, outcome: Any) -> bytes:
        return msgspec.msgpack.encode(outcome)

    def decode(self, outcome: bytes) -> Any:
        return msgspec.msgpack.decode(outcome)

    def committed(self) -> None:
        written, self._written = self._written, []
        for amendment, position in written:
            take(self._history, amendment, position)

    def rolled_back(self) -> None:
        self._written = []

    def handle(
        self, tx: Transaction, requests: Sequence[Request], emit: Callable[[Event], Position]
    ) -> Sequence[Any | HutongError]:
        self._rows = self._strikes = 0
        return [self._one(tx, request, emit) for request in requests]

    def _one(self, tx: Transaction, request: Request, emit: Callable[[Event], Position]) -> bool | HutongError:
        command: AmendHistory = request.command
        row = self._entities.load(tx, command.tenant, [command.id]).get(command.id)
        past = self._past.load(tx, command.tenant, [command.id]).get(command.id)
        now = self._clock.now()
        if command.forgotten == ALL:
            self._strikes += len(command.strikes)
            self._history.strike_room(self._strikes)
            gone = (Forgotten(tenant=command.tenant, entity=command.id),)
            return self._amend(
                tx,
                request,
                emit,
                Amendment(tenant=command.tenant, recorded_at=now, strikes=command.strikes, past=gone),
            )
        if row is None and past is None and not command.upsert:
            return NotFound("there is no such entity", where="id", seen=command.id, fix="create it first")
        if (error := self._refused(command, row, past, now)) is not None:
            return error
        past_now = _past(command, row, past, now, self._changer)
        block = self._block(command, past_now, now)
        self._rows, self._strikes = self._rows + len(block), self._strikes + len(command.strikes)
        self._history.room(self._rows)
        self._history.strike_room(self._strikes)
        amendment = Amendment(
            tenant=command.tenant,
            recorded_at=now,
            strikes=command.strikes,
            block=block.encode() if len(block) else b"",
            past=tuple(_changes(command, past_now, row is None or past is not None or past_now.types != types_of(row))),
        )
        self._amend(tx, request, emit, amendment)
        return row is None and past is None

    def _amend(
        self, tx: Transaction, request: Request, emit: Callable[[Event], Position], amendment: Amendment
    ) -> bool:
        self._past.apply(tx, amendment.past)
        self._written.append((amendment, emit(amendment.event(request.actor, self._city, request.caused_by))))
        return False

    def _refused(self, command: AmendHistory, row: EntityRow | None, past: Past | None, now: int) -> HutongError | None:
        """Why the instances cannot be taken: as for an entity of this type, instance by instance."""
        known = types_of(row) if row is not None else past.types if past is not None else ()
        types = tuple(dict.fromkeys((*known, *command.types)))
        return self._changer.acceptable_past(
            Change(verb=Verb.APPEND, id=command.id, types=types),
            ((one.key, one.value) for one in command.instances),
            now,
            new=not known,
        )

    def _block(self, command: AmendHistory, past: Past, now: int) -> Block:
        """The rows to add; what history has already is no news."""
        block = Block(command.tenant, command.source, now)
        for one in command.instances:
            block.add(LATE, command.id, past.type, one.key, one.value)
            if one.id:
                one.value.modified_at = now
                block.rows[-1] = _amended(block.rows[-1], one)
        if len(block):
            again = self._history.repeated(block.history(Position("", 0))).to_list()
            block.drop({i for i, known in enumerate(again) if known})
        return block


def _amended(cells: Any, one: Instance) -> Any:
    """A row that keeps the id, the place in time and the creation of the one that it replaces."""
    op, entity, type_, key, kind, _, number, text, _, unit, marks = cells
    extra = msgspec.json.encode({**msgspec.to_builtins(one.value), "i": one.id}).decode()
    return op, entity, type_, key, kind, one.at, number, text, extra, unit, marks


def _past(command: AmendHistory, row: EntityRow | None, past: Past | None, now: int, changer: Changer) -> Past:
    """The entity's past after the command."""
    known = types_of(row) if row is not None else ()
    before = past.types if past is not None else ()
    types = tuple(dict.fromkeys((*known, *before, *command.types)))
    if past is None:
        created = row.created_at if row is not None else now
        past = Past(tenant=command.tenant, id=command.id, type="", types=(), created_at=created)
    scopes = past.scopes if command.scopes is None else command.scopes
    first = row.type if row is not None else changer.first_type(types)
    place = row.place if row is not None else past.place
    return msgspec.structs.replace(past, type=first, types=types, scopes=scopes, place=place, modified_at=now)


def _changes(command: AmendHistory, past: Past, kept: bool) -> Iterable[PastChange]:
    """What becomes of the entity's past; one that is present has one only where there is more to say."""
    if command.forgotten:
        datasets = any(one.datasets for one in command.strikes)
        yield Forgotten(tenant=command.tenant, entity=command.id, attribute=command.forgotten, datasets=datasets)
    if kept or command.scopes is not None:
        yield past
