"""A full disk: writing is refused in clear words, reading goes on, and all is well again when space returns."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from hutong.kernel.clock import HOUR, SECOND, SystemClock, iso
from tests.components import left_out
from tests.fault.test_kill import HURRIED
from tests.server import Server

CAR_PARK = "urn:ngsi-ld:OffStreetParking:{}"
CAR_PARKS = 40
DISK = "size=48m"
TEMPORAL = "attrs=availableSpotNumber&options=temporalValues&timerel=after&timeAt=2020-01-01T00:00:00Z"
PATIENCE_S = 60  # a bound on waiting, not an expectation
TRIES_MAX = 3_000  # a bound: how many batches fit into what SQLite has set aside already


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        left_out("a small disk", f"mounting one needs root: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Town:
    """A server on the small disk, and what it has acknowledged: instants by car park."""

    def __init__(self, disk: Path, log: Path) -> None:
        self.server = Server(disk / "data", "--open", main=HURRIED)
        self.server.log = log
        self.acknowledged: list[int] = []
        self._ballast = disk / "ballast"
        self._at = SystemClock().now() - HOUR
        self._client = httpx.Client(base_url=self.server.url, trust_env=False, timeout=60)

    def send(self) -> httpx.Response:
        """One observation of every car park."""
        self._at += SECOND // 100
        batch = [
            {
                "id": CAR_PARK.format(i),
                "type": "OffStreetParking",
                "totalSpotNumber": {"type": "Property", "value": 500},
                "availableSpotNumber": {"type": "Property", "value": i, "observedAt": iso(self._at)},
            }
            for i in range(CAR_PARKS)
        ]
        answer = self._client.post("/ngsi-ld/v1/entityOperations/upsert?options=update", json=batch)
        if answer.status_code in (201, 204):
            self.acknowledged.append(self._at)
        return answer

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path)

    def fill(self) -> None:
        """Take all the space that is left."""
        with self._ballast.open("ab", buffering=0) as sink, suppress(OSError):
            while True:
                sink.write(os.urandom(4096))
        assert os.statvfs(self._ballast).f_bavail == 0

    def free(self) -> None:
        self._ballast.unlink()

    def refused(self) -> httpx.Response:
        """Send until it is refused."""
        for _ in range(TRIES_MAX):
            answer = self.send()
            if answer.status_code not in (201, 204):
                return answer
        pytest.fail("the disk is full, and still everything was taken")

    def said(self, text: str) -> bool:
        """Whether the server's log holds a text."""
        return text.lower() in self.server.log.read_text(encoding="utf-8").lower()

    def files(self) -> int:
        """How many files the history has."""
        return len(list(self.server.data.glob("history/*/*/*.parquet")))

    def observed(self, i: int) -> list[str]:
        """The instants that the history of a car park has."""
        told = self.get(f"/ngsi-ld/v1/temporal/entities/{CAR_PARK.format(i)}?{TEMPORAL}")
        assert told.status_code == 200, told.text
        return [at for _, at in told.json()["availableSpotNumber"]["values"]]

    def assert_all_there(self) -> None:
        """Each acknowledged observation once, and the newest is current."""
        due = [iso(at) for at in self.acknowledged]
        for i in (0, CAR_PARKS - 1):
            there = self.observed(i)
            assert len(there) == len(set(there))
            assert set(due) == set(there)
            current = self.get(f"/ngsi-ld/v1/entities/{CAR_PARK.format(i)}").json()
            assert current["availableSpotNumber"]["observedAt"] == due[-1]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)


def test_a_full_disk_is_told_and_nothing_is_lost(disk: Path, tmp_path: Path) -> None:
    town = Town(disk, tmp_path / "log")
    with town.server:
        for _ in range(20):
            assert town.send().status_code in (201, 204)
        town.fill()
        refused = town.refused()
        assert refused.status_code == 507, refused.text
        told = refused.json()
        assert told["status"] == 507
        assert "disk is full" in told["detail"]
        assert told["fix"]
        wait_for(lambda: town.said("compact waits"))
        assert town.send().status_code == 507
        assert town.get("/health").status_code == 200
        town.assert_all_there()
        town.free()
        for _ in range(20):
            assert town.send().status_code == 204
        town.assert_all_there()
        before = town.files()
        wait_for(lambda: town.files() > before)
        town.assert_all_there()
    print(town.server.command("verify"))
    print(town.server.command("rebuild"))


def test_killed_on_a_full_disk_it_loses_nothing_and_says_why_it_cannot_start(disk: Path, tmp_path: Path) -> None:
    town = Town(disk, tmp_path / "log")
    with town.server:
        assert town.send().status_code == 201
        town.fill()
        town.refused()
        town.server.kill()
        try:
            town.server.start()
        except pytest.fail.Exception:  # SQLite may need a little space to open what was not closed
            assert town.said("the disk is full") or town.said("no space")
        else:
            town.assert_all_there()
            assert town.refused().status_code == 507
        assert not town.said("Traceback")
        town.server.kill()
        town.free()
        town.server.start()
        town.assert_all_there()
        assert town.send().status_code == 204
        town.assert_all_there()
    print(town.server.command("verify"))
    print(town.server.command("rebuild"))
