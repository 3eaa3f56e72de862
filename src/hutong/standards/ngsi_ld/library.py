"""Where @contexts come from: kept here for clients, or given to the server beforehand; nothing is downloaded.

In the words of the standard (clause 5.13): *hosted* ones were sent by a client, *implicitly created* ones came with a
subscription, and *cached* ones stand under an address elsewhere. Here the latter are taken from what the operator gave
by address, when a request first names it.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from hutong.kernel.clock import Clock
from hutong.standards.ngsi_ld.core_context import CORE_DOCUMENT, CORE_URL, is_core_url

HOSTED_PATH: Final = "/ngsi-ld/v1/jsonldContexts/"
USAGES_KEPT_MAX: Final = 10_000

Kind: TypeAlias = Literal["Hosted", "Cached", "ImplicitlyCreated"]
KINDS: Final[tuple[Kind, ...]] = ("Hosted", "Cached", "ImplicitlyCreated")


class KeptContext(msgspec.Struct, frozen=True):
    """The body of a document of kind `context`; `document` is JSON, an object with the member @context."""

    kind: Literal["Hosted", "ImplicitlyCreated"]
    document: msgspec.Raw


class Usage(msgspec.Struct):
    """How often a context was used since the server started, in a request or by being served."""

    since: int
    hits: int = 0
    last: int | None = None


class Files(Protocol):
    """@contexts that the operator gave, by address."""

    def get(self, url: str, /) -> Any: ...

    def reload(self, url: str, /) -> Any:
        """Read one again. Raises LdContextNotAvailable where that fails; the old one stays then."""


class NoFiles:
    """No @contexts were given."""

    def get(self, url: str, /) -> Any:
        return None

    def reload(self, url: str, /) -> Any:
        raise KeyError(url)


class Library:
    """All @contexts at hand, by address. `kept(tenant, id)` gives the body of a document that a client keeps here.

    A kept one is found by the last part of its address, so whatever name the server is reached by. It is unguessable:
    who names it has been told of it, in whatever tenant.
    """

    def __init__(self, files: Files, kept: Callable[[str, str], bytes | None], clock: Clock) -> None:
        self._files, self._kept, self._clock = files, kept, clock
        self._usages: dict[str, Usage] = {}
        self.cached: dict[str, Usage] = {CORE_URL: Usage(clock.now())}

    def get(self, url: str) -> Any:
        """The document at an address, an object with the member @context; None where it is not known."""
        if is_core_url(url):
            return CORE_DOCUMENT
        if local := local_id(url):
            body = self._kept(tenant_of(local), local)
            return None if body is None else msgspec.json.decode(msgspec.json.decode(body, type=KeptContext).document)
        document = self._files.get(url)
        if document is not None and url not in self.cached:
            self.cached[url] = Usage(self._clock.now())
        return document

    def used(self, urls: tuple[str, ...]) -> None:
        """Remember that these were used."""
        now = self._clock.now()
        for url in urls:
            local = local_id(url)
            if local and local not in self._usages and len(self._usages) >= USAGES_KEPT_MAX:
                del self._usages[next(iter(self._usages))]
            usage = (self._usages if local else self.cached).setdefault(local or url, Usage(now))
            usage.hits, usage.last = usage.hits + 1, now

    def usage(self, local: str) -> Usage:
        """How often a kept one was used."""
        return self._usages.get(local) or Usage(0)

    def forget(self, local: str) -> None:
        """A kept one is no more."""
        self._usages.pop(local, None)

    def reload(self, url: str) -> None:
        """Read a cached one again. Raises LdContextNotAvailable, and keeps the old one then."""
        if not is_core_url(url):
            self._files.reload(url)
        self.cached[url].since = self._clock.now()


def local_id(url: str) -> str:
    """The id, within this server, of an @context that it serves under an address; "" for another's."""
    _, path, local = url.rpartition(HOSTED_PATH)
    return local if path and "/" not in local else ""


def new_id(tenant: str, unique: str) -> str:
    """An id that tells the tenant: kept ones are found by it alone."""
    return f"{tenant}~{unique}" if tenant else unique


def tenant_of(local: str) -> str:
    return local.rpartition("~")[0]
