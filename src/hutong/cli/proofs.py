"""A whole Hutong in a temporary folder under a frozen clock, for proofs."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litestar.testing import TestClient

from hutong.cli.proving import Answer
from hutong.cli.runtime import Runtime, Settings
from hutong.cli.web import web
from hutong.kernel.access import SYSTEM, Actor
from hutong.kernel.clock import FrozenClock
from hutong.kernel.housekeeping import Within
from hutong.kernel.ids import CountedIds
from hutong.kernel.packs import City, Packs


class TemporaryCity:
    """Implements the Harness of proofs."""

    def __init__(self, packs: Packs, city: City | None, at: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hutong-proof-")
        self._clock = FrozenClock(at)
        settings = Settings(data=Path(self._folder.name))
        self._runtime = Runtime(settings, packs, city, self._clock, CountedIds())
        self._runtime.start(beating=False)
        self._client: TestClient[Any] = TestClient(web(self._runtime), raise_server_exceptions=False)
        self._client.__enter__()
        self._tokens: dict[str, str] = {}

    def request(self, method: str, path: str, *, body: bytes, headers: Mapping[str, str], role: str) -> Answer:
        sent = dict(headers)
        if role:
            sent["Authorization"] = f"Bearer {self._token(role)}"
        found = self._client.request(method, path, content=body, headers=sent)
        return Answer(status=found.status_code, headers=dict(found.headers), body=found.content)

    def drop_file(self, name: str, content: bytes) -> None:
        self._runtime.inbox.receive(name, content)

    def advance(self, microseconds: int) -> None:
        self._clock.advance(microseconds)
        self._runtime.pulse()
        self._runtime.reckoning.pulse()

    def close(self) -> None:
        self._client.__exit__(None, None, None)
        self._runtime.close()
        self._folder.cleanup()

    def _token(self, role: str) -> str:
        if role not in self._tokens:
            actor = Actor(
                id=f"proof:{role}",
                kind="service",
                roles=(role,),
                types=tuple(self._runtime.overlays) if role == "device" else (),
            )
            _, text = self._runtime.ask(
                Within(
                    kind="access.token_issued",
                    work=lambda tx: self._runtime.stores.tokens.issue(tx, SYSTEM, role, actor),
                )
            )
            self._tokens[role] = text
        return self._tokens[role]


def harness(packs: Packs, city: City | None, at: int) -> TemporaryCity:
    """The factory that proofs are run with."""
    return TemporaryCity(packs, city, at)
