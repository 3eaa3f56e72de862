"""The writer: one thread that makes commands durable, many in a transaction, so that they share an fsync."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from hutong.kernel.clock import Clock
from hutong.kernel.commands import Handler, Request
from hutong.kernel.errors import HutongError, IntegrityBroken, Overloaded, StorageFull
from hutong.kernel.ledger import Ledger, LedgerStore
from hutong.kernel.transactions import Database

QUEUE_WEIGHT_MAX = 50_000
GROUP_WEIGHT_MAX = 4_000
LINGER_S = 0.003

log = logging.getLogger(__name__)

Waiting = tuple[Request, "Future[Any] | asyncio.Future[Any]"]


class Writer:
    """Takes commands from any thread or event loop and answers when they are durable.

    `committed` is called, on the writer's thread, when a transaction is durable and its handlers have heard of it.
    `failed` is set when it is not known whether something is durable, or when those who follow could not be told of
    it: from then on all is refused, as memory may be behind the disk; a restart brings them together again.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        store: LedgerStore,
        clock: Clock,
        handlers: Mapping[type, Handler],
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._ledger, self._store, self._clock = database, ledger, store, clock
        self._handlers, self._committed = dict(handlers), committed
        self._queue: deque[Waiting] = deque()
        self._weight = 0
        self._expected = self._wanted = 1  # how many commands are likely to come together; how many wake the thread
        self._wake = threading.Condition()
        self._closing = False
        self.failed: IntegrityBroken | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Finish what was accepted, then stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    async def ask(self, request: Request) -> Any:
        """Submit from an event loop and wait for the outcome. Raises the HutongError that it is refused with."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._enqueue(request, future)
        return await future

    def submit(self, request: Request) -> "Future[Any]":
        """Submit from a plain thread."""
        future: Future[Any] = Future()
        self._enqueue(request, future)
        return future

    @property
    def backlog(self) -> int:
        """Weight of what waits, at most QUEUE_WEIGHT_MAX."""
        return self._weight

    def _enqueue(self, request: Request, future: "Future[Any] | asyncio.Future[Any]") -> None:
        weight = self._handlers[type(request.command)].weight(request.command)
        with self._wake:
            if self.failed is not None:
                raise self.failed
            if self._closing:
                raise Overloaded("the server is shutting down", fix="send it again when it is back")
            if self._weight + weight > QUEUE_WEIGHT_MAX and self._queue:
                raise Overloaded(
                    "too much is waiting to be written",
                    seen=str(self._weight),
                    allowed=f"{QUEUE_WEIGHT_MAX} waiting changes",
                    fix="slow down and send it again",
                )
            self._queue.append((request, future))
            self._weight += weight
            if len(self._queue) >= self._wanted:
                self._wake.notify()

    def _run(self) -> None:
        while group := self._next_group():
            outcomes = self._write(group)
            self._expected = len(group) + len(self._queue)
            self._answer(group, outcomes)

    def _next_group(self) -> list[Waiting]:
        with self._wake:
            while not self._queue:
                if self._closing:
                    return []
                self._wake.wait()
            self._linger()
            group, weight = [], 0
            while self._queue and weight < GROUP_WEIGHT_MAX:
                waiting = self._queue.popleft()
                group.append(waiting)
                weight += self._handlers[type(waiting[0].command)].weight(waiting[0].command)
            self._weight -= weight
            return group

    def _linger(self) -> None:
        """Wait a moment for as many commands as there were the last time: those answered then will ask again now.

        A group costs nearly the same whatever its size, so under load waiting makes all of them faster.
        """
        if len(self._queue) < self._expected and not self._closing:
            self._wanted = self._expected
            self._wake.wait_for(lambda: len(self._queue) >= self._expected or self._closing, LINGER_S)
            self._wanted = 1

    def _write(self, group: Sequence[Waiting]) -> list[Any]:
        """Outcomes or exceptions, one per request."""
        if self.failed is not None:
            return [self.failed] * len(group)
        try:
            return self._commit([request for request, _ in group])
        except (StorageFull, Overloaded) as error:  # one by one they would fare no better
            return [error] * len(group)
        except IntegrityBroken as error:
            self.failed = error
            return [error] * len(group)
        except Exception as error:  # one faulty command must not take its neighbours along
            if len(group) > 1:
                return [outcome for one in group for outcome in self._write([one])]
            if not isinstance(error, HutongError):
                log.exception("a command failed: %s", type(group[0][0].command).__name__)
            return [error]

    def _commit(self, requests: Sequence[Request]) -> list[Any]:
        touched: dict[int, Handler] = {}
        try:
            with self._database.begin() as tx:
                outcomes = self._handle(tx, requests, touched)
                self._ledger.write(tx)
        except BaseException:
            self._ledger.rolled_back()
            for handler in touched.values():
                handler.rolled_back()
            raise
        self._ledger.committed()
        try:
            for handler in touched.values():
                handler.committed()
            self._committed()
        except Exception:
            log.exception("what is durable could not be told; nothing more is taken until a restart")
            self.failed = IntegrityBroken(
                "what is in memory is behind what was written", fix="restart; nothing that was acknowledged is lost"
            )
        return outcomes

    def _handle(self, tx: Any, requests: Sequence[Request], touched: dict[int, Handler]) -> list[Any]:
        outcomes: list[Any] = [None] * len(requests)
        keyed = [request.key for request in requests if request.key]
        known = self._store.outcomes(tx, keyed) if keyed else {}
        first: dict[str, int] = {}
        todo: dict[int, list[int]] = {}
        repeats: list[tuple[int, int]] = []
        for i, request in enumerate(requests):
            handler = self._handlers[type(request.command)]
            if request.key in known:
                outcomes[i] = handler.decode(known[request.key])
            elif request.key and (j := first.setdefault(request.key, i)) != i:
                repeats.append((i, j))
            else:
                touched[id(handler)] = handler
                todo.setdefault(id(handler), []).append(i)
        remembered = []
        for key, indexes in todo.items():
            handler = touched[key]
            for i, outcome in zip(
                indexes, handler.handle(tx, [requests[i] for i in indexes], self._ledger.emit), strict=True
            ):
                outcomes[i] = outcome
                if requests[i].key and not isinstance(outcome, HutongError):
                    remembered.append((requests[i].key, handler.encode(outcome), self._clock.now()))
        for i, j in repeats:
            outcomes[i] = outcomes[j]
        if remembered:
            self._store.remember(tx, remembered)
        return outcomes

    @staticmethod
    def _answer(group: Sequence[Waiting], outcomes: Sequence[Any]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if isinstance(future, Future):
                if future.set_running_or_notify_cancel():
                    _settle(future, outcome)
            else:
                loops.setdefault(future.get_loop(), []).append((future, outcome))
        for loop, answers in loops.items():
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle_all, answers)


def _settle(future: "Future[Any] | asyncio.Future[Any]", outcome: Any) -> None:
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _settle_all(answers: Sequence[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, outcome in answers:
        if not future.done():  # whoever asked may have gone
            _settle(future, outcome)
