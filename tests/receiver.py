"""Somebody who is notified over HTTP: takes whatever is posted on a free port, and remembers it with its instant."""

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

import msgspec

from hutong.kernel.clock import SystemClock


class Receiver(threading.Thread):
    """Answers 200 to every POST. `arrived` holds (instant, path, body) in the order of arrival."""

    def __init__(self) -> None:
        super().__init__(name="receiver", daemon=True)
        self.arrived: list[tuple[int, str, bytes]] = []
        self.headers: list[str] = []
        self.port = 0
        self.status = "200 OK"
        self._clock, self._ready = SystemClock(), threading.Event()
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        self.start()
        self._ready.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def notifications(self) -> list[dict[str, Any]]:
        """All that arrived, decoded."""
        return [msgspec.json.decode(body) for _, _, body in list(self.arrived)]

    def run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                length = next(
                    (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
                )
                body = await reader.readexactly(length)
                if self.status.startswith("2"):
                    self.arrived.append((self._clock.now(), head.split(" ", 2)[1], body))
                    self.headers.append(head)
                writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()
