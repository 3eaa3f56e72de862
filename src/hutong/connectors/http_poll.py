"""Addresses asked again and again: JSON, CSV, GeoJSON, NGSI-LD or Prometheus, taken whole or not at all.

An answer that is no longer what was declared (a web page, other columns) is told as the source's fault, and nothing of
it is stored. What has not changed is not sent again (ETag, Last-Modified), where rows tell their own time; without one,
each answer is news.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec

from hutong import __version__
from hutong.connectors.connections import Connection
from hutong.connectors.feeds import Feed, SourceFailed, told
from hutong.connectors.mapping import Mapped
from hutong.connectors.payloads import payload_of, read_chunks
from hutong.connectors.tables import Chunk
from hutong.kernel.errors import HutongError

BODY_BYTES_MAX: Final = 32 << 20  # unpacked
TIMEOUT_S: Final = 30.0
REDIRECTS_MAX: Final = 3
_MOVED: Final = (301, 302, 303, 307, 308)
_HTML: Final = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
_ACCEPT: Final = {
    "json": "application/json, */*;q=0.1",
    "csv": "text/csv, */*;q=0.1",
    "geojson": "application/geo+json, application/json;q=0.9, */*;q=0.1",
    "ngsi-ld": "application/json",
    "prometheus": "application/openmetrics-text;version=1.0.0, text/plain;version=0.0.4;q=0.9, */*;q=0.1",
}

Resolve: TypeAlias = Callable[[str, int], Awaitable[str]]
"""The IP address of a host and port that may be asked. Raises HutongError for one that may not."""


class Position(msgspec.Struct, kw_only=True):
    """What is known of the last answer that was stored. `turn` counts these."""

    turn: int = 0
    etag: str = ""
    modified: str = ""
    digest: str = ""


class HttpPoll:
    """Asks the address of one declared source.

    An address that the city's own connection gives is trusted; one that a pack gives goes through `resolve`.
    """

    def __init__(
        self,
        feed: Feed,
        connection: Connection | None,
        resolve: Resolve,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.feed, declared = feed, feed.source.declaration
        base = connection.url if connection else ""
        self._url = urljoin(base.rstrip("/") + "/", declared.url.lstrip("/")) if base and declared.url else base
        self._url = self._url or declared.url
        self._timed = bool(declared.at)
        self._resolve = None if connection else resolve
        self._headers = {
            "User-Agent": f"Hutong/{__version__}",
            "Accept": _ACCEPT.get(payload_of(feed.source), "*/*"),
            "Accept-Encoding": "gzip",
            **(connection.headers if connection else {}),
        }
        secure = connection.tls() if connection and connection.ca else True
        auth = (connection.user, connection.password) if connection and connection.user else None
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_S, verify=secure, auth=auth, trust_env=False, follow_redirects=False, transport=transport
        )
        self.position = msgspec.json.decode(feed.position, type=Position | None) or Position()

    async def turn(self) -> bool:
        """Ask once; what comes is durable when it returns."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, headers, body = await self._fetch()
        except TimeoutError:
            raise SourceFailed(f"no whole answer within {TIMEOUT_S:g} s") from None
        except httpx.HTTPError as error:
            raise SourceFailed(f"it cannot be asked: {str(error) or type(error).__name__}") from None
        if status == 304:
            return False
        self._check(status, headers, body)
        digest = hashlib.sha256(body).hexdigest()
        if self._timed and digest == self.position.digest:
            return False
        try:
            taken = await asyncio.to_thread(self._map, body)
        except HutongError as error:
            raise SourceFailed(f"the answer is not what was declared: {told(error)}") from None
        turn = self.position.turn + 1
        for n, (chunk, mapped) in enumerate(taken):
            await self.feed.store(chunk, f"poll:{self.feed.source.name}:{turn}:{digest[:32]}:{n}", mapped)
        self.position = Position(
            turn=turn, etag=headers.get("etag", ""), modified=headers.get("last-modified", ""), digest=digest
        )
        await self.feed.save(self.position)
        return False

    async def close(self) -> None:
        await self._client.aclose()

    async def _fetch(self) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body, after redirects within the same host. Raises SourceFailed."""
        url, headers = self._url, dict(self._headers)
        if self._timed:
            known = self.position
            headers |= {"If-None-Match": known.etag} if known.etag else {}
            headers |= {"If-Modified-Since": known.modified} if known.modified else {}
        for _ in range(REDIRECTS_MAX + 1):
            target, extensions = await self._pinned(url, headers)
            async with self._client.stream("GET", target, headers=headers, extensions=extensions) as answer:
                if answer.status_code not in _MOVED:
                    return answer.status_code, answer.headers, await _bounded(answer)
                to = urljoin(url, answer.headers.get("location", ""))
            if urlsplit(to).hostname != urlsplit(url).hostname or urlsplit(to).scheme < urlsplit(url).scheme:
                raise SourceFailed(f"it has moved to {to}: declare that address if it is the right one")
            url = to
        raise SourceFailed(f"it redirects more than {REDIRECTS_MAX} times")

    async def _pinned(self, url: str, headers: dict[str, str]) -> tuple[httpx.URL, dict[str, Any]]:
        """The address to connect to, by IP where it had to be looked at, and the name that TLS is to see."""
        parsed = httpx.URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise SourceFailed(f"no http or https address: {url}")
        if self._resolve is None:
            return parsed, {}
        ip = await self._resolve(parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80))
        headers["Host"] = parsed.netloc.decode()
        return parsed.copy_with(host=ip), {"sni_hostname": parsed.host}

    def _check(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        if status != 200:
            raise SourceFailed(f"it answers {status}")
        if "html" in headers.get("content-type", "") or _HTML.match(body):
            raise SourceFailed("it answers with a web page, not with data")

    def _map(self, body: bytes) -> list[tuple[Chunk, Mapped]]:
        """All of an answer, looked at before any of it is stored. Raises what is wrong with it as a whole."""
        taken = [(chunk, self.feed.source.map(chunk.frame)) for chunk in read_chunks(self.feed.source, body)]
        rejects = [reject for _, mapped in taken for reject in mapped.rejects]
        if rejects and not any(mapped.frame.height for _, mapped in taken):
            raise SourceFailed(f"no row of the answer can be taken: {rejects[0].fault}")
        return taken


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise SourceFailed(f"the answer is larger than {BODY_BYTES_MAX} bytes")
    return bytes(body)
