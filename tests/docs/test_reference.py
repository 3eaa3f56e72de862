"""The generated reference: the pages in docs/reference are what the program writes now, and leave nothing out."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hutong.cli.composition import Composition
from hutong.cli.main import hutong
from hutong.cli.proofs import harness
from hutong.cli.reference import pages
from hutong.cli.reference.commands import every_command
from hutong.cli.reference.errors import error_classes
from hutong.cli.reference.fault_codes import FAULT_CODES
from hutong.cli.reference.routes import served
from hutong.cli.runtime import choose_city, pack_format
from hutong.kernel.access import ROLES
from hutong.kernel.expressions import reference
from hutong.kernel.packs import read_packs
from hutong.kernel.units import units
from tests.tidy.tree import PACKAGE, ROOT, below, text

FOLDER = ROOT / "docs" / "reference"
WRITTEN_OTHERWISE = {"glossary.md", "bench.md", "etsi.md"}  # by hand; by ./dev bench; by ./dev etsi


@pytest.fixture(scope="module")
def composition() -> Composition:
    return Composition(form=pack_format(), harness=harness)


@pytest.fixture(scope="module")
def written(composition: Composition) -> Mapping[str, str]:
    return pages(composition, hutong)


def headings(page: str) -> set[str]:
    return {line.lstrip("# ") for line in page.splitlines() if line.startswith("#")}


def test_the_committed_pages_are_what_the_program_writes(
    written: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    for name, page in written.items():
        if request.config.getoption("--golden"):
            (FOLDER / name).write_text(page, encoding="utf-8")
        stale = f"docs/reference/{name} is not what the program writes now: run ./dev golden, and read the difference"
        assert (FOLDER / name).exists() and (FOLDER / name).read_text(encoding="utf-8") == page, stale
    assert {path.name for path in FOLDER.glob("*.md")} - WRITTEN_OTHERWISE == written.keys()


def test_every_error_and_fault_code_has_a_heading(written: Mapping[str, str]) -> None:
    codes = {kind.code for kind in error_classes()} | FAULT_CODES.keys()
    assert {f"`{code}`" for code in codes} <= headings(written["errors.md"])


def test_every_route_has_a_heading(written: Mapping[str, str], composition: Composition) -> None:
    packs, _ = read_packs(composition.pack_roots, composition.form)
    city = choose_city("", packs, composition)
    assert {f"`{route.method} {route.path}`" for route in served(city)} <= headings(written["http.md"])


def test_every_command_has_a_heading_and_every_option_a_row(written: Mapping[str, str]) -> None:
    page = written["cli.md"]
    for path, command in every_command(hutong, "hutong"):
        assert f"`{path}`" in headings(page)
        section = page.partition(f"\n## `{path}`\n")[2].partition("\n## ")[0]
        for param in command.params:
            assert f"| `{param.opts[0] if param.opts[0].startswith('-') else param.opts[0].upper()}" in section, path


def test_every_function_role_and_unit_is_listed(written: Mapping[str, str]) -> None:
    assert {f"`{entry.form}`" for entry in reference()} <= headings(written["expressions.md"])
    assert {f"`{role}`" for role in ROLES} <= headings(written["roles.md"])
    assert [code for code in units() if f"| `{code}` |" not in written["units.md"]] == []


def test_every_bound_with_a_name_is_listed(written: Mapping[str, str]) -> None:
    for path in below("src/hutong", suffix=".py"):
        for name in _bounds(path):
            assert f"| `{name}` |" in written["bounds.md"], f"{path.relative_to(ROOT)}: {name}"


def test_every_code_that_a_fault_is_given_is_known() -> None:
    """Also when an engine makes it: a code that is nowhere explained tells its reader nothing."""
    found = {code: path for path in below("src/hutong", suffix=".py") for code in _fault_codes(path)}
    unknown = {code: str(path.relative_to(PACKAGE)) for code, path in found.items() if code not in FAULT_CODES}
    assert len(found) > 40
    assert not unknown, "explain these in cli/reference/fault_codes.py"


def _bounds(path: Path) -> Iterator[str]:
    for statement in ast.parse(text(path)).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if name.endswith("_MAX") and not name.startswith("_"):
                    yield name


def _fault_codes(path: Path) -> Iterator[str]:
    """Codes written down: first in `faults.add(…)`, `_fault(…)`, `_refuse(…)`, `Refused(…)`, or in `Fault(code=…)`."""
    for node in ast.walk(ast.parse(text(path))):
        if not isinstance(node, ast.Call) or "standards" in path.parts:
            continue
        name = ast.unparse(node.func).removeprefix("self.")
        given = next((word.value for word in node.keywords if word.arg == "code"), None)
        if name in ("faults.add", "_faults.add", "_fault", "_refuse", "Refused") and node.args:
            given = node.args[0]
        elif name != "Fault":
            continue
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            yield f"expression-{given.value}" if name == "Refused" else given.value
