"""Kill -9 at any moment: what was acknowledged is in state and in history exactly once, and the chain holds."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx
import polars as pl
import pytest

from hutong.kernel.clock import HOUR, SystemClock, instant
from tests.fault.keeping import kept
from tests.fault.senders import PROPERTY, TYPE, Observed, Sender
from tests.server import Server

SENDERS = 4
HURRIED = """
from hutong.engines.sense import upkeep
upkeep.COMPACT_EVERY = upkeep.SECOND
upkeep.OPTIMISE_EVERY = 3 * upkeep.SECOND
upkeep.CHECKPOINT_BYTES = 256 * 1024
from hutong.cli.main import main
main()
"""
"""Hutong whose upkeep never rests, so that kills meet it at compacting, merging and sealing."""


class Siege:
    """A server under load that is killed again and again."""

    def __init__(self, folder: Path, seed: int, store: str = "") -> None:
        flags = ("--store", store) if store else ()
        self.server = Server(folder / "data", "--open", *flags, main=HURRIED)
        self._store = ("--store", store) if store else ()
        self._address = store or f"sqlite:///{folder / 'data' / 'hutong.db'}"
        self._random = Random(seed)
        begin = SystemClock().now() - HOUR
        self.senders = [Sender(f"{seed}-{i}", begin, seed) for i in range(SENDERS)]

    def kill_while_it_starts(self) -> None:
        """One to three times, at any point of its way up."""
        for _ in range(self._random.randint(1, 3)):
            self.server.launch()
            time.sleep(self._random.uniform(0.05, 2.5))
            self.server.kill()

    def kill_under_load(self) -> None:
        self.server.start()
        self.senders = [sender.again() for sender in self.senders]
        for sender in self.senders:
            sender.port = self.server.port
            sender.start()
        time.sleep(self._random.uniform(0.1, 3.0))
        self.server.kill()
        for sender in self.senders:
            sender.join()
            assert sender.refused == []

    def assert_current(self) -> None:
        """Every car park shows its newest acknowledged observation, or one that nobody knew the fate of."""
        self.server.start()
        shown: dict[str, Observed] = {}
        for offset in range(0, len(self.senders) * len(self.senders[0].car_parks), 100):
            page = httpx.get(
                f"{self.server.url}/ngsi-ld/v1/entities",
                params={"type": TYPE, "attrs": PROPERTY, "limit": 100, "offset": offset},
                trust_env=False,
            )
            assert page.status_code == 200, page.text
            for entity in page.json():
                told = entity[PROPERTY]
                shown[entity["id"]] = Observed(entity["id"], instant(told["observedAt"]))
                assert told["value"] == shown[entity["id"]].value
        for sender in self.senders:
            doubtful = {one.car_park: one for one in sender.doubtful}
            for car_park, newest in sender.newest.items():
                assert shown[car_park] in (newest, doubtful.get(car_park))
        self.server.stop()

    def assert_told_by_the_interface(self, car_park: str) -> None:
        """The history that the standard's interface gives has each acknowledged observation once."""
        self.server.start()
        told = httpx.get(
            f"{self.server.url}/ngsi-ld/v1/temporal/entities/{car_park}",
            params={
                "attrs": PROPERTY,
                "options": "temporalValues",
                "timerel": "after",
                "timeAt": "2020-01-01T00:00:00Z",
            },
            trust_env=False,
        )
        assert told.status_code == 200, told.text
        instants = [instant(at) for _, at in told.json()[PROPERTY]["values"]]
        self.server.stop()
        assert len(instants) == len(set(instants))
        due = {one.at for sender in self.senders for one in sender.acknowledged if one.car_park == car_park}
        maybe = {one.at for sender in self.senders for one in sender.doubtful if one.car_park == car_park}
        assert due <= set(instants) <= due | maybe

    def assert_whole(self) -> None:
        """Nothing is missing, nothing is there twice, neither in files nor beside them, and the chain holds."""
        due = set().union(*(sender.acknowledged for sender in self.senders))
        maybe = {one for sender in self.senders for one in sender.doubtful}
        rows = kept(self.server.data, self._address)
        told = rows.filter(pl.col("attribute") == PROPERTY)
        there = [Observed(*row) for row in told.select("entity", "at").iter_rows()]
        assert len(there) == len(set(there)), "an observation is kept twice"
        assert due - set(there) == set(), "acknowledged, and not in the history"
        assert set(there) - due - maybe == set(), "in the history, and never sent"
        assert told["number"].to_list() == [one.value for one in there]
        derived = rows.filter(pl.col("attribute") == "occupancy").select("entity", "at")
        assert not derived.is_duplicated().any()
        print(self.server.command("verify", *self._store))
        print(self.server.command("rebuild", *self._store))


def besiege(siege: Siege, rounds: int) -> None:
    for n in range(rounds):
        siege.kill_under_load()
        if n % 3 == 1:
            siege.kill_while_it_starts()
        siege.assert_current()
        if n % 4 == 3 or n == rounds - 1:
            siege.assert_whole()
    assert sum(len(sender.acknowledged) for sender in siege.senders) > 100 * rounds, "there was hardly any load"
    siege.assert_told_by_the_interface(siege.senders[0].car_parks[0])


def test_what_was_acknowledged_is_there_once_however_often_it_is_killed(tmp_path: Path) -> None:
    besiege(Siege(tmp_path, seed=1), rounds=8)


def test_the_same_on_postgresql(tmp_path: Path, durable: Callable[[str], str]) -> None:
    besiege(Siege(tmp_path, seed=1, store=durable("siege")), rounds=5)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 8))
def test_the_same_many_times_more(tmp_path: Path, seed: int) -> None:
    besiege(Siege(tmp_path, seed), rounds=40)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_many_times_more_on_postgresql(tmp_path: Path, durable: Callable[[str], str], seed: int) -> None:
    besiege(Siege(tmp_path, seed, durable(f"siege_{seed}")), rounds=20)
