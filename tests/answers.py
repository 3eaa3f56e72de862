"""A local HTTP server that answers what a test puts before it, and remembers what it was asked."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answers:
    """The next answers: `status`, `headers`, `body`; `hold` makes them wait. `asked` are headers of the questions."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        self.headers: Mapping[str, str] = {}
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self.url = ""

    def give(self, body: str | bytes, status: int = 200, **headers: str) -> None:
        self.body, self.status = body.encode() if isinstance(body, str) else body, status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def answering() -> Iterator[Answers]:
    """A server at `url` that answers."""
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.asked.append({name.lower(): value for name, value in self.headers.items()})
            answers.paths.append(self.path)
            answers.hold.wait(30)
            etag = answers.headers.get("ETag", "")
            same = bool(etag) and self.headers.get("If-None-Match") == etag
            self.send_response(304 if same else answers.status)
            for name, value in answers.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0" if same else str(len(answers.body)))
            self.end_headers()
            if not same:
                self.wfile.write(answers.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        answers.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
