"""Packs: what is read, that every fault is told at once, each at its line, and the commands that read them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec import Struct

from hutong.cli.check import check, check_command
from hutong.cli.composition import Composition
from hutong.cli.new_pack import new_pack, new_pack_command
from hutong.cli.proving import Harness
from hutong.cli.reference.pack_keys import pack_keys
from hutong.engines.sense.declarations import FILES, AlertsFile, EntitiesFile
from hutong.kernel.errors import DeclarationFaults, InvalidInput
from hutong.kernel.packs import City, CityFile, Faults, PackFormat, Packs, read_packs
from hutong.kernel.packs.declarations import PackFile
from hutong.kernel.packs.faults import CODES
from hutong.kernel.packs.proofs import ProofsFile
from tests.unit.pack_folders import FORM, change, faults_of

HERE = Path(__file__).parent


def no_harness(packs: Packs, city: City | None, at: int) -> Harness:
    raise AssertionError("nothing here proves anything")


@pytest.fixture
def composition() -> Composition:
    return Composition(FORM, no_harness, pack_roots=(), city_roots=())


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack without faults, which tests spoil."""
    return new_pack_command("river_gauges", tmp_path / "packs")


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_new_pack_has_no_faults_and_reads_as_written(pack: Path) -> None:
    packs, faults = read_packs([pack.parent], FORM)
    assert list(faults) == []
    (found,) = packs
    assert (found.name, found.implements, found.sector) == ("river_gauges", (), "city_operations")
    (entities,) = [file for _, file in packs.of(EntitiesFile)]
    assert entities.entity["RiverGauges"].property["level"].unit == "MTR"
    (alerts,) = [file for _, file in packs.of(AlertsFile)]
    assert alerts.alert["level_high"].hold == "10 min"
    assert found.text("zh", "entity", "RiverGauges").name == "监测点"
    assert found.text("en", "alert", "level_high").about.startswith("The level")
    assert found.text("en").name == "New pack"
    assert found.where("alerts.toml", "alert", "level_high", "when") == "river_gauges/alerts.toml:4"


def test_ten_faults_are_ten() -> None:
    found = read_packs([HERE], FORM, only="faulty_pack")[1]
    assert [(fault.where.removeprefix("faulty_pack/"), fault.code) for fault in found] == [
        ("README.md", "missing-file"),
        ("alerts.toml:1", "missing-key"),
        ("entities.toml:2", "unknown-key"),
        ("entities.toml:5", "value-not-allowed"),
        ("pack.toml:2", "name-differs"),
        ("pack.toml:3", "unknown-platform"),
        ("pack.toml:4", "unknown-sector"),
        ("sources.toml:4", "pattern-not-met"),
        ("text/en.toml:6", "missing-text"),
        ("text/zh.toml:11", "text-without-declaration"),
    ]
    by_code = {fault.code: fault for fault in found}
    assert by_code["unknown-key"].fix == "did you mean `grade`?"
    assert by_code["unknown-platform"].fix == "did you mean `smart_parking_guidance_system`?"
    assert by_code["value-not-allowed"].seen == "integr"
    assert by_code["pattern-not-met"].fix == "write it as `10 min`"
    assert by_code["value-not-allowed"].fix == "did you mean `integer`?"
    assert by_code["missing-text"].what == "`entity.Gate.property.open` has no text"
    with pytest.raises(DeclarationFaults) as raised:
        found.check()
    assert len(raised.value.faults) == 10


PROOF = """
[[proof]]
function = "smart_parking_guidance_system/collect_real_time"
says = { zh = "读数到达。", en = "A reading arrives." }
rests_on = ["sources.toml#source.readings"]
at = "2026-05-01T10:00:00+08:00"
then = [{ get = "/here" }]
"""

SPOILED: list[tuple[str, str, str, str, str]] = [  # file, what stands there, what is put there, line, code
    ("pack.toml", '"city_operations"', '"city_operations', "4", "toml-syntax"),
    ("pack.toml", 'sector = "city_operations"', "", "1", "missing-key"),
    ("pack.toml", "implements = []", 'implements = "none"', "3", "wrong-type"),
    ("pack.toml", "implements = []", "implements = [3]", "3", "wrong-type"),
    ("pack.toml", 'sector = "city_operations"', 'sector = "city_operations"\n[migration.level]', "5", "invalid-input"),
    ("entities.toml", "min = 0", "minimum = 0", "9", "unknown-key"),
    ("entities.toml", 'headline = ["level"]', 'headline = ["level", 1]', "4", "wrong-type"),
    ("entities.toml", "max = 10", "max = inf", "9", "out-of-range"),
    ("entities.toml", "max = 10", "max = true", "9", "wrong-type"),
    ("entities.toml", "max = 10", "index = 1", "9", "wrong-type"),
    ("simulate.toml", "things = 5", "things = 0", "5", "out-of-range"),
    ("simulate.toml", "low = 1", "low = [1]", "10", "wrong-type"),
    ("simulate.toml", "  0.2, 0.2, 0.2, 0.2, 0.2, 0.3,", "  0.2,", "13", "wrong-length"),
    ("alerts.toml", 'severity = "warning"', 'severity = "warming"', "6", "value-not-allowed"),
    ("text/en.toml", '"Level"', '"  "', "9", "empty-text"),
    ("text/en.toml", '"Level"', "8", "9", "wrong-type"),
    ("text/en.toml", 'name = "Point"\n', "", "5", "missing-text"),
    ("text/zh.toml", "level_high =", "level_hihg =", "12", "text-without-declaration"),
    ("text/zh.toml", "[alert]", "[alerts]", "11", "text-without-declaration"),
    ("text/zh.toml", "property.name", "property.nothing_like_it = 'x'\nproperty.name", "7", "text-without-declaration"),
    ("proofs/first.toml", "# A proof", "[[proof]]\n# A proof", "1", "missing-key"),
]


@pytest.mark.parametrize(("file", "old", "new", "line", "code"), SPOILED)
def test_a_fault_is_told_at_its_line(pack: Path, file: str, old: str, new: str, line: str, code: str) -> None:
    change(pack, file, old, new)
    found = [(fault.where, fault.code) for fault in faults_of(pack)]
    assert (f"river_gauges/{file}:{line}", code) in found
    if not file.startswith("proofs/"):
        assert len(found) == 1


def spoiled_proof(old: str, new: str) -> str:
    assert old in PROOF
    return PROOF.replace(old, new)


@pytest.mark.parametrize(
    ("proof", "line", "code"),
    [
        (spoiled_proof("collect_real_time", "collect_real"), 3, "unknown-function"),
        (
            spoiled_proof("smart_parking_guidance_system/collect_real_time", "technology_market/x"),
            3,
            "unknown-function",
        ),
        (spoiled_proof("source.readings", "source.reading"), 5, "unknown-declaration"),
        (spoiled_proof("sources.toml#source.readings", "pack.toml#pack.name"), 5, "unknown-declaration"),
        (spoiled_proof('["sources.toml#source.readings"]', "[]"), 5, "wrong-length"),
        (spoiled_proof("+08:00", ""), 6, "invalid-input"),
        (spoiled_proof("{ get", '{ advance = "1 h", get'), 7, "step-verb"),
        (spoiled_proof('{ get = "/here" }', "{ status = 200 }"), 7, "step-verb"),
        (spoiled_proof('"/here"', '"here"'), 7, "pattern-not-met"),
        (spoiled_proof('"/here"', '"/here", expect.name = 1'), 7, "pattern-not-met"),
        (spoiled_proof('en = "A reading arrives."', 'en = ""'), 4, "wrong-length"),
    ],
)
def test_a_faulty_proof_is_told_at_its_line(pack: Path, proof: str, line: int, code: str) -> None:
    change(pack, "pack.toml", "implements = []", 'implements = ["smart_parking_guidance_system"]')
    (pack / "proofs/first.toml").write_text(proof, encoding="utf-8")
    assert [(fault.where, fault.code) for fault in faults_of(pack)] == [
        (f"river_gauges/proofs/first.toml:{line}", code)
    ]


def test_what_a_faulty_file_declares_is_not_missed_elsewhere(pack: Path) -> None:
    change(pack, "pack.toml", "implements = []", 'implements = ["smart_parking_guidance_system"]')
    (pack / "proofs/first.toml").write_text(PROOF, encoding="utf-8")
    change(pack, "sources.toml", 'entity = "RiverGauges"', "entity =")
    change(pack, "entities.toml", "[entity.RiverGauges]", "[entity.RiverGauges")
    assert [(fault.where.partition(":")[0], fault.code) for fault in faults_of(pack)] == [
        ("river_gauges/entities.toml", "toml-syntax"),
        ("river_gauges/sources.toml", "toml-syntax"),
    ]


def test_a_proof_is_for_a_platform_of_its_pack(pack: Path) -> None:
    (pack / "proofs/first.toml").write_text(PROOF, encoding="utf-8")
    (fault,) = faults_of(pack)
    assert fault.code == "not-implemented"


@pytest.mark.parametrize("name", ["README.md", "text/en.toml", "text/zh.toml", "pack.toml"])
def test_a_missing_file_is_one_fault(pack: Path, name: str) -> None:
    (pack / name).unlink()
    assert [(fault.where, fault.code) for fault in faults_of(pack)] == [(f"river_gauges/{name}", "missing-file")]


@pytest.mark.parametrize(
    ("name", "fix"),
    [("alert.toml", "did you mean `alerts.toml`?"), ("text/de.toml", "did you mean `text/en.toml`?"), ("pic.png", "")],
)
def test_an_unknown_file_is_a_fault(pack: Path, name: str, fix: str) -> None:
    (pack / name).write_bytes(b"")
    (fault,) = faults_of(pack)
    assert (fault.where, fault.code) == (f"river_gauges/{name}", "unknown-file")
    assert fault.fix == (fix or "remove it")


def test_a_file_that_is_not_utf8_says_so(pack: Path) -> None:
    (pack / "text/zh.toml").write_bytes("[pack]\nname = '停车场'\n".encode("gb18030"))
    assert [(fault.where, fault.code) for fault in faults_of(pack)] == [("river_gauges/text/zh.toml:2", "not-utf8")]


def test_a_byte_order_mark_and_windows_lines_are_read(pack: Path) -> None:
    text = (pack / "alerts.toml").read_text(encoding="utf-8").replace("warning", "warming")
    (pack / "alerts.toml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert [(fault.where, fault.code) for fault in faults_of(pack)] == [
        ("river_gauges/alerts.toml:6", "value-not-allowed")
    ]


def test_a_slip_in_a_key_that_must_be_there_is_one_fault(pack: Path) -> None:
    change(pack, "sources.toml", "connector", "conector")
    (fault,) = faults_of(pack)
    assert (fault.code, fault.fix) == ("unknown-key", "did you mean `connector`?")


def test_values_that_people_read_need_texts(pack: Path) -> None:
    change(pack, "entities.toml", '{ type = "text" }', '{ type = "text", values = ["near", "far"] }')
    change(pack, "text/zh.toml", '"名称"', '{ name = "名称", values = { near = "近", far = "远" } }')
    assert {fault.what for fault in faults_of(pack)} == {
        "`entity.RiverGauges.property.name.values.near` has no text",
        "`entity.RiverGauges.property.name.values.far` has no text",
    }
    change(pack, "text/en.toml", '"Name"', '{ name = "Name", values = { near = "near", far = "far" } }')
    assert faults_of(pack) == []


# --- several packs ---------------------------------------------------------------------------------------------------


def test_one_type_in_two_packs_is_declared_alike(pack: Path, tmp_path: Path) -> None:
    other = new_pack_command("tide_gauges", pack.parent)
    for file in ("entities.toml", "sources.toml", "alerts.toml", "simulate.toml", "text/zh.toml", "text/en.toml"):
        (other / file).write_bytes((pack / file).read_bytes())
    assert faults_of(pack) == []
    change(other, "entities.toml", "max = 10", "max = 12")
    (fault,) = faults_of(pack)
    assert (fault.code, fault.where) == ("declared-twice", "tide_gauges/entities.toml:2")
    assert fault.allowed == "the same as river_gauges/entities.toml:2"


def test_a_root_may_be_a_pack_itself(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pack)
    packs, faults = read_packs([Path()], FORM)
    assert ([found.name for found in packs], list(faults)) == (["river_gauges"], [])


def test_folders_that_are_no_packs_are_passed_over(pack: Path) -> None:
    (pack.parent / ".git").mkdir()
    (pack.parent / "__pycache__").mkdir()
    (pack / "text" / "more").mkdir()
    assert [(fault.where, fault.code) for fault in faults_of(pack)] == [("river_gauges/text/more/", "unknown-file")]


def test_roots_are_folders_and_pack_names_are_one(pack: Path, tmp_path: Path) -> None:
    new_pack_command("river_gauges", tmp_path / "others")
    found = read_packs([pack.parent, tmp_path / "others", tmp_path / "nowhere"], FORM)[1]
    assert sorted(fault.code for fault in found) == ["missing-folder", "pack-twice"]


def test_hooks_see_whole_packs_and_do_not_repeat_what_was_said(pack: Path) -> None:
    seen: list[list[str]] = []

    def hook(packs: Packs, faults: Faults) -> None:
        seen.append([pack.name for pack in packs])
        for found, file in packs.of(AlertsFile):
            for name in file.alert:
                faults.add("alert-odd", "odd", where=found.where("alerts.toml", "alert", name))

    form = PackFormat(FILES, (hook,), FORM.mission)
    assert [fault.code for fault in faults_of(pack, form)] == ["alert-odd"]
    change(pack, "alerts.toml", 'when = "level >= 8"', "when = 8")
    assert [fault.code for fault in faults_of(pack, form)] == ["wrong-type"]
    (pack / "entities.toml").write_text("[", encoding="utf-8")
    assert {fault.code for fault in faults_of(pack, form)} == {"wrong-type", "toml-syntax"}
    assert seen == [["river_gauges"], ["river_gauges"], []]


# --- commands --------------------------------------------------------------------------------------------------------


def test_check_says_all_and_its_exit_code_tells_faults(pack: Path, composition: Composition) -> None:
    said: list[str] = []
    assert check_command(composition, [pack.parent], say=said.append) == 0
    assert said == ["1 pack, 0 cities: no faults"]
    change(pack, "alerts.toml", 'severity = "warning"', 'severity = "warming"')
    change(pack, "text/en.toml", '"Level"', '""')
    said.clear()
    assert check_command(composition, [pack.parent], say=said.append) == 1
    assert said[0].splitlines()[0] == "river_gauges/alerts.toml:6: `severity`: not a value allowed [value-not-allowed]"
    assert "    fix     did you mean `warning`?" in said[0].splitlines()
    assert said[-1] == "1 pack, 0 cities: 2 faults"


def test_check_as_a_command(pack: Path, composition: Composition) -> None:
    result = CliRunner().invoke(check, ["--packs", str(pack.parent)], obj=composition)
    assert (result.exit_code, result.output) == (0, "1 pack, 0 cities: no faults\n")
    (pack / "README.md").unlink()
    assert CliRunner().invoke(check, ["--packs", str(pack.parent)], obj=composition).exit_code == 1


def test_new_pack_refuses_what_is_there_and_names_no_pack_can_have(tmp_path: Path) -> None:
    run = CliRunner()
    made = run.invoke(new_pack, ["tide_gauges", "--in", str(tmp_path)])
    assert made.exit_code == 0
    assert faults_of(tmp_path / "tide_gauges") == []
    again = run.invoke(new_pack, ["tide_gauges", "--in", str(tmp_path)])
    assert (again.exit_code, "something of that name" in again.output) == (1, True)
    with pytest.raises(InvalidInput):
        new_pack_command("Tide-Gauges", tmp_path)
    assert run.invoke(new_pack, ["../tide", "--in", str(tmp_path)]).exit_code == 1


def test_the_commented_proof_of_a_new_pack_is_a_good_one(pack: Path) -> None:
    text = (pack / "proofs/first.toml").read_text(encoding="utf-8")
    proof = text[text.index("# [[proof]]") :].replace("\n# ", "\n").replace("\n#\n", "\n\n").removeprefix("# ")
    platform = "smart_parking_guidance_system"
    proof = proof.replace("platform_id/function_id", f"{platform}/collect_real_time")
    (pack / "proofs/first.toml").write_text(proof, encoding="utf-8")
    change(pack, "pack.toml", "implements = []", f'implements = ["{platform}"]')
    assert faults_of(pack) == []
    assert [
        len(declared.then) for found in read_packs([pack.parent], FORM)[0] for _, _, declared in found.proofs()
    ] == [1]


# --- reference -------------------------------------------------------------------------------------------------------


def keys(kind: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Each key of a Struct and of those below it, with its description."""
    kind = msgspec.inspect.type_info(kind) if isinstance(kind, type) else kind
    if isinstance(kind, msgspec.inspect.Metadata):
        yield from keys(kind.type, above)
    elif isinstance(kind, msgspec.inspect.UnionType):
        for option in kind.types:
            yield from keys(option, above)
    elif isinstance(kind, msgspec.inspect.DictType):
        yield from keys(kind.value_type, f"{above}.<name>")
    elif isinstance(kind, msgspec.inspect.ListType):
        yield from keys(kind.item_type, f"{above}[ ]")
    elif isinstance(kind, msgspec.inspect.StructType):
        for field in kind.fields:
            path = f"{above}.{field.encode_name}".removeprefix(".")
            said = field.type.extra_json_schema if isinstance(field.type, msgspec.inspect.Metadata) else None
            yield path, (said or {}).get("description", "")
            yield from keys(field.type, path)


@pytest.mark.parametrize("kind", [PackFile, ProofsFile, CityFile, *FILES.values()])
def test_every_key_is_described_and_has_a_heading(kind: type[Struct]) -> None:
    headings = pack_keys(FILES).splitlines()
    found = list(keys(kind))
    assert found
    for path, description in found:
        assert description, f"{path} has no description"
        assert headings.count(f"### `{path}`") == 1, path


def test_every_fault_that_the_kernel_finds_has_a_listed_code() -> None:
    kernel = HERE.parents[1] / "src" / "hutong" / "kernel" / "packs"
    codes = {
        code
        for path in kernel.glob("*.py")
        for code in re.findall(
            r"""(?:\.add|_refuse)\(\s*"([a-z0-9-]+)"|code="([a-z0-9-]+)\"""", path.read_text(encoding="utf-8")
        )
    }
    found = {first or second for first, second in codes}
    assert len(found) > 20
    assert found <= CODES.keys()
