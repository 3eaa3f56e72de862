"""The table on the screen, and the page of the reference."""

import platform
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from hutong.kernel.clock import SystemClock, iso
from tests.bench.figures import Bench, Figure, plain

LINE_END = "\n"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "bench.md"


def reached(figure: Figure) -> str:
    """How the figure stands to its aim: 1.00 or more is reached."""
    if figure.aim is None:
        return ""
    if not (figure.aim and figure.value):  # nothing of something unwanted
        return "1.00" if (figure.value <= figure.aim if figure.least else figure.value >= figure.aim) else "0.00"
    share = figure.aim / figure.value if figure.least else figure.value / figure.aim
    return f"{share:.2f}"


def of_ceiling(figure: Figure) -> str:
    if figure.ceiling_value is None:
        return ""
    return f"{figure.value / figure.ceiling_value:.2f}"


def line(figure: Figure) -> str:
    """One figure for the screen."""
    aim = "" if figure.aim is None else f"  aim {plain(figure.aim)}, reached {reached(figure)}"
    ceiling = "" if figure.ceiling_value is None else f"  {of_ceiling(figure)} of {figure.ceiling}"
    return f"{figure.what:<68} {plain(figure.value):>10} {figure.unit:<11}{aim}{ceiling}  {figure.note}"


def write(figures: Sequence[Figure], bench: Bench, command: str) -> None:
    """Write the page."""
    parts = (_head(bench, command), _table(figures), _ceilings(bench), _profile(bench))
    PAGE.write_text("".join(parts), encoding="utf-8")


def _head(bench: Bench, command: str) -> str:
    today = iso(SystemClock().now())[:10]
    return f"""# Speed

Written by `{command}` on {today}. Nothing here is asserted by a test: machines differ, and what counts is how each
figure stands to what the same machine can do at best.

Machine: {_processor()}, {_cores()}; {platform.system()} {platform.release()}; Python {platform.python_version()},
SQLite {sqlite3.sqlite_version}.

Server and load generator share the machine. Authentication is off; durability is on (each answer waits for its fsync),
and so are history, an index on the number that changes, and three alert rules, of which few updates move one.
{bench.seconds:.0f} s for each writing figure, {bench.car_parks:,} entities. A gateway sends the car parks that it made,
in their order; single updates and reads go to any of them, in no order.
"""


def _table(figures: Sequence[Figure]) -> str:
    rows = []
    for one in figures:
        aim = "" if one.aim is None else f"{'≤' if one.least else '≥'} {plain(one.aim)}"
        ceiling = "" if one.ceiling_value is None else f"{one.ceiling}: {plain(one.ceiling_value)}"
        cells = (one.what, f"{plain(one.value)} {one.unit}", aim, reached(one), ceiling, of_ceiling(one), one.note)
        rows.append(f"| {' | '.join(cells)} |")
    return f"""
| figure | measured | aim | reached | ceiling | of the ceiling | |
| --- | ---: | ---: | ---: | --- | ---: | --- |
{LINE_END.join(rows)}

`reached` is 1.00 or more where the aim is met.
"""


def _ceilings(bench: Bench) -> str:
    rows = [f"| {name} | {plain(value)} |" for name, value in bench.known.items()]
    return f"""
## Ceilings

Measured in the same run, without Hutong. `sqlite`: one upsert, one indexed number and one row of history for each
update, WAL, `synchronous = FULL`.

| ceiling | a second |
| --- | ---: |
{LINE_END.join(rows)}
"""


def _profile(bench: Bench) -> str:
    if not bench.spy.seen:
        return ""
    parts = [
        f"""
### {what.capitalize()}

| function | share |
| --- | ---: |
{LINE_END.join(f"| `{name}` | {share:.1%} |" for name, share in seen)}
"""
        for what, seen in bench.spy.seen.items()
    ]
    return f"""
## Where the time goes

Functions that were running when py-spy looked, and their share of the time of all threads, waiting left out. It looks
in a run of its own, as it slows the server down.
{"".join(parts)}"""


def _processor() -> str:
    for entry in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if entry.startswith("model name"):
            return entry.partition(":")[2].strip()
    return platform.machine()


def _cores() -> str:
    count = len([entry for entry in Path("/proc/cpuinfo").read_text().splitlines() if entry.startswith("processor")])
    return f"{count} cores"
