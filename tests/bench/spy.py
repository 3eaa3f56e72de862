"""Where the time goes: py-spy looks at the server while it works, and what it saw is summed up by line."""

import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LINES = 16
HERTZ = 200
SPY_S = 10


class Spy:
    """Watches when it may. `seen`: lines of code and their shares, by what was going on."""

    def __init__(self, folder: Path, wanted: bool) -> None:
        self._folder = folder
        self.seen: dict[str, list[tuple[str, float]]] = {}
        self._program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
        self.wanted = wanted
        if wanted and self._program is None:
            raise SystemExit("--profile needs py-spy: pip install py-spy")

    @contextmanager
    def watching(self, what: str, pid: int) -> Iterator[None]:
        """Look at a process for SPY_S while the block runs."""
        file = self._folder / f"{what}.spy"
        thread = threading.Thread(target=self._look, args=(file, pid))
        thread.start()
        yield
        thread.join()
        self.seen[what] = _summed(file)

    def _look(self, file: Path, pid: int) -> None:
        assert self._program is not None
        subprocess.run(
            [self._program, "record", "--threads", "--rate", str(HERTZ), "--duration", str(SPY_S), "--format", "raw",
             "--output", file, "--pid", str(pid)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _summed(file: Path) -> list[tuple[str, float]]:
    """The innermost functions and their share of all that was seen running."""
    leaves: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        leaf = stack.rpartition(";")[2].rpartition(":")[0].removesuffix(")")
        leaves[leaf + ")" if "(" in leaf else leaf] += int(count)
    total = sum(leaves.values()) or 1
    return [(name, count / total) for name, count in leaves.most_common(LINES)]
