"""All sources that run by themselves, on one thread: begun, watched, begun again when they fail, and their health."""

import asyncio
import logging
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from hutong.connectors.feeds import Feed, Health, SourceFailed, told
from hutong.kernel.clock import SECOND, duration
from hutong.kernel.errors import HutongError

BACK_OFF_S_MAX: Final = 300.0
RETRY_S: Final = 1.0
JITTER_S_MAX: Final = 5.0
SAVE_EVERY_S: Final = 10.0
CLOSE_S_MAX: Final = 20.0

log = logging.getLogger(__name__)


class Runner(Protocol):
    """A source that runs."""

    feed: Feed

    async def run(self) -> None:
        """Read until it is cancelled. Raises SourceFailed and HutongErrors; it is run again then."""


class Poller(Protocol):
    """A source that is asked again and again."""

    async def turn(self) -> bool:
        """Ask once. True when there is more to be had at once. Raises as Runner.run does."""


class Polling:
    """Lets a Poller run, made when it is needed first: every so often, and not all at the same moment."""

    def __init__(self, feed: Feed, make: Callable[[], Poller]) -> None:
        self.feed, self._make = feed, make
        self._poller: Poller | None = None
        self._every_s = duration(self.feed.source.declaration.every) / SECOND

    async def run(self) -> None:
        share = zlib.crc32(self.feed.source.name.encode()) / 2**32
        await asyncio.sleep(share * min(JITTER_S_MAX, self._every_s / 2))
        while True:
            self._poller = self._poller or self._make()
            more = await self._poller.turn()
            self.feed.fine()
            if not more:
                await asyncio.sleep(self._every_s)


class Unset:
    """Stands for a source whose connection the city has not got."""

    def __init__(self, feed: Feed, reason: str) -> None:
        self.feed, self._reason = feed, reason

    async def run(self) -> None:
        self.feed.health.state, self.feed.health.last_error = "unset", self._reason
        await asyncio.Event().wait()


class Sources:
    """Runs what `make` gives on a thread and an event loop of their own, between `start` and `close`."""

    def __init__(self, make: Callable[[], Sequence[Runner]]) -> None:
        self._make = make
        self._runners: Sequence[Runner] = ()
        self._thread = threading.Thread(target=self._run, name="sources", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Stop reading; what was taken is stored first, the rest comes again."""
        if self._thread.is_alive() and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(CLOSE_S_MAX)

    @property
    def health(self) -> list[Health]:
        """How each source fares, by name."""
        return sorted((runner.feed.health for runner in self._runners), key=lambda one: one.source)

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        finally:
            self._ready.set()

    async def _all(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._runners = self._make()
        self._ready.set()
        tasks = [asyncio.create_task(self._watched(runner)) for runner in self._runners]
        tasks.append(asyncio.create_task(self._saving()))
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._save()

    async def _watched(self, runner: Runner) -> None:
        failures = 0
        while True:
            ok = runner.feed.health.last_ok
            try:
                await runner.run()
            except (HutongError, SourceFailed, OSError) as error:
                log.warning("%s: %s", runner.feed.source.name, told(error))
                runner.feed.failed(told(error))
            except Exception:  # one source must not stop the others, and is tried again as they are
                log.exception("%s failed", runner.feed.source.name)
                runner.feed.failed("something went wrong inside; it was logged")
            failures = failures + 1 if runner.feed.health.last_ok == ok else 1
            await asyncio.sleep(min(BACK_OFF_S_MAX, RETRY_S * 2 ** min(failures - 1, 10)))

    async def _saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self._save()

    async def _save(self) -> None:
        for runner in self._runners:
            if runner.feed.changed:
                try:
                    await runner.feed.save()
                except HutongError as error:  # the next round tries again
                    log.warning("how %s fares could not be kept: %s", runner.feed.source.name, error)
