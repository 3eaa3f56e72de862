"""A reader who does what a page says, in a folder of their own, with the real command `hutong`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from tests.components import free_port, program
from tests.docs.pages import Block, blocks
from tests.tidy.tree import ROOT

PORT = "8080"
PATIENCE_S = 60  # a bound on waiting, not an expectation
_SERVER = re.compile(r"^hutong up\b", re.MULTILINE)
_HUTONG = f"#!{sys.executable}\nfrom hutong.cli.main import main\nmain()\n"


class Reader:
    """Follows pages: writes their files, runs their commands, and compares what comes with what they say.

    Port 8080 is a free one here; `known` gives further texts that stand otherwise on this machine.
    """

    def __init__(self, folder: Path, known: Mapping[str, str] | None = None) -> None:
        program(("curl",), "curl", "curl")  # the pages speak HTTP with it
        self._folder, self._programs = folder / "home", folder / "bin"
        self._state, self._log = folder / "state", folder / "server.log"
        self._port = free_port()
        self._known = {PORT: str(self._port), **(known or {})}
        self._server: subprocess.Popen[bytes] | None = None
        self._folder.mkdir()
        self._programs.mkdir()
        (self._programs / "hutong").write_text(_HUTONG)
        (self._programs / "hutong").chmod(0o755)
        self._state.write_text(f"cd '{self._folder}'\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        said = self._log.read_text(errors="replace") if self._log.exists() else ""
        if kind is None and "Traceback (most recent call last)" in said:
            pytest.fail(f"the server's log holds a traceback:\n{said[-8000:]}", pytrace=False)

    def follow(self, page: Path) -> None:
        """Do all that a page says, from its first block to its last."""
        self.do(page, list(blocks(page)))

    def do(self, page: Path, steps: Sequence[Block]) -> None:
        """Do what the blocks say; `page` is where they stand."""
        for i, step in enumerate(steps):
            answer = steps[i + 1] if i + 1 < len(steps) and steps[i + 1].is_answer else None
            where = f"{page.relative_to(ROOT)}:{step.line}"
            if step.mark == "stop":
                self.stop()
            elif step.mark == "shown" or step.is_answer:
                continue
            elif step.title:
                self._write(step)
            elif step.language == "sh":
                self._run(step, answer, where)
            else:
                pytest.fail(f"{where}: nobody knows what to do with this block", pytrace=False)

    def stop(self) -> None:
        """Stop the server, as Ctrl-C does."""
        if self._server is not None and self._server.poll() is None:
            os.killpg(self._server.pid, signal.SIGTERM)
            self._server.wait(PATIENCE_S)
        self._server = None

    def _write(self, step: Block) -> None:
        path = self._folder / step.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(step.text), encoding="utf-8")

    def _run(self, step: Block, answer: Block | None, where: str) -> None:
        if _SERVER.search(step.text):
            self._serve(step, where)
            return
        deadline = time.monotonic() + (PATIENCE_S if step.mark == "soon" else 0)
        while True:
            code, said = self._commands(step.text)
            wrong = self._wrong(step, answer, code, said)
            if not wrong:
                return
            if time.monotonic() > deadline:
                log = f"\nserver:\n{self._log.read_text(errors='replace')[-3000:]}" if self._log.exists() else ""
                pytest.fail(f"{where}: {wrong}\n{step.text}\nanswered:\n{said}{log}", pytrace=False)
            time.sleep(0.3)

    def _wrong(self, step: Block, answer: Block | None, code: int, said: str) -> str:
        if (code != 0) != (step.mark == "fails"):
            return f"ended with {code}"
        if answer is None or answer.mark == "shown":
            return ""
        wanted = self._here(answer.text)
        if answer.language == "text":
            return "" if text_matches(wanted, said) else f"not the answer of the page, which is:\n{wanted}"
        try:
            differs = next(difference(json.loads(wanted), json.loads(said), ""), "")
        except json.JSONDecodeError as error:
            differs = str(error)
        return f"not the answer of the page: {differs}" if differs else ""

    def _commands(self, text: str) -> tuple[int, str]:
        """Run commands in one shell; what they set and where they went is there for the next."""
        script = f'. "{self._state}"\nset -a\n{self._here(text)}\n'
        script += f'{{ export -p; echo "cd \'$PWD\'"; }} > "{self._state}"\n'
        done = subprocess.run(
            ["sh", "-eu", "-c", script],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode, done.stdout.decode()

    def _serve(self, step: Block, where: str) -> None:
        self.stop()
        with self._log.open("ab") as out:
            self._server = subprocess.Popen(
                ["sh", "-eu", "-c", f'. "{self._state}"\n{self._here(step.text)}'],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._healthy():
            if self._server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{where}: no server came up:\n{self._log.read_text(errors='replace')}", pytrace=False)
            time.sleep(0.05)

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _here(self, text: str) -> str:
        """A text of a page as it must stand on this machine."""
        for there, here in self._known.items():
            text = text.replace(there, here)
        return text

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "120",
            "no_proxy": "127.0.0.1",
        }


def text_matches(wanted: str, said: str) -> bool:
    """Whether a text is as wanted: `…` stands for anything within a line, a line of it alone for any lines."""
    pattern = ""
    for line in wanted.strip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, re.sub(r"\s+", " ", line.strip()).split("…"))) + r"\n"
    squeezed = "".join(re.sub(r"\s+", " ", line.strip()) + "\n" for line in said.strip().splitlines())
    return re.fullmatch(pattern, squeezed) is not None


def difference(wanted: Any, said: Any, at: str) -> Iterator[str]:
    """How a JSON value differs from the one wanted: `"…"` is any value, a member of that name any further members."""
    match wanted, said:
        case "…", _:
            return
        case dict(), dict():
            for key in wanted.keys() - {"…"}:
                if key in said:
                    yield from difference(wanted[key], said[key], f"{at}/{key}")
                else:
                    yield f"{at}/{key} is missing"
            if "…" not in wanted and said.keys() - wanted.keys():
                yield f"{at} has {', '.join(sorted(said.keys() - wanted.keys()))} besides"
        case list(), list():
            yield from _items(wanted, said, at)
        case str(), str() if "…" in wanted:
            if not text_matches(wanted, said):
                yield f"{at} is {said!r}"
        case _ if wanted != said:
            yield f"{at} is {said!r}, the page says {wanted!r}"


def _items(wanted: Sequence[Any], said: Sequence[Any], at: str) -> Iterator[str]:
    more = bool(wanted) and wanted[-1] == "…"
    items = wanted[:-1] if more else wanted
    if len(said) < len(items) or (len(said) > len(items) and not more):
        yield f"{at} has {len(said)} items"
        return
    for i, item in enumerate(items):
        yield from difference(item, said[i], f"{at}/{i}")
