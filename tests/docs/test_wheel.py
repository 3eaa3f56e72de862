"""The wheel carries everything, and serves the demo city by itself."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.server import Server
from tests.tidy.tree import PACKAGE, ROOT, below


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "-qq", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_packs_cities_mission_and_built_pages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    wanted = {path.relative_to(PACKAGE.parent).as_posix() for path in below("src/hutong")}
    wanted |= {p.relative_to(PACKAGE.parent).as_posix() for p in (PACKAGE / "portal/static").rglob("*") if p.is_file()}
    assert any(name.startswith("hutong/portal/static/") for name in wanted), "the pages are not built"
    assert not wanted - carried


def test_the_installed_wheel_serves_the_demo_city(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    install = ["install", "-qq", "--no-deps", "--no-compile", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    for dependencies in Path(sys.executable).parent.parent.glob("lib/python*/site-packages"):
        (site / "dependencies.pth").write_text(f"{dependencies}\n")
    python = tmp_path / "venv" / "bin" / "python"
    where: list[str | Path] = [python, "-c", "import hutong; print(hutong.__file__)"]
    assert subprocess.run(where, check=True, capture_output=True, text=True).stdout.startswith(str(site))
    with Server(tmp_path / "data", "--demo", python=python) as server:
        assert httpx.get(server.url, follow_redirects=True, trust_env=False).status_code == 200
