"""Posting to receivers that misbehave: each failure has a reason that people understand, and a meaning for retries."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trustme

from hutong.connectors.webhook import ANSWER_BYTES_MAX, AddressGuard, WebhookSender
from hutong.kernel.errors import DeliveryFailed, DeliveryRefused, HutongError, ReceiverAway
from tests.components import free_port

Answers = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Receiver:
    """A server on loopback that answers each request as it is told, and remembers what it got."""

    def __init__(self, answers: Answers, trust: ssl.SSLContext | None = None) -> None:
        self.answers, self._trust = answers, trust
        self.requests: list[bytes] = []
        self.connections = 0

    async def __aenter__(self) -> "Receiver":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._trust)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._trust else 'http'}://127.0.0.1:{self.port}/notify"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                await self.answers(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def says(text: str) -> Answers:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())

    return answer


def status(line: str) -> Answers:
    return says(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:1/\r\n\r\n")


async def fault_of(answers: Answers, timeout_s: float = 10) -> HutongError:
    sender = WebhookSender(AddressGuard(loopback=True))
    async with Receiver(answers) as receiver:
        with pytest.raises(HutongError) as caught:
            await sender.post(receiver.url, b"{}", {}, timeout_s)
    sender.close()
    return caught.value


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        ("500 Oops", DeliveryFailed, "answered 500"),
        ("404 Not Found", DeliveryFailed, "answered 404"),
        ("302 Found", DeliveryFailed, "answered 302: redirects are not followed"),
        ("503 Busy", ReceiverAway, "answered 503"),
        ("429 Slow down", ReceiverAway, "answered 429"),
        ("422 No", DeliveryRefused, "answered 422"),
        ("413 Too large", DeliveryRefused, "answered 413"),
    ],
)
def test_statuses_are_told_with_what_they_mean(line: str, kind: type[HutongError], reason: str) -> None:
    error = asyncio.run(fault_of(status(line)))
    assert (type(error), error.fault.what) == (kind, reason)


async def _hangs(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    await asyncio.sleep(60)


async def _hangs_up(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (_hangs, "no answer within 0.2 s"),
        (_hangs_up, "it hung up before it answered"),
        (says("SSH-2.0-nonsense\r\n\r\n"), "no answer in HTTP"),
        (says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: " + "y" * 40_000), "no answer in HTTP"),
    ],
    ids=["hangs", "hangs up", "other protocol", "endless head"],
)
def test_what_is_no_answer_is_tried_again(answers: Answers, reason: str) -> None:
    error = asyncio.run(fault_of(answers, 0.2 if answers is _hangs else 10))
    assert type(error) is DeliveryFailed
    assert error.fault.what.startswith(reason)


def test_who_cannot_be_reached_is_away() -> None:
    async def post(url: str) -> None:
        await WebhookSender(AddressGuard(loopback=True)).post(url, b"", {})

    with pytest.raises(ReceiverAway, match="it cannot be reached"):
        asyncio.run(post(f"http://127.0.0.1:{free_port()}/"))
    with pytest.raises(ReceiverAway, match=r"nobody knows the name nowhere\.invalid"):
        asyncio.run(post("http://nowhere.invalid/"))
    with pytest.raises(DeliveryRefused, match="password does not belong"):
        asyncio.run(post("http://user:secret@127.0.0.1/"))


def test_nothing_is_sent_into_the_own_network() -> None:
    async def work() -> int:
        sender = WebhookSender(AddressGuard())
        async with Receiver(status("200 OK")) as receiver:
            for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1"):
                with pytest.raises(DeliveryRefused, match="points at this machine itself"):
                    await sender.post(f"http://{host}:{receiver.port}/", b"{}", {})
        return receiver.connections

    assert asyncio.run(work()) == 0


def test_connections_are_kept_and_renewed_when_the_receiver_closed_them() -> None:
    async def work() -> None:
        sender = WebhookSender(AddressGuard(loopback=True))
        async with Receiver(status("200 OK")) as receiver:
            for i in range(5):
                await sender.post(receiver.url, str(i).encode(), {"Content-Type": "application/json"})
            assert (receiver.connections, len(receiver.requests)) == (1, 5)
            assert receiver.requests[0].startswith(b"POST /notify HTTP/1.1\r\nHost: 127.0.0.1:")
            assert b"application/json" in receiver.requests[0]

            async def last(head: bytes, writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                writer.close()  # says nothing of it: the next message finds a dead connection

            receiver.answers = last
            for i in range(3):
                await sender.post(receiver.url, str(i).encode(), {})
            assert len(receiver.requests) == 8
        sender.close()

    asyncio.run(work())


def test_an_answer_without_end_is_not_read_to_the_end() -> None:
    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()

    async def work() -> int:
        sender = WebhookSender(AddressGuard(loopback=True))
        async with Receiver(endless) as receiver:
            answer = await sender.post(receiver.url, b"{}", {})
        return len(answer.body)

    assert asyncio.run(work()) == ANSWER_BYTES_MAX


def test_headers_that_would_change_the_message_are_not_sent() -> None:
    async def work() -> bytes:
        sender = WebhookSender(AddressGuard(loopback=True))
        async with Receiver(status("200 OK")) as receiver:
            await sender.post(receiver.url, b"{}", {"Host": "other", "Content-Length": "9", "X-Key": "1"})
            with pytest.raises(DeliveryRefused, match="a header cannot be sent"):
                await sender.post(receiver.url, b"{}", {"X-Key": "1\r\nX-Other: 2"})
        return receiver.requests[0]

    [request] = [asyncio.run(work())]
    assert b"other" not in request
    assert b"X-Key: 1\r\n" in request


def test_certificates_are_checked() -> None:
    authority = trustme.CA()
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(trust)
    knowing = ssl.create_default_context()
    authority.configure_trust(knowing)

    async def work() -> int:
        async with Receiver(status("200 OK"), trust) as receiver:
            with pytest.raises(ReceiverAway, match="its certificate does not hold"):
                await WebhookSender(AddressGuard(loopback=True)).post(receiver.url, b"{}", {})
            await WebhookSender(AddressGuard(loopback=True), knowing).post(receiver.url, b"{}", {})
        return len(receiver.requests)

    assert asyncio.run(work()) == 1
