"""When writing is slower than what comes in, a bounded part waits and the rest is told to come again."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hutong.engines.sense.ports import HistoryQuery
from hutong.kernel.clock import MINUTE, SystemClock, iso
from hutong.kernel.errors import Overloaded
from hutong.store.lake import LakeSettings, history
from tests.contract.core import NOON, Core
from tests.server import Server

QUEUE = 2_000
BATCH = 400
CLIENTS = 16
STALLING = f"""
import os, time
from contextlib import contextmanager
from hutong.kernel import writer
from hutong.store.sql.database import SqlDatabase
writer.QUEUE_WEIGHT_MAX = {QUEUE}
begin = SqlDatabase.begin

@contextmanager
def slow(self):
    with begin(self) as transaction:
        yield transaction
        while os.path.exists("STALLED"):
            time.sleep(0.01)

SqlDatabase.begin = slow
from hutong.cli.main import main
main()
"""
"""Hutong on a disk that finishes no write while a file is there."""


@contextmanager
def stalled(file: Path) -> Iterator[None]:
    file.touch()
    yield
    file.unlink(missing_ok=True)


def send(url: str, n: int) -> httpx.Response:
    at = iso(SystemClock().now() - MINUTE + n)
    batch = [
        {
            "id": f"urn:ngsi-ld:OffStreetParking:{n}-{i}",
            "type": "OffStreetParking",
            "availableSpotNumber": {"type": "Property", "value": i, "observedAt": at},
        }
        for i in range(BATCH)
    ]
    address = f"{url}/ngsi-ld/v1/entityOperations/upsert?options=update"
    return httpx.post(address, json=batch, timeout=60, trust_env=False)


def test_a_slow_disk_fills_the_queue_refusals_say_so_and_all_that_was_taken_is_kept(
    tmp_path: Path, database_url: str
) -> None:
    stall = tmp_path / "stalled"
    with (
        Server(
            tmp_path / "data", "--open", "--store", database_url, main=STALLING.replace("STALLED", str(stall))
        ) as server,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        with stalled(stall):
            sent = [clients.submit(send, server.url, n) for n in range(CLIENTS)]
            refused = _first_answered(sent)
            assert refused.status_code == 503, refused.text
            assert "waiting" in refused.json()["allowed"]
            assert refused.json()["fix"]
            assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200
        answers = [future.result(60) for future in sent]
        taken = [n for n, answer in enumerate(answers) if answer.status_code == 201]
        assert {answer.status_code for answer in answers} == {201, 503}
        assert len(taken) >= QUEUE // BATCH
        assert send(server.url, CLIENTS).status_code == 201
        counted = httpx.get(
            f"{server.url}/ngsi-ld/v1/entities",
            params={"type": "OffStreetParking", "count": "true", "limit": "0"},
            trust_env=False,
        )
        assert int(counted.headers["NGSILD-Results-Count"]) == (len(taken) + 1) * BATCH


def _first_answered(sent: list["Future[httpx.Response]"]) -> httpx.Response:
    """The first answer that comes while nothing can be written."""
    while True:
        for future in sent:
            if future.done():
                return future.result()


def observe(core: Core, count: int) -> None:
    for n in range(count):
        core.observe("urn:tank:a", NOON + n, level=float(n))


def test_history_that_cannot_be_moved_on_refuses_writers_until_it_is(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LakeSettings", lambda: LakeSettings(recent_rows_max=50))
    core = Core(database_url, tmp_path)
    with pytest.raises(Overloaded, match="recent observations fill their memory"):
        observe(core, 100)
    taken = int(core.document("urn:tank:a")["level"].value) + 1
    assert 40 <= taken <= 50
    core.upkeep.compact()
    core.observe("urn:tank:a", NOON + taken, level=float(taken))
    kept: Any = core.lake.read(HistoryQuery(entities=("urn:tank:a",)))["number"].to_list()
    assert kept == [float(n) for n in range(taken + 1)]
    assert list(core.ledger.verify()) == []
    core.close()
