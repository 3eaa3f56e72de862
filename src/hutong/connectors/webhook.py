"""Messages to others' HTTP servers: pooled connections, and no way into the operator's own network."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import SOCK_STREAM, gaierror
from typing import Any, TypeAlias, cast
from urllib.parse import quote, urlsplit

import h11
import msgspec

from hutong import __version__
from hutong.kernel.errors import DeliveryFailed, DeliveryRefused, InvalidInput, ReceiverAway

TIMEOUT_S_DEFAULT = 5.0
ANSWER_BYTES_MAX = 64 * 1024  # beyond this the rest is not read, and the connection is not used again
HEADER_BYTES_MAX = 16 * 1024
URL_LENGTH_MAX = 2_000
IDLE_MAX = 256  # connections kept open for the next message, in all
IDLE_S_MAX = 20.0

_LOOPBACK = ("127.0.0.0/8", "::1/128")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_SPECIAL = (ip_network("192.0.0.0/24"), ip_network("3fff::/20"), ip_network("5f00::/16"))  # older Pythons miss these
_NEVER = (400, 406, 410, 413, 414, 415, 422)  # the same message would get the same answer
_LATER = (408, 429, 502, 503, 504)  # told by whoever stands before the receiver, or by one with too much to do
_PATH_SAFE = "/%:@!$&'()*+,;=~-._?"

Address: TypeAlias = IPv4Address | IPv6Address


class Answer(msgspec.Struct, frozen=True):
    """What a receiver answered: status, headers by lower-case name, and what was read of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Target(msgspec.Struct, frozen=True):
    """An HTTP address, taken apart. `host` is as it is looked up, `authority` as the Host header says it."""

    secure: bool
    host: str
    port: int
    authority: str
    path: str

    @classmethod
    def of(cls, url: str, where: str = "") -> "Target":
        """Raises InvalidInput for what is no http or https address, or carries a user's name or password."""
        fault = ""
        try:
            parts = urlsplit(url)
            port, host = parts.port, (parts.hostname or "").encode("idna").decode()
        except ValueError as error:  # UnicodeError is one
            raise InvalidInput("no address of a receiver", where=where, seen=url, fix=str(error)) from None
        if len(url) > URL_LENGTH_MAX or any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
            fault = "it is too long, or has spaces or control characters"
        elif parts.scheme not in ("http", "https") or not host or port == 0:
            fault = "it names no http or https server"
        elif "@" in parts.netloc:
            fault = "a name or password does not belong into an address: use a header"
        if fault:
            shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
            allowed = f"http://host[:port]/path or https://…, up to {URL_LENGTH_MAX} characters"
            raise InvalidInput(f"no address of a receiver: {fault}", where=where, seen=shown, allowed=allowed)
        secure = parts.scheme == "https"
        path = quote(parts.path or "/", safe=_PATH_SAFE) + (
            f"?{quote(parts.query, safe=_PATH_SAFE)}" if parts.query else ""
        )
        name = f"[{host}]" if ":" in host else host
        return cls(secure, host, port or (443 if secure else 80), name if port is None else f"{name}:{port}", path)


class AddressGuard:
    """Which addresses messages may go to: public ones, and what the operator allows (networks, addresses, names)."""

    def __init__(self, allowed: Sequence[str] = (), *, loopback: bool = False) -> None:
        """Raises InvalidInput for what is neither a network nor an address nor a name."""
        self._networks: list[IPv4Network | IPv6Network] = []
        self._names: set[str] = set()
        for one in (*allowed, *(_LOOPBACK if loopback else ())):
            try:
                self._networks.append(ip_network(one))
            except ValueError:
                if not one or "/" in one or ":" in one:
                    raise InvalidInput(
                        "neither a network nor a host",
                        where="--allow-notify",
                        seen=one,
                        allowed="10.1.0.0/16, 10.1.2.3, fd00::/8 or a host's name",
                    ) from None
                self._names.add(one.lower())

    def check(self, url: str, where: str = "") -> None:
        """Look at an address before it is used. Raises InvalidInput where it is plain that nothing may be sent there.

        A name is looked up when something is sent, and again with each new connection.
        """
        target = Target.of(url, where)
        try:
            refused = self._refused(target.host, ip_address(target.host))
        except ValueError:
            return
        if refused:
            fix = "name a public address, or let the operator allow it: hutong up --allow-notify"
            raise InvalidInput(f"it {refused}", where=where, seen=url, fix=fix)

    async def resolve(self, target: Target) -> list[str]:
        """The addresses of a target, all of which may be reached. Raises DeliveryRefused, ReceiverAway."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=SOCK_STREAM)
        except (gaierror, UnicodeError):
            raise ReceiverAway(f"nobody knows the name {target.host}") from None
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        for address in addresses:
            if refused := self._refused(target.host, ip_address(address)):
                raise DeliveryRefused(f"{target.host} {refused}" if target.host != address else f"it {refused}")
        return addresses

    async def address(self, host: str, port: int) -> str:
        """One IP address of a host and port, for what is no HTTP message. Raises as `resolve` does."""
        return (await self.resolve(Target(False, host, port, host, "/")))[0]

    def _refused(self, host: str, address: Address) -> str:
        """Why nothing is sent there; "" where it may be."""
        if host.lower() in self._names or any(address in network for network in self._networks):
            return ""
        inner = _inner(address)
        if inner.is_loopback or inner.is_unspecified:
            return f"points at this machine itself: {address}"
        if inner.is_multicast or inner.is_reserved:
            return f"points at no single receiver: {address}"
        public = inner.is_global and not any(inner in network for network in _SPECIAL)
        return "" if public else f"points into this machine's own network: {address}"


def _inner(address: Address) -> Address:
    """The address that is reached in the end: IPv6 has several ways to write an IPv4 one."""
    if isinstance(address, IPv6Address):
        if any(address in network for network in _NAT64):
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
    return address


class WebhookSender:
    """Posts messages. It lives on one event loop; connections are kept for the next message to the same server."""

    def __init__(self, guard: AddressGuard, trust: ssl.SSLContext | None = None) -> None:
        self.guard, self._trust = guard, trust
        self._idle: dict[tuple[bool, str, int], list[_Connection]] = {}

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S_DEFAULT
    ) -> Answer:
        """Post a body, and give the answer if that is 2xx.

        Raises ReceiverAway when nobody answers for the receiver, DeliveryFailed for an answer (or none) that may differ
        the next time, and DeliveryRefused where it may not be sent there or would get the same answer again.
        """
        try:
            target = Target.of(url)
        except InvalidInput as error:
            raise DeliveryRefused(error.fault.what) from None
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._exchange(target, body, headers)
        except TimeoutError:
            raise DeliveryFailed(f"no answer within {timeout_s:g} s") from None
        _judge(answer.status)
        return answer

    async def _exchange(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Answer:
        key = (target.secure, target.host, target.port)
        connection = self._kept(key)
        if connection is not None:
            try:
                return self._done(key, connection, await connection.post(target, body, headers))
            except _HungUp:  # while it was idle, most likely: on a fresh connection it counts
                pass
        connection = await self._connect(target)
        try:
            return self._done(key, connection, await connection.post(target, body, headers))
        except _HungUp:
            raise DeliveryFailed("it hung up before it answered") from None

    def _done(self, key: tuple[bool, str, int], connection: "_Connection", answer: Answer) -> Answer:
        if connection.reusable and sum(map(len, self._idle.values())) < IDLE_MAX:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(key, []).append(connection)
        else:
            connection.close()
        return answer

    def _kept(self, key: tuple[bool, str, int]) -> "_Connection | None":
        """A connection to this server that is still open; those that were idle for long are closed."""
        now = asyncio.get_running_loop().time()
        for other, connections in list(self._idle.items()):
            while connections and (connections[0].closed or now - connections[0].idle_since > IDLE_S_MAX):
                connections.pop(0).close()
            if not connections:
                del self._idle[other]
        mine = self._idle.get(key, [])
        while mine:
            if not (connection := mine.pop()).closed:
                return connection
        return None

    async def _connect(self, target: Target) -> "_Connection":
        """A connection to an address that was looked at; the name is not looked up again."""
        secure: dict[str, Any] = {}
        if target.secure:
            self._trust = self._trust or ssl.create_default_context()
            secure = {"ssl": self._trust, "server_hostname": target.host}
        loop, why = asyncio.get_running_loop(), ""
        for address in await self.guard.resolve(target):
            try:
                _, connection = await loop.create_connection(_Connection, address, target.port, **secure)
            except ssl.SSLCertVerificationError as error:
                raise ReceiverAway(f"its certificate does not hold: {error.verify_message}") from None
            except ssl.SSLError as error:
                raise ReceiverAway(f"it does not speak TLS: {error.reason}") from None
            except OSError as error:
                why = error.strerror or str(error)
            else:
                return connection
        raise ReceiverAway(f"it cannot be reached: {why}")

    def close(self) -> None:
        """Close all idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()


def _judge(status: int) -> None:
    """Raise what a status means when it is no success. What else the receiver said is not told on: it is not ours."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise DeliveryFailed(f"answered {status}: redirects are not followed")
    if status in _NEVER:
        raise DeliveryRefused(f"answered {status}")
    raise ReceiverAway(f"answered {status}") if status in _LATER else DeliveryFailed(f"answered {status}")


class _HungUp(Exception):
    """The connection ended before an answer began."""


class _Connection(asyncio.Protocol):
    """One connection, one message at a time."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES_MAX)
        self._waiter: asyncio.Future[Answer] | None = None
        self._head: h11.Response | None = None
        self._body = b""
        self.closed = False
        self.idle_since = 0.0

    @property
    def reusable(self) -> bool:
        return not self.closed and self._http.our_state is h11.IDLE

    async def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises _HungUp, and DeliveryRefused for headers that cannot be sent."""
        sent = [("Host", target.authority), ("Content-Length", str(len(body))), ("User-Agent", f"Hutong/{__version__}")]
        own = {name.lower() for name, _ in sent} | {"transfer-encoding", "connection"}
        sent += [(name, value) for name, value in headers.items() if name.lower() not in own]
        try:
            request = h11.Request(method="POST", target=target.path, headers=_latin(sent))
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            self.close()
            raise DeliveryRefused(f"a header cannot be sent: {error}") from None
        if self.closed:
            raise _HungUp
        self._head, self._body = None, b""
        self._waiter = asyncio.get_running_loop().create_future()
        parts = [self._http.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage())]
        self._transport.write(b"".join(parts))
        try:
            return await self._waiter
        finally:
            if self._waiter is not None:  # it was given up
                self._waiter = None
                self.close()

    def close(self) -> None:
        self.closed = True
        self._transport.abort()

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # nothing was asked
            self.close()
            return
        self._http.receive_data(data)
        self._read()

    def eof_received(self) -> None:
        if self._head is None:
            self._end(_HungUp())
        else:  # where a length was not told, this is the end of the answer
            self._http.receive_data(b"")
            self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._end(_HungUp() if self._head is None else DeliveryFailed("it hung up within its answer"))

    def _read(self) -> None:
        try:
            while self._waiter is not None:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > ANSWER_BYTES_MAX:
                        self._body = self._body[:ANSWER_BYTES_MAX]
                        self._end(None)
                elif isinstance(event, h11.EndOfMessage):
                    if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                        self._http.start_next_cycle()
                    self._end(None)
                elif not isinstance(event, h11.InformationalResponse):  # it needs more, or the peer has closed
                    return
        except h11.RemoteProtocolError as error:
            self._end(DeliveryFailed(f"no answer in HTTP: {error}"))

    def _end(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if error is not None:
            waiter.set_exception(error)
            return
        assert self._head is not None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._head.headers}
        waiter.set_result(Answer(self._head.status_code, headers, self._body))


def _latin(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
