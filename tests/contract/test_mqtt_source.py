"""Values come in from a real MQTT broker: none acknowledged is lost, bad ones are told, a flood harms nobody else."""

import itertools
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from hutong.kernel.packs import Packs
from tests.declared import declared
from tests.mqtt import Client, Mosquitto, broker
from tests.running import Town, until

ENTITIES = """
[entity.Gauge.property]
level = { type = "number" }
turn = { type = "integer" }
place = { type = "text" }
"""
LEVELS = """
[source.levels]
connector = "mqtt"
entity = "Gauge"
connection = "rivers"
topic = "river/{gauge}/level"
id = "urn:gauge:{gauge}"
"""
TIMED = 'at = "time"\nset = { level = "level", turn = "turn" }\n'


def gauges(rest: str, head: str = LEVELS) -> Packs:
    return declared(entities=ENTITIES, sources=head + rest)


def rivers(one: Mosquitto) -> dict[str, dict[str, str]]:
    return {"rivers": {"url": f"mqtt://127.0.0.1:{one.port}"}}


def readings(numbers: Sequence[int]) -> list[str]:
    return [
        f'{{"level": {n / 2}, "turn": {n}, "time": "2026-05-01T01:{n // 60 % 60:02}:{n % 60:02}Z"}}' for n in numbers
    ]


@pytest.fixture
def river(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with broker(folder) as one:
        yield one


def state_is(town: Town, state: str) -> bool:
    return town.health("levels").state == state


def turns(town: Town, gauge: str = "urn:gauge:a") -> list[int]:
    """The values of `turn` in history."""
    rows = town.sensing.history.rows
    return sorted(int(n) for n in rows.filter(entity=gauge, attribute="turn")["number"])


@pytest.mark.parametrize(
    ("payload", "mapping", "message"),
    [
        ("json", 'set = { level = "v", place = "\\"where.name\\"" }', '{"v": 2.5, "where": {"name": "桥"}}'),
        ("json", 'rows = "d"\nset = { level = "v", place = "name" }', '{"name": "桥", "d": [{"v": 2}, {"v": 2.5}]}'),
        ("json", 'set = { level = "v", place = "p" }', '[{"v": 1, "p": "x"}, {"v": 2.5, "p": "桥"}]'),
        ("csv", 'set = { level = "v", place = "p" }', "v,p\n2.5,桥\n"),
        ("number", 'set = { level = "value", place = "\'桥\'" }', " 2.5 "),
    ],
)  # fmt: skip
def test_every_payload_is_read(river: Mosquitto, tmp_path: Path, payload: str, mapping: str, message: str) -> None:
    packs = gauges(f'payload = "{payload}"\n{mapping}\n')
    with Town(packs, tmp_path / "town", rivers(river)) as town, Client(river.port) as device:
        until(lambda: town.health("levels").state == "running")
        device.publish("river/a/level", [message])
        until(lambda: town.sensing.rows("Gauge"))
        until(lambda: town.sensing.values("urn:gauge:a") == {"level": 2.5, "place": "桥"})
        assert town.health("levels").newest is None


def test_what_cannot_be_taken_is_listed_with_the_reason_and_does_not_come_back(
    river: Mosquitto, tmp_path: Path
) -> None:
    bad = ["no json", '{"level": "high", "time": "2026-05-01T01:00:00Z"}', '{"level": 1}', "x" * 1_100_000]
    with Town(gauges(TIMED), tmp_path / "town", rivers(river)) as town, Client(river.port) as device:
        until(lambda: town.health("levels").state == "running")
        device.publish("river/a/level", [*bad, *readings([1])])
        until(lambda: turns(town) == [1])
        until(lambda: town.health("levels").received == 5)
        assert (town.health("levels").stored, town.health("levels").rejected) == (1, 4)
    why = " ".join(line["reason"]["what"] for line in town.rejects("levels"))
    for reason in ("not JSON", "not a number", "the time of observation is missing", "too large"):
        assert reason in why
    with Town(gauges(TIMED), tmp_path / "town", rivers(river)) as again:
        until(lambda: again.health("levels").state == "running")
        assert again.health("levels").rejected == 4


def test_nothing_acknowledged_is_lost_though_broker_and_city_are_killed(river: Mosquitto, tmp_path: Path) -> None:
    numbers = itertools.count()

    def send(count: int) -> None:
        with Client(river.port) as device:
            device.publish("river/a/level", readings([next(numbers) for _ in range(count)]))

    seen: set[int] = set()
    for n in range(3):
        town = Town(gauges(TIMED), tmp_path / "town", rivers(river)).start()
        runs = partial(state_is, town, "running")
        until(runs)
        send(200)
        if n == 1:
            until(partial(turns, town))
            time.sleep(1.5)  # Mosquitto writes its sessions to disk once a second
            river.stop(kill=True)
            until(partial(state_is, town, "failing"))
            river.start()
            until(runs)
            send(200)
        until(partial(turns, town))
        town.stop()
        seen |= set(turns(town))
        send(50)  # while nobody reads: the broker keeps them
    with Town(gauges(TIMED), tmp_path / "town", rivers(river)) as town:
        until(lambda: seen | set(turns(town)) == set(range(950)))


def test_a_full_writer_is_waited_for_and_the_broker_holds_the_rest(river: Mosquitto, tmp_path: Path) -> None:
    town = Town(gauges(TIMED), tmp_path / "town", rivers(river))
    town.sensing.pause()
    town.start()
    until(lambda: town.health("levels").state == "running")
    with Client(river.port) as device:
        device.publish("river/a/level", readings(range(3000)))
    assert len(turns(town)) < 3000
    town.sensing.resume()
    until(lambda: len(turns(town)) == 3000)
    town.stop()


def test_tls_and_a_password(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    with broker(folder, tls=True) as one:
        url = f"mqtts://localhost:{one.port}"
        secure = {"rivers": {"url": url, "ca": str(one.ca), "user": "me", "password": "p"}}
        with Town(gauges(TIMED), tmp_path / "town", secure) as town, Client(one.port, ca=one.ca) as device:
            until(lambda: town.health("levels").state == "running")
            device.publish("river/a/level", readings([1]))
            until(lambda: turns(town) == [1])
        with Town(gauges(TIMED), tmp_path / "other", {"rivers": {"url": url}}) as town:
            until(lambda: "certificate verify failed" in town.health("levels").last_error)


def test_two_cities_divide_a_shared_subscription(river: Mosquitto, tmp_path: Path) -> None:
    shared = gauges(TIMED + 'group = "readers"\n')
    with (
        Town(shared, tmp_path / "one", rivers(river)) as one,
        Town(shared, tmp_path / "two", rivers(river)) as two,
        Client(river.port) as device,
    ):
        until(lambda: one.health("levels").state == two.health("levels").state == "running")
        device.publish("river/a/level", readings(range(300)))
        until(lambda: sorted(turns(one) + turns(two)) == list(range(300)))
        assert turns(one)
        assert turns(two)


def test_a_flood_is_held_to_its_quota_while_another_source_is_on_time(river: Mosquitto, tmp_path: Path) -> None:
    other = LEVELS.replace("levels", "flood").replace("river/", "flood/").replace("urn:gauge:", "urn:flood:")
    packs = gauges(TIMED, LEVELS.replace("[source", other + TIMED + "rate_max = 100\n[source", 1))
    with Town(packs, tmp_path / "town", rivers(river)) as town, Client(river.port) as device:
        until(lambda: {one.state for one in town.sources.health} == {"running"})
        device.publish("flood/a/level", readings(range(3000)))
        device.publish("river/a/level", readings([1]))
        until(lambda: turns(town) == [1])
        assert town.health("flood").received < 3000


def test_what_a_broker_kept_is_taken_only_with_its_time(river: Mosquitto, tmp_path: Path) -> None:
    timeless = LEVELS.replace("levels", "now").replace("urn:gauge:", "urn:now:") + 'set = { turn = "turn" }\n'
    packs = gauges(TIMED, timeless + LEVELS)
    with Client(river.port) as device:
        device.publish("river/a/level", readings([7]), retain=True)
        with Town(packs, tmp_path / "town", rivers(river)) as town:
            until(lambda: turns(town) == [7])
            until(lambda: town.health("now").state == "running")
            device.publish("river/a/level", readings([8]))
            until(lambda: turns(town, "urn:now:a") == [8])


def test_a_connection_that_the_city_has_not_got_is_told(tmp_path: Path) -> None:
    with Town(gauges(TIMED), tmp_path / "town", {}) as town:
        until(lambda: town.health("levels").state == "unset")
        assert "rivers" in town.health("levels").last_error
