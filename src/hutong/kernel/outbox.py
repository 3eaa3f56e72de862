"""The outbox: what is to be sent is durable with what caused it, and stays until it was sent or an operator sees it.

Whoever turns commands into events puts parcels in the same transaction. Each channel (a subscription, a mailbox) is
sent in order, at least once, by one process at a time.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from hutong.kernel.access import Grade
from hutong.kernel.clock import Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError, NotFound, TooLarge
from hutong.kernel.ledger import Event, Position
from hutong.kernel.transactions import Transaction

PARCEL_BYTES_MAX = 4 * 1024 * 1024
REASON_LENGTH_MAX = 300

State: TypeAlias = Literal["active", "failing", "paused", "closed"]


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """Something to be sent. `channel` is `kind:rest`, `at` when it was put, `grade` how far its content is open.

    `n` is the order, given by the store.
    """

    channel: str
    body: bytes
    at: int
    n: int = 0
    grade: Grade = Grade.CLOSED


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel that could not be sent: when it was given up, after how many attempts, and why, in words.

    Lists leave its body out and tell the `size` in bytes.
    """

    parcel: Parcel
    died_at: int
    attempts: int
    reason: str
    size: int = 0


class ChannelState(msgspec.Struct, frozen=True, kw_only=True):
    """How a channel fares.

    `attempts` counts failures of the parcel that is next, `failures` those since the channel last worked. Paused keeps
    what is put; closed takes nothing more (`times_refused` counts it) and keeps what waits. `dead` counts its dead
    letters. `waiting` is known to who lists channels only. `holder` is the process that sends it, until `held_until`.
    """

    id: str
    kind: str
    state: State = "active"
    attempts: int = 0
    failures: int = 0
    next_at: int = 0
    times_sent: int = 0
    times_failed: int = 0
    times_refused: int = 0
    last_sent_at: int | None = None
    last_failed_at: int | None = None
    last_error: str = ""
    dead: int = 0
    holder: str = ""
    held_until: int = 0
    waiting: int = 0


class Sent(msgspec.Struct, frozen=True):
    """The first `count` parcels of those given are done. The rest is asked for again, not before an instant."""

    count: int
    not_before: int = 0


class Transport(Protocol):
    """Sends the parcels of one kind of channel."""

    async def send(self, channel: str, parcels: Sequence[Parcel]) -> Sent:
        """Send some or all, in order; at least the first.

        Raises, about the first one only, DeliveryFailed or ReceiverAway (try again), DeliveryRefused (dead at once).
        Where a later one fails, answer how many went out before it: it comes first the next time.
        """


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of sending to a channel: parcels that are done, those given up, and how the channel stands now.

    An `error` means that the attempt failed; `close` closes the channel for that reason.
    """

    channel: str
    at: int
    done: tuple[int, ...] = ()
    dead: tuple[DeadLetter, ...] = ()
    error: str = ""
    attempts: int = 0
    failures: int = 0
    next_at: int = 0
    close: str = ""


class Settle(msgspec.Struct, frozen=True, kw_only=True, tag="outbox.settle"):
    """Command: note what came of sending. The ledger hears of what was given up or closed only."""

    settlements: tuple[Settlement, ...]


class ClaimChannels(msgspec.Struct, frozen=True, kw_only=True, tag="outbox.claim"):
    """Command: the holder alone sends these channels until an instant. The outcome is those that it has got."""

    ids: tuple[str, ...]
    holder: str
    until: int


class Resend(msgspec.Struct, frozen=True, kw_only=True, tag="outbox.resend"):
    """Command: put dead letters of a channel (all when none is named) back, last in line. The outcome counts them."""

    channel: str
    parcels: tuple[int, ...] = ()


class DropDead(msgspec.Struct, frozen=True, kw_only=True, tag="outbox.drop_dead"):
    """Command: delete dead letters of a channel (all when none is named). The outcome counts them."""

    channel: str
    parcels: tuple[int, ...] = ()


class PauseChannel(msgspec.Struct, frozen=True, kw_only=True, tag="outbox.pause"):
    """Command: keep what is put, send nothing."""

    channel: str


class ResumeChannel(msgspec.Struct, frozen=True, kw_only=True, tag="outbox.resume"):
    """Command: send again, beginning now, whether it was paused, failing or closed."""

    channel: str


class DropChannel(msgspec.Struct, frozen=True, kw_only=True, tag="outbox.drop"):
    """Command: forget a channel, what waits in it and its dead letters. The outcome tells whether there was one."""

    channel: str


class OutboxStore(Protocol):
    """Where parcels, channels and dead letters are kept."""

    def put(self, tx: Transaction, parcels: Sequence[Parcel]) -> None: ...

    def refuse(self, tx: Transaction, counts: Mapping[str, int], at: int) -> None:
        """Count parcels that closed channels did not take."""

    def settle(self, tx: Transaction, settlements: Sequence[Settlement]) -> None: ...

    def claim(self, tx: Transaction, ids: Sequence[str], holder: str, now: int, until: int) -> list[str]: ...

    def resend(self, tx: Transaction, channel: str, parcels: Sequence[int], at: int) -> int: ...

    def drop_dead(self, tx: Transaction, channel: str, parcels: Sequence[int]) -> int: ...

    def turn(self, tx: Transaction, channel: str, state: State) -> None:
        """Pause or resume; a channel that is not there yet begins with it."""

    def drop(self, tx: Transaction, channel: str) -> bool: ...

    def take(self, channels: Sequence[str], limit: int) -> dict[str, list[Parcel]]:
        """The first parcels of each channel, in order."""

    def last(self) -> int:
        """The number of the parcel that was put last, of those that wait; 0 where none do."""

    def put_since(self, n: int) -> list[str]:
        """The channels of parcels after n."""

    def waiting(self, ids: Collection[str] | None = None) -> dict[str, int]:
        """How many parcels wait in each of these channels, or in all; those with none are left out."""

    def states(self, ids: Collection[str]) -> dict[str, ChannelState]:
        """Those of these channels that there are, without `waiting`."""

    def closed(self) -> set[str]:
        """The channels that are closed."""

    def channels(self, state: str, limit: int, offset: int) -> list[ChannelState]:
        """Those in a state ("": in any), the ones in trouble first; without `waiting`."""

    def count_channels(self, state: str) -> int: ...

    def dead(self, channel: str, limit: int, offset: int) -> list[DeadLetter]:
        """Dead letters of a channel ("": of all) without their bodies, the newest first."""

    def count_dead(self, channel: str) -> int: ...

    def dead_letter(self, n: int) -> DeadLetter | None: ...


class Outbox:
    """What puts parcels, and tells those who send that there are some, once these are durable."""

    def __init__(self, store: OutboxStore) -> None:
        self.store = store
        self._put: set[str] = set()
        self._woken: set[str] = set()
        self._followers: list[Callable[[Collection[str], bool], None]] = []
        self._closed, self._moves = store.closed(), 0

    def put(self, tx: Transaction, parcels: Sequence[Parcel]) -> None:
        """Put parcels in the append transaction; what closed channels do not take is counted.

        Raises TooLarge for a parcel over PARCEL_BYTES_MAX.
        """
        for parcel in parcels:
            if len(parcel.body) > PARCEL_BYTES_MAX:
                raise TooLarge(
                    "too much for one message",
                    where=parcel.channel,
                    seen=f"{len(parcel.body)} bytes",
                    allowed=f"{PARCEL_BYTES_MAX} bytes",
                    fix="send it in parts",
                )
        if self._closed and (refused := [one for one in parcels if one.channel in self._closed]):
            counts: dict[str, int] = {}
            for one in refused:
                counts[one.channel] = counts.get(one.channel, 0) + 1
            self.store.refuse(tx, counts, refused[-1].at)
            parcels = [one for one in parcels if one.channel not in self._closed]
        if parcels:
            self.store.put(tx, parcels)
            self._put.update([parcel.channel for parcel in parcels])

    def takes(self, channel: str) -> bool:
        """Whether the channel is not closed, as far as this process has heard: there is no use in rendering for one."""
        return channel not in self._closed

    def follow(self, follower: Callable[[Collection[str], bool], None]) -> None:
        """Tell, on the writer's thread, which channels have got something to send, once that is durable.

        The second argument says that they are to be tried at once, whenever they were due.
        """
        self._followers.append(follower)

    def unfollow(self, follower: Callable[[Collection[str], bool], None]) -> None:
        self._followers.remove(follower)

    def committed(self) -> None:
        """A transaction was committed."""
        put, woken = self._put, self._woken
        if put or woken:
            self._put, self._woken = set(), set()
            for follower in self._followers:
                if put:
                    follower(put, False)
                if woken:
                    follower(woken, True)

    def wake(self, channel: str) -> None:
        """Let this channel be tried at once when the transaction under way is durable."""
        self._woken.add(channel)

    def moved(self, closed: Mapping[str, bool]) -> None:
        """These channels were closed, or are not any more."""
        self._moves += 1
        self._closed = self._closed.difference(closed) | {channel for channel, shut in closed.items() if shut}

    def refresh(self) -> None:
        """Look which channels are closed: another process may have moved them."""
        moves, closed = self._moves, self.store.closed()
        if moves == self._moves:
            self._closed = closed


class OutboxHandler:
    """Implements the kernel's Handler for the commands of the outbox."""

    COMMANDS = (Settle, ClaimChannels, Resend, DropDead, PauseChannel, ResumeChannel, DropChannel)

    def __init__(self, outbox: Outbox, clock: Clock, city: str) -> None:
        self._outbox, self._store, self._clock, self._city = outbox, outbox.store, clock, city
        self._moved: dict[str, bool] = {}

    def weight(self, command: Any) -> int:
        return 1

    def encode(self, outcome: Any) -> bytes:
        return msgspec.msgpack.encode(outcome)

    def decode(self, outcome: bytes) -> Any:
        return msgspec.msgpack.decode(outcome)

    def committed(self) -> None:
        if self._moved:
            moved, self._moved = self._moved, {}
            self._outbox.moved(moved)

    def rolled_back(self) -> None:
        self._moved = {}

    def handle(
        self, tx: Transaction, requests: Sequence[Request], emit: Callable[[Event], Position]
    ) -> Sequence[Any | HutongError]:
        outcomes: list[Any] = []
        for request in requests:
            try:
                outcome, told = self._one(tx, request.command)
            except HutongError as error:
                outcomes.append(error)
                continue
            outcomes.append(outcome)
            for kind, payload in told:
                emit(request.event(f"outbox.{kind}", msgspec.msgpack.encode(payload), self._clock.now(), self._city))
        return outcomes

    def _one(self, tx: Transaction, command: Any) -> tuple[Any, list[tuple[str, Any]]]:
        """The outcome of a command, and what the ledger is told."""
        store, now = self._store, self._clock.now()
        match command:
            case Settle(settlements=settlements):
                store.settle(tx, settlements)
                return len(settlements), self._ended(settlements)
            case ClaimChannels(ids=ids, holder=holder, until=until):
                return store.claim(tx, ids, holder, now, until), []
            case Resend(channel=channel, parcels=parcels):
                return self._some(store.resend(tx, channel, parcels, now), "resent", channel, parcels)
            case DropDead(channel=channel, parcels=parcels):
                return self._some(store.drop_dead(tx, channel, parcels), "dead_dropped", channel, parcels)
            case PauseChannel(channel=channel):
                store.turn(tx, channel, "paused")
                self._moved[channel] = False
                return True, [("paused", {"channel": channel})]
            case ResumeChannel(channel=channel):
                store.turn(tx, channel, "active")
                self._moved[channel] = False
                self._outbox.wake(channel)
                return True, [("resumed", {"channel": channel})]
            case _:
                found = store.drop(tx, command.channel)
                self._moved[command.channel] = False
                return found, [("dropped", {"channel": command.channel})] if found else []

    def _ended(self, settlements: Sequence[Settlement]) -> list[tuple[str, Any]]:
        told: list[tuple[str, Any]] = []
        for one in settlements:
            if one.dead:
                dead = [(letter.parcel.n, letter.attempts, letter.reason) for letter in one.dead]
                told.append(("dead", {"channel": one.channel, "parcels": dead}))
            if one.close:
                self._moved[one.channel] = True
                told.append(("closed", {"channel": one.channel, "reason": one.close}))
        return told

    def _some(self, count: int, kind: str, channel: str, parcels: Sequence[int]) -> tuple[int, list[tuple[str, Any]]]:
        if not count:
            raise NotFound("there is no such dead letter", where=channel, seen=", ".join(map(str, parcels)))
        self._outbox.wake(channel)
        return count, [(kind, {"channel": channel, "parcels": parcels, "count": count})]


def reason(text: str) -> str:
    """A reason for people as it is kept: one line, at most REASON_LENGTH_MAX characters."""
    line = " ".join(text.split()).replace("\0", "")
    return line if len(line) <= REASON_LENGTH_MAX else line[: REASON_LENGTH_MAX - 1] + "…"
