"""The dispatcher: sends what is in the outbox, each channel in order, and notes what came of it in few commands."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from hutong.kernel.clock import DAY, MINUTE, SECOND, Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import DeliveryFailed, DeliveryRefused, HutongError, ReceiverAway
from hutong.kernel.outbox import (
    ChannelState,
    ClaimChannels,
    DeadLetter,
    Outbox,
    Parcel,
    Sent,
    Settle,
    Settlement,
    Transport,
    reason,
)
from hutong.kernel.writer import Writer

BATCH_MAX = 100  # parcels of one channel that a transport is given at a time
SENDING_MAX = 200  # channels that are sent at the same time
SEND_S_MAX = 120  # for one batch, beyond what a transport allows for each message
ATTEMPTS_MAX = 12  # failures of one message until it is given up, where the receiver answers at all
AGE_MAX = DAY  # of a message that cannot be delivered
WAITING_MAX = 100_000  # parcels in one channel; beyond that it is closed
DEAD_MAX = 10_000  # dead letters of one channel; beyond that it is closed
PAUSE_MAX = 5 * MINUTE  # between two attempts
LEASE = 30 * SECOND
LOOK_EVERY = SECOND // 2  # for what other processes have put
SWEEP_EVERY = 10 * SECOND
STRAGGLERS_MAX = 1_000  # numbers by which a parcel may become visible after one that was put later
TAKES_NO_MORE = "nothing more is taken until an operator resumes it"

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try, and how much to keep; durations in microseconds."""

    attempts_max: int = ATTEMPTS_MAX
    age_max: int = AGE_MAX
    waiting_max: int = WAITING_MAX
    dead_max: int = DEAD_MAX
    first_pause: int = SECOND
    pause_max: int = PAUSE_MAX


class _Line:
    """A channel that has, or may have, something to send: whether it is being dealt with, and when it is due."""

    __slots__ = ("again", "busy", "due", "id")

    def __init__(self, id: str) -> None:
        self.id, self.busy, self.again, self.due = id, False, False, 0


class Dispatcher:
    """Sends what waits. `holder` names this process; transports are by kind of channel; `scatter` spreads retries.

    `run` lives on one event loop, and everything goes on where it stood when it is started again.
    """

    def __init__(
        self,
        outbox: Outbox,
        transports: Mapping[str, Transport],
        writer: Writer,
        clock: Clock,
        *,
        holder: str,
        scatter: random.Random,
        patience: Patience | None = None,
    ) -> None:
        self._outbox, self._store, self._writer, self._clock = outbox, outbox.store, writer, clock
        self._transports, self._holder, self._scatter = transports, holder, scatter
        self._patience = patience or Patience()
        self._lines: dict[str, _Line] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._results: list[tuple[_Line, Settlement]] = []
        self._held: set[str] = set()
        self._full: dict[str, int] = {}
        self._awake = asyncio.Event()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._seen = self._looked_at = self._swept_at = 0
        self._trouble = ""

    async def run(self) -> None:
        """Send until cancelled. What is under way then is sent again by whoever comes next."""
        loop = asyncio.get_running_loop()

        def woken(channels: Collection[str], anew: bool) -> None:
            with suppress(RuntimeError):  # the loop is closed: nothing is sent any more
                loop.call_soon_threadsafe(self.wake, channels, anew)

        self._outbox.follow(woken)
        try:
            while True:
                await self._turn_and_wait()
        finally:
            self._outbox.unfollow(woken)
            await self._leave()

    async def _turn_and_wait(self) -> None:
        pause_s = LOOK_EVERY / SECOND
        try:
            self._awake.clear()
            await self.turn()
            self._tell("")
            pause_s = min(pause_s, self._until_due_s())
        except HutongError as error:  # everything is still there: the next turn tries again
            self._tell(str(error))
            self._awake.clear()
        except Exception:  # a fault of one turn must not end sending: it is logged, and all of it comes again
            log.exception("a turn of the outbox failed")
            self._awake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._awake.wait()

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("the outbox %s", f"waits: {trouble}" if trouble else "goes on")

    async def turn(self) -> None:
        """Look for what is to be sent where that is due, note what was sent, and begin to send what is ready."""
        now = self._clock.now()
        if abs(now - self._swept_at) >= SWEEP_EVERY:  # clocks step back, too
            await self._sweep(now)
            self._swept_at = self._looked_at = now
        elif abs(now - self._looked_at) >= LOOK_EVERY:
            await self._look()
            self._looked_at = now
        await self._settle()
        await self._load(now)

    def close(self) -> None:
        """Let go of what reads."""
        self._reader.shutdown()

    async def idle(self) -> None:
        """Wait until nothing is being sent; for tests and proofs, which take turns by themselves."""
        while self._sending:
            await asyncio.wait(self._sending)

    # --- what is to be sent ---

    def wake(self, channels: Iterable[str], anew: bool = False) -> None:
        """There is something in these channels; `anew`: forget when they were to be tried next."""
        for id in channels:
            line = self._lines.get(id)
            if line is None:
                line = self._lines[id] = _Line(id)
            line.again = True
            if anew:
                line.due = 0
        self._awake.set()

    async def _look(self) -> None:
        """Find what others have put; on one machine the writer tells at once."""
        last = await self._off(self._store.last)
        if last > self._seen:
            since = max(0, self._seen - STRAGGLERS_MAX)
            self.wake(await self._off(lambda: self._store.put_since(since)))
            self._seen = last

    async def _sweep(self, now: int) -> None:
        """Look at everything that waits, and close channels where too much does."""
        last = await self._off(self._store.last)
        waiting = await self._off(self._store.waiting)
        await self._off(self._outbox.refresh)
        most, before = self._patience.waiting_max, self._full
        self._full = {id: count for id, count in waiting.items() if count > most}
        # One that was resumed may have more than that, as long as it grows less.
        if full := [id for id, n in self._full.items() if n >= before.get(id, 0) and self._outbox.takes(id)]:
            states = await self._off(lambda: self._store.states(full))
            closed = [
                _closed(state, now, f"{waiting[id]} messages wait, {most} is the most: {TAKES_NO_MORE}")
                for id, state in states.items()
                if state.state != "closed"
            ]
            await self._ask(Settle(settlements=tuple(closed)))
        self._seen = max(self._seen, last)
        self.wake(waiting, anew=True)

    async def _load(self, now: int) -> None:
        """Begin to send what is due, as far as there is room."""
        free = SENDING_MAX - len(self._sending)
        ready = [line for line in self._lines.values() if not line.busy and line.due <= now][:free]
        if not ready:
            return
        for line in ready:
            line.again, line.due = False, now + SECOND  # tried again should the store not answer
        ids = [line.id for line in ready]
        states, taken = await self._off(lambda: (self._store.states(ids), self._store.take(ids, BATCH_MAX)))
        unclaimed = [line for line in ready if not self._begin(line, states.get(line.id), taken[line.id], now)]
        if unclaimed:
            claim = ClaimChannels(ids=tuple(line.id for line in unclaimed), holder=self._holder, until=now + LEASE)
            self._held.update(await self._ask(claim))
            for line in unclaimed:
                if line.id in self._held:
                    line.due = now

    def _begin(self, line: _Line, state: ChannelState | None, parcels: list[Parcel], now: int) -> bool:
        """Begin to send, or put the line by; False when this process has to claim the channel first."""
        if not parcels or (state is not None and state.state in ("paused", "closed")):
            line.due = now
            if not line.again:
                del self._lines[line.id]
            return True
        if state is not None and now < state.next_at <= now + self._patience.pause_max:
            line.due = state.next_at
            return True
        if state is not None and state.holder != self._holder and state.held_until > now:
            self._held.discard(line.id)
            line.due = min(state.held_until, now + LEASE)
            return True
        if state is None or state.holder != self._holder or state.held_until <= now + LEASE // 2:
            self._held.discard(line.id)
            return False
        line.busy, line.due = True, 0
        task = asyncio.create_task(self._send(line, state, parcels), name=line.id)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return True

    # --- sending ---

    async def _send(self, line: _Line, state: ChannelState, parcels: list[Parcel]) -> None:
        """Hand a batch to its transport; what comes of it is noted in the next turn."""
        try:
            async with asyncio.timeout(SEND_S_MAX):
                sent = await self._transport(state.kind).send(line.id, parcels)
            line.due = sent.not_before if sent.count else max(sent.not_before, self._clock.now() + SECOND)
            self._results.append((line, self._delivered(line.id, parcels, sent)))
        except DeliveryRefused as error:
            self._results.append((line, self._refused(state, parcels, error.fault.what)))
        except ReceiverAway as error:
            self._results.append((line, self._failed(line, state, parcels, error.fault.what, 0)))
        except DeliveryFailed as error:
            self._results.append((line, self._failed(line, state, parcels, error.fault.what, 1)))
        except TimeoutError:
            self._results.append((line, self._failed(line, state, parcels, f"no end within {SEND_S_MAX} s", 1)))
        except Exception:  # a fault in one transport must not stop other channels: it counts as a failed attempt
            log.exception("sending to %s failed", line.id)
            self._results.append((line, self._failed(line, state, parcels, "a fault inside; it was logged", 1)))
        self._awake.set()

    def _transport(self, kind: str) -> Transport:
        if kind not in self._transports:
            raise ReceiverAway(f"nothing here sends messages of the kind {kind}")
        return self._transports[kind]

    def _delivered(self, channel: str, parcels: Sequence[Parcel], sent: Sent) -> Settlement:
        done = tuple(parcel.n for parcel in parcels[: sent.count])
        return Settlement(channel=channel, at=self._clock.now(), done=done, next_at=sent.not_before)

    def _refused(self, state: ChannelState, parcels: Sequence[Parcel], what: str) -> Settlement:
        """The first is given up, and the next comes at once."""
        told = Settlement(channel=state.id, at=self._clock.now(), error=reason(what), failures=state.failures)
        return self._buried(state, told, parcels[:1], state.attempts + 1)

    def _failed(self, line: _Line, state: ChannelState, parcels: Sequence[Parcel], what: str, blame: int) -> Settlement:
        """Try again after a pause. What has been tried too often, or is too old, is given up.

        Once the first was tried too often the next comes at once: the receiver may well take that.
        """
        now, patience = self._clock.now(), self._patience
        attempts, failures = state.attempts + blame, state.failures + 1
        exhausted = attempts >= patience.attempts_max
        lost = [p for i, p in enumerate(parcels) if (i == 0 and exhausted) or now - p.at >= patience.age_max]
        pause = min(patience.pause_max, patience.first_pause << min(failures - 1, 40))
        line.due = now if exhausted else now + int(pause * self._scatter.uniform(0.8, 1.0))
        told = Settlement(
            channel=state.id,
            at=now,
            error=reason(what),
            attempts=0 if parcels[0] in lost else attempts,
            failures=failures,
            next_at=line.due,
        )
        return self._buried(state, told, lost, attempts or failures)

    def _buried(
        self, state: ChannelState, settlement: Settlement, parcels: Sequence[Parcel], attempts: int
    ) -> Settlement:
        """The settlement, with these parcels given up; a channel with too many dead letters is closed."""
        if not parcels:
            return settlement
        letters = tuple(
            DeadLetter(
                parcel=parcel,
                died_at=settlement.at,
                attempts=attempts if i == 0 else 0,
                reason=settlement.error if i == 0 else reason(f"too old: {settlement.error}"),
            )
            for i, parcel in enumerate(parcels)
        )
        most, dead = self._patience.dead_max, state.dead + len(letters)
        close = (
            f"{dead} messages could not be delivered, {most} is the most: {TAKES_NO_MORE}; {settlement.error}"
            if dead >= most
            else ""
        )
        return msgspec.structs.replace(settlement, dead=letters, close=reason(close))

    async def _settle(self) -> None:
        """Note everything that was sent meanwhile in one command. What cannot be noted now is kept."""
        results, self._results = self._results, []
        told = tuple(one for _, one in results if one.done or one.error)
        if told:
            try:
                await self._ask(Settle(settlements=told))
            except HutongError:
                self._results[:0] = results
                raise
        for line, _ in results:
            line.busy = False
            self._lines[line.id] = self._lines.pop(line.id)  # the others first

    async def _leave(self) -> None:
        """Stop sending, note what was sent, and let other processes have the channels."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        try:
            await self._settle()
            if self._held:
                await self._ask(ClaimChannels(ids=tuple(self._held), holder=self._holder, until=0))
        except HutongError as error:
            log.warning("the outbox could not note what was sent last, so that is sent again: %s", error)
        self._lines, self._results, self._held = {}, [], set()
        self._swept_at = 0

    # --- what both need ---

    def _until_due_s(self) -> float:
        """Seconds until the next channel is due, where there is room to send it."""
        if len(self._sending) >= SENDING_MAX:
            return LOOK_EVERY / SECOND
        due = min((line.due for line in self._lines.values() if not line.busy), default=None)
        return LOOK_EVERY / SECOND if due is None else max(0, due - self._clock.now()) / SECOND

    async def _ask(self, command: Any) -> Any:
        return await self._writer.ask(Request(command=command, actor="system:outbox"))

    async def _off(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)


def _closed(state: ChannelState, now: int, why: str) -> Settlement:
    return Settlement(
        channel=state.id,
        at=now,
        close=reason(why),
        attempts=state.attempts,
        failures=state.failures,
        next_at=state.next_at,
    )
