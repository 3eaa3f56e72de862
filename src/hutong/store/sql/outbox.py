"""The outbox in SQL. Parcels are put and deleted by the row; a channel's row moves once for what was sent together."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    LargeBinary,
    Select,
    SmallInteger,
    Text,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from hutong.kernel.access import Grade
from hutong.kernel.outbox import ChannelState, DeadLetter, Parcel, Settlement, State
from hutong.store.sql.database import SqlDatabase, SqlTransaction
from hutong.store.sql.tables import outbox_channel, outbox_dead, outbox_parcel

TAKEN_BYTES_MAX = 1024 * 1024  # of one channel at a time, beyond its first parcel
IN_TROUBLE_FIRST = ("closed", "failing", "paused")

_PARCEL = ("channel", "at", "grade", "body")
_CHANNEL = tuple(name for name in ChannelState.__struct_fields__ if name != "waiting")
_DEAD = ("n", *_PARCEL, "died_at", "attempts", "reason")


class SqlOutbox:
    """Implements OutboxStore of the kernel."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._prepare_parcels()
        self._prepare_channels()
        self._prepare_dead()

    def _prepare_parcels(self) -> None:
        prepare, among = self._database.prepare, self._database.among
        parcel, channel = outbox_parcel.c, outbox_parcel.c.channel == bindparam("of")
        rows = [
            func.unnest(bindparam(name, type_=ARRAY(kind)))
            for name, kind in zip(_PARCEL, (Text, BigInteger, SmallInteger, LargeBinary), strict=True)
        ]
        insert = outbox_parcel.insert()
        values: dict[str, Any] = {name: bindparam(name) for name in _PARCEL}
        self._put = prepare(
            insert.values(values) if self._database.sqlite else insert.from_select(_PARCEL, select(*rows)), *_PARCEL
        )
        self._delete = prepare(outbox_parcel.delete().where(among(parcel.n, "numbers", BigInteger)), "numbers")
        self._delete_all = prepare(outbox_parcel.delete().where(channel), "of")
        first = (
            select(parcel.n, parcel.at, parcel.grade, parcel.body)
            .where(channel)
            .order_by(parcel.n)
            .limit(bindparam("first"))
            .subquery()
        )
        size = func.length(first.c.body)
        summed = select(first, (func.sum(size).over(order_by=first.c.n) - size).label("before")).subquery()
        columns = [summed.c[name] for name in ("body", "at", "n", "grade")]
        taken = select(*columns).where(summed.c.before < literal_column(str(TAKEN_BYTES_MAX))).order_by(summed.c.n)
        self._take = prepare(taken, "of", "first")
        self._last = prepare(select(func.coalesce(func.max(parcel.n), 0)))
        self._since = prepare(select(parcel.channel).distinct().where(parcel.n > bindparam("after")), "after")
        counted = select(parcel.channel, func.count()).group_by(parcel.channel)
        self._waiting = prepare(counted)
        self._waiting_in = prepare(counted.where(among(parcel.channel, "ids")), "ids")

    def _prepare_channels(self) -> None:
        prepare, among, channel = self._database.prepare, self._database.among, outbox_channel.c
        of = channel.id == bindparam("of")
        columns = [channel[name] for name in _CHANNEL]
        insert = (sqlite if self._database.sqlite else postgresql).insert(outbox_channel)
        upsert, new = partial(insert.on_conflict_do_update, index_elements=["id"]), insert.excluded
        free = or_(channel.holder == new.holder, channel.held_until <= bindparam("now", type_=BigInteger))
        held = {name: new[name] for name in ("holder", "held_until")}
        self._claim = prepare(upsert(set_=held, where=free), *_CHANNEL, "now")
        self._held = prepare(
            select(channel.id).where(among(channel.id, "ids"), channel.holder == bindparam("by")), "ids", "by"
        )
        fresh = {name: new[name] for name in ("state", "attempts", "failures", "next_at")}
        self._turn = prepare(upsert(set_=fresh), *_CHANNEL)
        self._refuse = prepare(
            outbox_channel.update().where(of).values(times_refused=channel.times_refused + bindparam("more")),
            "more",
            "of",
        )
        self._settle = prepare(_settling(of), *_SETTLED, "of")
        self._drop = prepare(outbox_channel.delete().where(of), "of")
        self._more_dead = prepare(
            outbox_channel.update().where(of).values(dead=channel.dead + bindparam("more")), "more", "of"
        )
        self._states = prepare(select(*columns).where(among(channel.id, "ids")), "ids")
        self._closed = prepare(select(channel.id).where(channel.state == "closed"))

    def _prepare_dead(self) -> None:
        prepare, dead = self._database.prepare, outbox_dead.c
        of, these = dead.channel == bindparam("of"), self._database.among(dead.n, "numbers", BigInteger)
        self._bury = prepare(outbox_dead.insert(), *_DEAD)
        back = (
            select(dead.channel, bindparam("then", type_=BigInteger), dead.grade, dead.body).where(of).order_by(dead.n)
        )
        revive = partial(outbox_parcel.insert().from_select, _PARCEL)
        self._revive = prepare(revive(back.where(these)), "then", "of", "numbers")
        self._revive_all = prepare(revive(back), "then", "of")
        self._forget = prepare(outbox_dead.delete().where(of, these), "of", "numbers")
        self._forget_all = prepare(outbox_dead.delete().where(of), "of")
        self._letter = prepare(select(*(dead[name] for name in _DEAD)).where(dead.n == bindparam("number")), "number")

    # --- in the append transaction ---

    def put(self, tx: SqlTransaction, parcels: Sequence[Parcel]) -> None:
        rows = [(one.channel, one.at, int(one.grade), one.body) for one in parcels]
        if self._database.sqlite:
            tx.one_by_one(self._put, rows)
        else:
            tx.rows_affected(self._put, *map(list, zip(*rows, strict=True)))

    def refuse(self, tx: SqlTransaction, counts: Mapping[str, int], at: int) -> None:
        tx.one_by_one(self._refuse, [(count, channel) for channel, count in sorted(counts.items())])

    def settle(self, tx: SqlTransaction, settlements: Sequence[Settlement]) -> None:
        numbers = [n for one in settlements for n in one.done]
        numbers += [letter.parcel.n for one in settlements for letter in one.dead]
        if numbers:
            tx.rows_affected(self._delete, self._database.listed(numbers))
        # Sorted, so that processes that share a database lock rows in one order.
        for one in sorted(settlements, key=lambda one: one.channel):
            found = tx.rows_affected(self._settle, *_settled(one), one.channel)
            if found and one.dead:
                tx.one_by_one(self._bury, map(_dead_row, one.dead))

    def claim(self, tx: SqlTransaction, ids: Sequence[str], holder: str, now: int, until: int) -> list[str]:
        tx.one_by_one(self._claim, [(*_fresh(id, holder=holder, held_until=until), now) for id in sorted(ids)])
        return [row[0] for row in tx.rows(self._held, self._database.listed(ids), holder)]

    def resend(self, tx: SqlTransaction, channel: str, parcels: Sequence[int], at: int) -> int:
        if parcels:
            tx.rows_affected(self._revive, at, channel, self._database.listed(parcels))
        else:
            tx.rows_affected(self._revive_all, at, channel)
        return self.drop_dead(tx, channel, parcels)

    def drop_dead(self, tx: SqlTransaction, channel: str, parcels: Sequence[int]) -> int:
        if parcels:
            count = tx.rows_affected(self._forget, channel, self._database.listed(parcels))
        else:
            count = tx.rows_affected(self._forget_all, channel)
        tx.rows_affected(self._more_dead, -count, channel)
        return count

    def turn(self, tx: SqlTransaction, channel: str, state: State) -> None:
        tx.rows_affected(self._turn, *_fresh(channel, state=state))

    def drop(self, tx: SqlTransaction, channel: str) -> bool:
        parcels = tx.rows_affected(self._delete_all, channel)
        dead = tx.rows_affected(self._forget_all, channel)
        return tx.rows_affected(self._drop, channel) + parcels + dead > 0

    # --- outside ---

    def take(self, channels: Sequence[str], limit: int) -> dict[str, list[Parcel]]:
        read = self._database.read
        return {
            id: [Parcel(id, bytes(body), at, n, Grade(grade)) for body, at, n, grade in read(self._take, id, limit)]
            for id in channels
        }

    def last(self) -> int:
        return int(self._database.read(self._last)[0][0])

    def put_since(self, n: int) -> list[str]:
        return [row[0] for row in self._database.read(self._since, n)]

    def waiting(self, ids: Collection[str] | None = None) -> dict[str, int]:
        if ids is None:
            return dict(self._database.read(self._waiting))
        return dict(self._database.read(self._waiting_in, self._database.listed(list(ids))))

    def states(self, ids: Collection[str]) -> dict[str, ChannelState]:
        rows = self._database.read(self._states, self._database.listed(list(ids)))
        return {one.id: one for one in map(_state, rows)}

    def closed(self) -> set[str]:
        return {row[0] for row in self._database.read(self._closed)}

    def channels(self, state: str, limit: int, offset: int) -> list[ChannelState]:
        place = case({name: i for i, name in enumerate(IN_TROUBLE_FIRST)}, value=outbox_channel.c.state, else_=9)
        columns = [outbox_channel.c[name] for name in _CHANNEL]
        chosen = _in_state(select(*columns), state).order_by(place, outbox_channel.c.id)
        return [_state(row) for row in self._page(chosen, limit, offset)]

    def count_channels(self, state: str) -> int:
        counted = _in_state(select(func.count()).select_from(outbox_channel), state)
        return int(self._database.query(counted)[0][0])

    def dead(self, channel: str, limit: int, offset: int) -> list[DeadLetter]:
        columns = [outbox_dead.c[name] for name in _DEAD if name != "body"]
        chosen = select(*columns, func.length(outbox_dead.c.body)).order_by(outbox_dead.c.n.desc())
        return [_letter((*row[:4], b"", *row[4:])) for row in self._page(_of_channel(chosen, channel), limit, offset)]

    def count_dead(self, channel: str) -> int:
        counted = _of_channel(select(func.count()).select_from(outbox_dead), channel)
        return int(self._database.query(counted)[0][0])

    def dead_letter(self, n: int) -> DeadLetter | None:
        rows = self._database.read(self._letter, n)
        return _letter(rows[0]) if rows else None

    def _page(self, statement: Select[Any], limit: int, offset: int) -> list[Any]:
        paged = statement.limit(literal_column(str(limit))).offset(literal_column(str(offset)))
        return self._database.query(paged)


_SETTLED = ("sent", "sent_at", "failed", "failed_at", "error", "tries", "fails", "then", "died", "to")


def _settling(of: ColumnElement[bool]) -> Any:
    """How a channel's row moves with a settlement. What was paused or closed meanwhile stays so."""
    channel, to = outbox_channel.c, bindparam("to", type_=Text)
    at, error = bindparam("failed_at", type_=BigInteger), bindparam("error", type_=Text)
    moves = or_(to == "closed", channel.state == "active", channel.state == "failing")
    return (
        outbox_channel.update()
        .where(of)
        .values(
            times_sent=channel.times_sent + bindparam("sent"),
            last_sent_at=func.coalesce(bindparam("sent_at", type_=BigInteger), channel.last_sent_at),
            times_failed=channel.times_failed + bindparam("failed"),
            last_failed_at=func.coalesce(at, channel.last_failed_at),
            last_error=func.coalesce(error, channel.last_error),
            attempts=bindparam("tries"),
            failures=bindparam("fails"),
            next_at=bindparam("then", type_=BigInteger),
            dead=channel.dead + bindparam("died"),
            state=case((moves, to), else_=channel.state),
        )
    )


def _settled(one: Settlement) -> tuple[Any, ...]:
    error = one.close or one.error
    state = "closed" if one.close else "failing" if one.failures else "active"
    sent, failed = (one.at if one.done else None), (one.at if error else None)
    told = (len(one.done), sent, int(bool(one.error)), failed, error or None)
    return (*told, one.attempts, one.failures, one.next_at, len(one.dead), state)


def _fresh(id: str, **given: Any) -> tuple[Any, ...]:
    state = ChannelState(id=id, kind=id.partition(":")[0], **given)
    return tuple(getattr(state, name) for name in _CHANNEL)


def _dead_row(one: DeadLetter) -> tuple[Any, ...]:
    parcel = one.parcel
    return (parcel.n, parcel.channel, parcel.at, int(parcel.grade), parcel.body, one.died_at, one.attempts, one.reason)


def _letter(row: Sequence[Any]) -> DeadLetter:
    n, channel, at, grade, body, died_at, attempts, reason, *size = row
    parcel = Parcel(channel, bytes(body), at, n, Grade(grade))
    size = size or [len(body)]
    return DeadLetter(parcel=parcel, died_at=died_at, attempts=attempts, reason=reason, size=size[0])


def _state(row: Sequence[Any]) -> ChannelState:
    return ChannelState(**dict(zip(_CHANNEL, row, strict=True)))


def _in_state(statement: Select[Any], state: str) -> Select[Any]:
    return statement.where(outbox_channel.c.state == state) if state else statement


def _of_channel(statement: Select[Any], channel: str) -> Select[Any]:
    return statement.where(outbox_dead.c.channel == channel) if channel else statement
