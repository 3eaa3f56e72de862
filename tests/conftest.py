"""What all tests share: options, marks by folder, shared data, golden files, and what had to be left out."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.components import LEFT_OUT, in_ci

pytest_plugins = ["tests.services"]

ROOT = Path(__file__).resolve().parent.parent
MARKED_FOLDERS = ("unit", "contract", "conformance", "browser", "fault", "docs", "tidy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long suites too")
    parser.addoption("--golden", action="store_true", help="rewrite golden files from what the program answers now")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--golden") and in_ci():
        raise pytest.UsageError("--golden rewrites what is expected, which CI never does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(ROOT).parts[1]
        if folder in MARKED_FOLDERS:
            item.add_marker(folder)
        if folder == "unit":
            item.add_marker(pytest.mark.filterwarnings("error"))
    if not config.getoption("--long"):
        kept = [item for item in items if not item.get_closest_marker("long")]
        if len(kept) < len(items):
            config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
            items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were left out and why, right before pytest's closing line."""
    by_reason: dict[str, Counter[str]] = defaultdict(Counter)
    for report in terminalreporter.stats.get("skipped", ()):
        _, found, reason = str(report.longrepr[2]).partition(LEFT_OUT)
        if found:
            by_reason[reason][report.nodeid.partition("::")[0]] += 1
    if by_reason:
        terminalreporter.section("left out")
    for reason, files in sorted(by_reason.items()):
        terminalreporter.write_line(f"{reason}:")
        for file, count in sorted(files.items()):
            terminalreporter.write_line(f"    {file} ({count} {'test' if count == 1 else 'tests'})")


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Gives the path of a file or folder of the shared data, or skips and says which one is absent."""
    base = Path(os.environ.get("HUTONG_SHARED", ROOT.parent / "shared"))

    def path_of(name: str) -> Path:
        path = base / name
        if not path.exists():
            pytest.skip(f"{LEFT_OUT}shared data {name} is not in HUTONG_SHARED, nor in ../shared")
        return path

    return path_of


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with `golden/NAME` beside the test file; `./dev golden` rewrites that file instead."""

    def compare(name: str, text: str) -> None:
        path = request.path.parent / "golden" / name
        if request.config.getoption("--golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path.relative_to(ROOT)} is not there yet: run ./dev golden and look at what it writes"
        assert text == path.read_text(encoding="utf-8"), f"{path.relative_to(ROOT)} differs; if it should, ./dev golden"

    return compare


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, once for each store that the contract suites hold: an SQLAlchemy address."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hutong.sqlite'}"
    else:
        yield request.getfixturevalue("postgres")
