"""Sources that run over the writing core of a city, for tests of connectors."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hutong.cli.sources import running_sources
from hutong.connectors.feeds import Health
from hutong.connectors.webhook import AddressGuard
from hutong.kernel.ids import CountedIds
from hutong.kernel.packs import Packs
from hutong.store.sql.bookmarks import SqlBookmarks
from tests.declared import sources
from tests.sensing import Sensing

PATIENCE_S = 30.0
AT = "2026-05-01T02:00:00Z"


class Town:
    """A city's writer and sources in a folder. `stop` and a Town anew in the same folder are a restart."""

    def __init__(
        self,
        packs: Packs,
        folder: Path,
        connections: Mapping[str, Mapping[str, Any]],
        at: str = AT,
        loopback: bool = True,
    ) -> None:
        self.folder, file = folder, folder / "connections.toml"
        folder.mkdir(exist_ok=True)
        file.touch(mode=0o600)
        (folder / "mqtt.client").write_text(f"hutong-{folder.name}")
        lines = ["[connection]"]
        for name, keys in connections.items():
            lines += [f"{name}.{key} = {_toml(value)}" for key, value in keys.items()]
        file.write_text("\n".join(lines))
        guard = AddressGuard(loopback=loopback)
        self.sensing = Sensing(packs, folder, at)
        self.sources = running_sources(
            folder,
            sources(packs),
            self.sensing.writer,
            SqlBookmarks(self.sensing.database),
            self.sensing.clock,
            CountedIds(),
            guard.address,
        )

    def start(self) -> "Town":
        self.sources.start()
        return self

    def stop(self) -> None:
        self.sources.close()
        self.sensing.close()

    def __enter__(self) -> "Town":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def health(self, source: str) -> Health:
        return next(one for one in self.sources.health if one.source == f"test.{source}")

    def rejects(self, source: str) -> list[Any]:
        path = self.folder / "inbox" / "rejects" / f"test.{source}.ndjson"
        return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    return msgspec.json.encode(value).decode()


def until(met: Callable[[], Any], what: str = "") -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
