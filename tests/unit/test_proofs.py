"""Proofs: what their steps do and expect, that each must fail without what it rests on, and how they are counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from hutong.cli.check import check, check_command
from hutong.cli.composition import Composition
from hutong.cli.expectations import unmet
from hutong.cli.new_pack import new_pack_command
from hutong.cli.proving import Answer, Harness, run_steps
from hutong.engines.sense.declarations import FILES, AlertsFile, EntitiesFile
from hutong.kernel.clock import DAY, MINUTE, instant
from hutong.kernel.errors import InvalidInput
from hutong.kernel.mission import read_mission
from hutong.kernel.packs import City, Faults, PackFormat, Packs
from hutong.kernel.packs.proofs import ProofDeclaration

PLATFORM = "smart_parking_guidance_system"
MISSION = read_mission()


@dataclass
class FakeCity:
    """Keeps things of declared types and fires alerts ten minutes after a thing came in. Only operators may write."""

    types: set[str]
    alerts: list[str]
    now: int
    things: dict[str, tuple[int, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    closed: bool = False

    def request(self, method: str, path: str, *, body: bytes, headers: Mapping[str, str], role: str) -> Answer:
        self.asked.append((method, path, role))
        self.headers.append(headers)
        if method == "POST":
            thing = msgspec.json.decode(body)
            if role != "operator":
                return self._answer(403, {"detail": "not yours"})
            if thing["type"] not in self.types:
                return self._answer(400, {"detail": f"no type {thing['type']}"})
            self.things[thing["id"]] = (self.now, thing)
            return self._answer(201, {})
        if path == "/alerts":
            late = [at for at, _ in self.things.values() if self.now - at >= 10 * MINUTE]
            return self._answer(200, [{"rule": rule} for rule in self.alerts if late])
        if path == "/page":
            return Answer(200, {"Content-Type": "text/html"}, "<p>水位</p>".encode())
        name = path.rpartition("/")[2]
        return self._answer(200, self.things[name][1]) if name in self.things else self._answer(404, {})

    def drop_file(self, name: str, content: bytes) -> None:
        self.files[name] = content

    def advance(self, microseconds: int) -> None:
        self.now += microseconds

    def close(self) -> None:
        self.closed = True

    def _answer(self, status: int, body: Any) -> Answer:
        return Answer(status, {"Content-Type": "application/json"}, msgspec.json.encode(body))


@dataclass
class Cities:
    """Builds the fakes and remembers them."""

    made: list[FakeCity] = field(default_factory=list)

    def __call__(self, packs: Packs, city: City | None, at: int) -> Harness:
        types = {name for _, file in packs.of(EntitiesFile) for name in file.entity}
        if not types:
            raise InvalidInput("a city without types")
        made = FakeCity(types, [name for _, file in packs.of(AlertsFile) for name in file.alert], at)
        self.made.append(made)
        return made


def proof(**changes: Any) -> ProofDeclaration:
    plain = {
        "function": f"{PLATFORM}/collect_real_time",
        "says": {"zh": "一句话。", "en": "A sentence."},
        "rests_on": ["entities.toml#entity.RiverGauges"],
        "at": "2026-05-01T10:00:00+08:00",
        "then": [{"get": "/things/1"}],
    }
    return msgspec.convert(plain | changes, ProofDeclaration)


def fake() -> FakeCity:
    return FakeCity({"RiverGauges"}, ["level_high"], instant("2026-05-01T10:00:00+08:00"))


POST = {"post": "/things", "as": "operator", "body": {"id": "1", "type": "RiverGauges", "level": 3.5}}


def test_steps_reach_the_city_in_order_as_the_role_they_name() -> None:
    city = fake()
    steps = proof(given=[POST], when=[{"advance": "1 d"}], then=[{"get": "/things/1"}, {"page": "/page"}])
    start = city.now
    assert run_steps(steps, city) == ""
    assert city.asked == [("POST", "/things", "operator"), ("GET", "/things/1", ""), ("GET", "/page", "")]
    assert [headers["Accept"] for headers in city.headers] == ["application/json", "application/json", "text/html"]
    assert city.headers[0]["Content-Type"] == "application/json"
    assert city.now - start == DAY


def test_a_step_may_set_headers_of_its_own() -> None:
    city = fake()
    run_steps(proof(given=[POST | {"headers": {"Content-Type": "application/ld+json"}}]), city)
    assert city.headers[0]["Content-Type"] == "application/ld+json"


def test_a_file_arrives_as_written() -> None:
    city = fake()
    run_steps(proof(when=[{"drop_file": "a.csv", "text": "编号,水位\n"}]), city)
    assert city.files == {"a.csv": "编号,水位\n".encode()}


@pytest.mark.parametrize(
    ("steps", "failure"),
    [
        (
            {"given": [POST | {"as": "resident"}]},
            'given 1, POST /things: status 403, expected 200 to 299: {"detail":"not yours"}',
        ),
        ({"then": [{"get": "/things/2"}]}, "then 1, GET /things/2: status 404, expected 200 to 299: {}"),
        ({"then": [{"get": "/things/2", "status": 404}]}, ""),
        ({"given": [POST], "then": [{"get": "/things/1", "expect": {"/level": 3.5}}]}, ""),
        (
            {"given": [POST], "then": [{"get": "/things/1", "expect": {"/level": 4}}]},
            "then 1, GET /things/1: `/level` is 3.5, expected 4",
        ),
        ({"then": [{"page": "/page", "contains": ["水位"], "lacks": ["水温"]}]}, ""),
        (
            {"then": [{"page": "/page", "contains": ["水温"]}]},
            "then 1, GET /page: `水温` does not stand in the answer",
        ),
        ({"then": [{"page": "/page", "lacks": ["水位"]}]}, "then 1, GET /page: `水位` stands in the answer"),
    ],
)
def test_what_a_step_expects(steps: dict[str, Any], failure: str) -> None:
    assert run_steps(proof(**steps), fake()) == failure


def test_an_answer_that_is_not_json_fails_what_is_expected_in_it() -> None:
    assert "is not JSON" in run_steps(proof(then=[{"page": "/page", "expect": {"": {}}}]), fake())


DOCUMENT = {"a/b": [{"x": 1, "y": "one"}, {"x": 2, "y": "two"}], "none": None, "flag": True, "third": 1 / 3, "~": 0}


@pytest.mark.parametrize(
    ("pointer", "wanted", "met"),
    [
        ("", DOCUMENT, True),
        ("/a~1b/1/y", "two", True),
        ("/a~1b/2", {"absent": True}, True),
        ("/a~1b/1", {"absent": True}, False),
        ("/a~1b/1", {"absent": False}, True),
        ("/~0", 0, True),
        ("/none", {"absent": True}, False),
        ("/gone", None, False),
        ("/flag", True, True),
        ("/flag", 1, False),
        ("/a~1b/0/x", True, False),
        ("/third", 0.3333333333333, True),
        ("/third", 0.3333, False),
        ("/a~1b", {"count": 2}, True),
        ("/a~1b", {"count": 3}, False),
        ("/third", {"at_least": 0.3, "at_most": 0.4}, True),
        ("/third", {"at_least": 0.4}, False),
        ("/flag", {"at_least": 0}, False),
        ("/a~1b/0/y", {"contains": "n"}, True),
        ("/a~1b/0/y", {"contains": "t"}, False),
        ("/a~1b", {"contains": {"x": 1.0, "y": "one"}}, True),
        ("/a~1b", {"contains": {"x": 1}}, False),
        ("/a~1b", {"some": {"/x": 2, "/y": "two"}}, True),
        ("/a~1b", {"some": {"/x": 2, "/y": "one"}}, False),
        ("/a~1b/0", {"x": 1}, False),
        ("/a~1b/0", {"y": "one", "x": 1}, True),
        ("/a~1b/-1", "two", False),
    ],
)
def test_expectations(pointer: str, wanted: Any, met: bool) -> None:
    assert (unmet(DOCUMENT, {pointer: wanted}) == "") is met


# --- whole packs ------------------------------------------------------------------------------------------------

GOOD = """
[[proof]]
function = "smart_parking_guidance_system/collect_real_time"
says.zh = "读数到达后，水位随即更新。"
says.en = "When a reading arrives, the level changes at once."
rests_on = ["entities.toml#entity.RiverGauges"]
at = "2026-05-01T10:00:00+08:00"
when = [{ post = "/things", as = "operator", body = { id = "1", type = "RiverGauges", level = 9 } }]
then = [{ get = "/things/1", expect."/level" = 9 }]

[[proof]]
function = "smart_parking_guidance_system/publish_dynamic_parking"
says.zh = "水位偏高十分钟后报警。"
says.en = "Ten minutes of high level raise an alert."
rests_on = ["alerts.toml#alert.level_high", "entities.toml#entity.RiverGauges"]
at = "2026-05-01T10:00:00+08:00"

[[proof.given]]
post = "/things"
as = "operator"
body = { id = "1", type = "RiverGauges", level = 9 }

[[proof.when]]
advance = "10 min"

[[proof.then]]
get = "/alerts"
expect."" = { some = { "/rule" = "level_high" } }
"""


@pytest.fixture
def cities() -> Cities:
    return Cities()


@pytest.fixture
def composition(cities: Cities) -> Composition:
    return Composition(PackFormat(FILES, (), MISSION), cities, pack_roots=(), city_roots=())


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = new_pack_command("river_gauges", tmp_path / "packs")
    text = (folder / "pack.toml").read_text(encoding="utf-8")
    (folder / "pack.toml").write_text(text.replace("[] ", f'["{PLATFORM}"]'), encoding="utf-8")
    (folder / "proofs/first.toml").write_text(GOOD, encoding="utf-8")
    return folder


def checked(composition: Composition, pack: Path) -> tuple[int, list[str]]:
    said: list[str] = []
    return check_command(composition, [pack.parent], mission=True, say=said.append), said


def test_good_proofs_are_counted_and_unproved_functions_are_no_fault(composition: Composition, pack: Path) -> None:
    code, said = checked(composition, pack)
    assert code == 0
    assert said[0] == "1 pack, 0 cities: no faults"
    assert said[-1] == "2 of 545 functions proved (2 run, 0 tracked), 0 of 162 platforms complete"
    assert any(line.split()[:4] == ["2", "of", "3", PLATFORM] for line in said)
    states = {line.split()[-1]: line.split()[0] for line in said if line.split()[0] in ("proved", "unproved", "failed")}
    assert states == {
        "public_parking_information": "unproved",
        "collect_real_time": "proved",
        "publish_dynamic_parking": "proved",
    }


def test_a_complete_platform_is_counted(composition: Composition, pack: Path) -> None:
    third = GOOD.split("[[proof]]")[1].replace("collect_real_time", "public_parking_information")
    (pack / "proofs/second.toml").write_text(f"[[proof]]{third}", encoding="utf-8")
    code, said = checked(composition, pack)
    assert (code, said[-1]) == (
        0,
        "3 of 545 functions proved (3 run, 0 tracked), 1 of 162 platforms complete",
    )


def test_each_proof_runs_once_more_for_each_declaration_and_all_is_closed(
    composition: Composition, cities: Cities, pack: Path
) -> None:
    checked(composition, pack)
    # Each as it is; the second once without its alert. A city without types does not start.
    assert [(city.types, city.alerts) for city in cities.made] == [
        ({"RiverGauges"}, ["level_high"]),
        ({"RiverGauges"}, ["level_high"]),
        ({"RiverGauges"}, []),
    ]
    assert all(city.closed for city in cities.made)


def test_a_proof_that_fails_is_a_fault(composition: Composition, pack: Path) -> None:
    (pack / "proofs/first.toml").write_text(
        GOOD.replace('expect."/level" = 9', 'expect."/level" = 8'), encoding="utf-8"
    )
    code, said = checked(composition, pack)
    assert code == 1
    assert said[0] == (
        "river_gauges/proofs/first.toml:2: the proof of `smart_parking_guidance_system/collect_real_time` fails: "
        "then 1, GET /things/1: `/level` is 9, expected 8 [proof-failed]"
    )
    assert said[-1].startswith("1 of 545 functions proved")


def test_a_proof_that_holds_without_what_it_rests_on_is_a_fault(composition: Composition, pack: Path) -> None:
    text = GOOD.replace('rests_on = ["entities', 'rests_on = ["alerts.toml#alert.level_high", "entities', 1)
    (pack / "proofs/first.toml").write_text(text, encoding="utf-8")
    code, said = checked(composition, pack)
    assert code == 1
    assert "[proof-rests-on-nothing]" in said[0]
    assert "    seen    alerts.toml#alert.level_high" in said[0].splitlines()
    assert said[-1].startswith("1 of 545 functions proved")


def test_that_a_pack_does_not_load_without_it_is_a_way_of_failing(cities: Cities, pack: Path) -> None:
    def hook(packs: Packs, faults: Faults) -> None:
        for found, file in packs.of(AlertsFile):
            types = {name for _, entities in packs.of(EntitiesFile) for name in entities.entity}
            for name, alert in file.alert.items():
                if alert.on not in types:
                    faults.add("alert-on-nothing", "no such type", where=found.where("alerts.toml", "alert", name))

    composition = Composition(PackFormat(FILES, (hook,), MISSION), cities, pack_roots=(), city_roots=())
    code, said = checked(composition, pack)
    assert (code, said[-1].split()[0]) == (0, "2")


def test_proofs_of_a_faulty_pack_do_not_count(composition: Composition, pack: Path) -> None:
    (pack / "README.md").unlink()
    code, said = checked(composition, pack)
    assert code == 1
    assert said[-1].startswith("0 of 545 functions proved")


def test_the_count_is_the_last_line_of_the_command(composition: Composition, pack: Path) -> None:
    result = CliRunner().invoke(check, ["--mission", "--packs", str(pack.parent)], obj=composition)
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == (
        "2 of 545 functions proved (2 run, 0 tracked), 0 of 162 platforms complete"
    )
