"""`./dev bench`, or `python -m tests.bench [names] [--seconds 60] [--quick] [--profile]`: measure, write the page."""

import argparse
import os
import tempfile
from pathlib import Path

from tests.bench.figures import FIGURES, Bench, Figure
from tests.bench.messages import messages
from tests.bench.page import PAGE, line, write
from tests.bench.spy import Spy
from tests.bench.telling import subscriptions

ALL = {**FIGURES, "subscriptions": subscriptions, "messages": messages}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure, beside what the machine can do at best.")
    parser.add_argument("names", nargs="*", choices=[*ALL, []], help="which; all when none is named")
    parser.add_argument("--seconds", type=float, default=60, help="how long each writing figure runs")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: to see that it works")
    parser.add_argument("--profile", action="store_true", help="let py-spy look, and tell where the time goes")
    parser.add_argument("--folder", type=Path, help="where to put the data; a temporary folder when absent")
    given = parser.parse_args()
    chosen = given.names or list(ALL)
    with tempfile.TemporaryDirectory(prefix="hutong-bench-", dir=given.folder) as name:
        folder = Path(name)
        seconds = min(given.seconds, 6) if given.quick else given.seconds
        bench = Bench(folder, seconds, given.quick, Spy(folder, given.profile))
        found: list[Figure] = []
        for one in chosen:
            print(f"{one}  (load {os.getloadavg()[0]:.1f})", flush=True)
            for figure in ALL[one](bench):
                print(f"  {line(figure)}", flush=True)
                found.append(figure)
        if given.names or given.quick:
            print("the page is written only when everything is measured in full")
            return
        write(found, bench, "./dev bench" + (" --profile" if given.profile else ""))
        print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
