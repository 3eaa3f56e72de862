"""An address is asked again and again: every format is read, and what is no longer what was declared is not stored."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from hutong.connectors import http_poll
from hutong.kernel.packs import Packs
from tests.answers import Answers, answering
from tests.declared import declared
from tests.running import Town, until

ENTITIES = """
[entity.Gauge.property]
level = { type = "number" }
place = { type = "text" }
location = { type = "point" }
"""
HEAD = """
[source.levels]
connector = "http_poll"
entity = "Gauge"
every = "20 ms"
"""
JSON = 'url = "{url}/levels"\nid = "urn:gauge:{{id}}"\nat = "t"\nset = {{ level = "level" }}\n'


@pytest.fixture
def there() -> Iterator[Answers]:
    with answering() as answers:
        yield answers


def polled(there: Answers, rest: str = JSON, head: str = HEAD) -> Packs:
    return declared(
        entities=ENTITIES, sources=head + rest.replace("{url}", there.url).replace("{{", "{").replace("}}", "}")
    )


def levels(level: float) -> str:
    return f'[{{"id": "a", "level": {level}, "t": "2026-05-01T01:00:00Z"}}]'


def level(town: Town, gauge: str = "urn:gauge:a") -> object:
    return town.sensing.values(gauge)["level"] if town.sensing.entities.get("", gauge) else None


CSV = 'payload = "csv"\nid = "urn:gauge:{{n}}"\nset = {{ level = "v", place = "p" }}\n'
GEOJSON = """payload = "geojson"
id = "urn:gauge:{{n}}"
set = {{ level = "v", place = "p", location = ["longitude", "latitude"] }}
"""
NGSI_LD = """payload = "ngsi-ld"
id = "{{id}}"
at = '"level.observedAt"'
set = {{ level = "level", place = "place" }}
"""
NESTED = """payload = "json"
rows = "data.list"
id = "urn:gauge:{{n}}"
set = {{ level = "v", place = '"at.name"' }}
"""
FEATURES = """{"type": "FeatureCollection", "features": [{"type": "Feature",
"properties": {"n": "a", "v": 2.5, "p": "桥"},
"geometry": {"type": "Point", "coordinates": [120.5, 30.5]}}]}"""
ENTITY = """[{"id": "urn:gauge:a", "type": "Gauge", "place": {"type": "Property", "value": "桥"},
"level": {"type": "Property", "value": 2.5, "observedAt": "2026-05-01T01:00:00Z"}}]"""
LIST = '{"data": {"list": [{"n": "a", "v": "2.5", "at": {"name": "桥"}}], "total": 1}}'


@pytest.mark.parametrize(
    ("rest", "body"),
    [(CSV, "n,v,p\na,2.5,桥\n"), (GEOJSON, FEATURES), (NGSI_LD, ENTITY), (NESTED, LIST)],
    ids=["csv", "geojson", "ngsi-ld", "json"],
)
def test_every_format_is_read(there: Answers, tmp_path: Path, rest: str, body: str) -> None:
    there.give(body)
    with Town(polled(there, 'url = "{url}/levels"\n' + rest), tmp_path / "town", {}) as town:
        until(lambda: level(town) == 2.5)
        assert town.sensing.values("urn:gauge:a")["place"] == "桥"


def test_prometheus_metrics_and_labels_become_things(there: Answers, tmp_path: Path) -> None:
    there.give(
        "# HELP tank_level Level.\n# TYPE tank_level gauge\n"
        'tank_level{tank="a",site="north"} 2.5\ntank_level{tank="b",site="south"} 1\nother{tank="a"} 9\nup 1\n'
    )
    rest = 'url = "{url}"\nid = "urn:gauge:{{tank}}"\nset = {{ level = "tank_level", place = "site" }}\n'
    with Town(polled(there, rest, HEAD.replace("http_poll", "prometheus")), tmp_path / "town", {}) as town:
        until(lambda: level(town) == 2.5 and level(town, "urn:gauge:b") == 1)
        assert town.sensing.values("urn:gauge:b") == {"level": 1, "place": "south"}
        assert town.health("levels").rejected == 0


def test_gb_18030_and_gzip_are_unpacked(there: Answers, tmp_path: Path) -> None:
    rest = 'url = "{url}"\nencoding = "gb18030"\n' + CSV
    there.give(gzip.compress("n,v,p\na,2.5,西湖\n".encode("gb18030")), Content_Encoding="gzip")
    with Town(polled(there, rest), tmp_path / "town", {}) as town:
        until(lambda: level(town) == 2.5)
        assert town.sensing.values("urn:gauge:a")["place"] == "西湖"


def test_what_has_not_changed_is_not_sent_again_after_a_restart_neither(there: Answers, tmp_path: Path) -> None:
    there.give(levels(1), ETag='"one"')
    with Town(polled(there), tmp_path / "town", {}) as town:
        until(lambda: level(town) == 1)
        until(lambda: len(there.asked) > 3)
        assert town.health("levels").stored == 1
    before = len(there.asked)
    with Town(polled(there), tmp_path / "town", {}) as town:
        until(lambda: len(there.asked) > before + 1)
        assert town.health("levels").stored == 1
    assert there.asked[before]["if-none-match"] == '"one"'


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("<!DOCTYPE html><html>please log in</html>", 200, "web page"),
        ("gone", 500, "it answers 500"),
        ('[{"id": "a", "height": 1, "time": "x"}]', 200, "no column"),
        ('[{"id": "a", "level": "high", "t": "2026-05-01T01:00:00Z"}]', 200, "not a number"),
        ('{"error": {"id": 1}', 200, "not JSON"),
        (b"[" + b" " * 5000 + b"]", 200, "larger than"),
    ],
)
def test_another_answer_is_the_sources_fault_and_changes_nothing(
    there: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str | bytes, status: int, reason: str
) -> None:
    monkeypatch.setattr(http_poll, "BODY_BYTES_MAX", 4000)
    there.give(levels(1))
    with Town(polled(there), tmp_path / "town", {}) as town:
        until(lambda: level(town) == 1)
        there.give(body, status)
        until(lambda: town.health("levels").state == "failing")
        assert reason in town.health("levels").last_error
        assert level(town) == 1
        there.give(levels(2).replace("01:00", "01:30"))
        until(lambda: level(town) == 2)
        until(lambda: town.health("levels").state == "running")  # told when all of the answer is stored


def test_a_slow_source_is_given_up_in_time(there: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_poll, "TIMEOUT_S", 0.2)
    there.hold.clear()
    with Town(polled(there), tmp_path / "town", {}) as town:
        until(lambda: "within 0.2 s" in town.health("levels").last_error)


def test_redirects_stay_within_the_host(there: Answers, tmp_path: Path) -> None:
    there.give("", 302, Location="https://elsewhere.example/levels")
    with Town(polled(there), tmp_path / "town", {}) as town:
        until(lambda: "moved to https://elsewhere.example" in town.health("levels").last_error)


def test_a_pack_leads_nowhere_into_the_operators_network_and_a_connection_does(there: Answers, tmp_path: Path) -> None:
    there.give(levels(1))
    with Town(polled(there), tmp_path / "town", {}, loopback=False) as town:
        until(lambda: "this machine itself" in town.health("levels").last_error)
    assert there.asked == []
    named = polled(there, JSON.replace("{url}/levels", "levels?all=1") + 'connection = "weather"\n')
    weather = {"weather": {"url": there.url + "/v1", "headers": {"X-Key": "s3cret"}}}
    with Town(named, tmp_path / "other", weather, loopback=False) as town:
        until(lambda: level(town) == 1)
    assert there.asked[0]["x-key"] == "s3cret"
    assert there.paths[0] == "/v1/levels?all=1"
