"""What tests need beyond Python: where it is found, and what happens when it is not there."""

import os
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest

LEFT_OUT = "left out: "


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


def left_out(component: str, reason: str) -> NoReturn:
    """Skip the test for want of a component, to be told at the end of the run; in CI that is a failure."""
    if in_ci():
        pytest.fail(f"{component} is missing, which CI does not forgive: {reason}", pytrace=False)
    pytest.skip(f"{LEFT_OUT}{component}: {reason}")


def program(names: tuple[str, ...], component: str, package: str, folders: str = "") -> Path:
    """The first of these programs on PATH, or in the newest folder matching a glob below `/`."""
    for name in names:
        if found := shutil.which(name):
            return Path(found)
        for folder in sorted(Path("/").glob(folders) if folders else (), key=_version, reverse=True):
            if (folder / name).exists():
                return folder / name
    left_out(component, f"no program {' or '.join(names)}; Debian's package is {package}")


def free_port() -> int:
    """A port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _version(folder: Path) -> int:
    return max((int(part) for part in folder.parts if part.isdigit()), default=0)
