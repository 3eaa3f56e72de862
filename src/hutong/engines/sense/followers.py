"""Who follows changes as they happen: each follower hears of an entity once, however often it changed meanwhile."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from hutong.engines.sense.ports import Alert
from hutong.kernel.errors import Overloaded

FOLLOWERS_MAX = 2_000
WAITING_MAX = 10_000
PAGE = 500


class Changes:
    """What one follower has not heard yet: at most WAITING_MAX ids, the oldest are dropped beyond that."""

    def __init__(self, tenant: str, types: Sequence[str]) -> None:
        self.tenant, self.types = tenant, frozenset(types)
        self._waiting: dict[str, None] = {}
        self._some = asyncio.Event()

    def note(self, changed: Sequence[tuple[str, str, str]]) -> None:
        waiting = self._waiting
        for tenant, type_, id_ in changed:
            if tenant == self.tenant and (not self.types or type_ in self.types):
                waiting[id_] = None
        while len(waiting) > WAITING_MAX:
            del waiting[next(iter(waiting))]
        if waiting:
            self._some.set()

    async def next(self) -> tuple[str, ...]:
        """Up to PAGE ids, as soon as there are any."""
        await self._some.wait()
        ids = tuple(self._waiting)[:PAGE]
        for id_ in ids:
            del self._waiting[id_]
        if not self._waiting:
            self._some.clear()
        return ids


class Followers:
    """All followers of one process. They live on one event loop; changes come from the writer's thread."""

    def __init__(self) -> None:
        self._followers: set[Changes] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def publish(self, changed: Iterable[tuple[str, str, str]], alerts: Sequence[Alert]) -> None:
        """Tell of entities (tenant, type, id) and alerts that moved; called on the writer's thread."""
        if self._followers and self._loop is not None and not self._loop.is_closed():
            both = [*changed, *((alert.tenant, alert.type, alert.entity) for alert in alerts)]
            self._loop.call_soon_threadsafe(self._tell, both)

    def _tell(self, changed: Sequence[tuple[str, str, str]]) -> None:
        for follower in self._followers:
            follower.note(changed)

    @contextmanager
    def join(self, tenant: str, types: Sequence[str]) -> Iterator[Changes]:
        """Follow until the block is left. Raises Overloaded when there are FOLLOWERS_MAX already."""
        if len(self._followers) >= FOLLOWERS_MAX:
            raise Overloaded("too many follow changes already", allowed=f"{FOLLOWERS_MAX}", fix="try again later")
        self._loop = asyncio.get_running_loop()
        changes = Changes(tenant, types)
        self._followers.add(changes)
        try:
            yield changes
        finally:
            self._followers.discard(changes)
