"""Hutong as a real process on a free port of the loopback address."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest

from tests.components import free_port

PATIENCE_S = 60  # a bound on waiting, not an expectation
MAIN = "from hutong.cli.main import main; main()"


class Server:
    """`hutong up` with a data folder. `url` is its address, `log` the file with all that it printed.

    It may be killed and started again on the same port and data.
    """

    def __init__(self, data: Path, *flags: str, python: Path | str = sys.executable, main: str = MAIN) -> None:
        self.data = data
        self._hutong = (str(python), "-c", main)
        self.flags = flags
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / f"{data.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        said = self.log.read_text(encoding="utf-8", errors="replace")
        if kind is None and "Traceback (most recent call last)" in said:
            pytest.fail(f"the server's log holds a traceback:\n{said[-8000:]}", pytrace=False)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start, and wait for nothing."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*self._hutong, "up", "--data", str(self.data), "--port", str(self.port), *self.flags],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def start(self) -> None:
        """Start and wait until /health answers 200."""
        self.launch()
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"the server did not come up:\n{self.log.read_text(errors='replace')}", pytrace=False)
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end, as a service manager would, and wait until it has."""
        if self._process is not None:
            self._process.terminate()
            self._end()

    def kill(self) -> None:
        """End it at once with SIGKILL, as a power cut would; nothing where it has ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._end()

    def command(self, *arguments: str) -> str:
        """What another command prints that works on this server's data; it must end well."""
        return self.run(*arguments, "--data", str(self.data))

    def run(self, *arguments: str) -> str:
        """What a command prints that has nothing to do with this server's data; it must end well."""
        done = subprocess.run([*self._hutong, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def token(self, role: str) -> str:
        """A new API token with a role, made by the command that operators use."""
        return self.command("token", "create", "--role", role).strip().splitlines()[-1]

    def _end(self) -> None:
        assert self._process is not None
        self._process.wait(PATIENCE_S)
        self._process = None

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False
