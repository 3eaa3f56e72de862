"""scales.toml: breakpoints, classes and limits of standards as data, each table dated and with its source.

    [scale.dust]                             # `scale('dust', x)`: linear between its points
    unit = "GQ"                              # x has this unit
    round = "up"                             # what it gives is a whole number
    [[scale.dust.table]]
    from = 2013-01-01T00:00:00+08:00
    source = "the first standard"
    points = [[0, 0], [35, 50], [75, 100]]   # 0 at 0, 50 at 35, 100 at 75, missing above
    [[scale.dust.table]]
    from = 2026-03-01T00:00:00+08:00
    source = "the second standard"
    points = [[0, 0], [35, 50], [60, 100]]
    above = 100                              # 100 above 60
    [[scale.dust.table]]
    from = 2030-01-01T00:00:00+08:00
    source = "the third standard"
    unknown = { zh = "此表尚未录入。", en = "This table is not recorded yet." }

    [class.oxygen]                           # `class_of('oxygen', x)`: the first class whose limit it keeps
    unit = "GP"
    [[class.oxygen.table]]
    from = 2002-06-01T00:00:00+08:00
    source = "a standard"
    least = [7.5, 6]                         # or `most`, where less is better
    classes = ["I", "II", "worse"]

    [limit.noise]                            # `limit_of('noise', zone)`: a number by a text
    gives = "2N"
    [[limit.noise.table]]
    from = 2008-10-01T00:00:00+08:00
    until = 2025-01-01T00:00:00+08:00
    source = "a standard"
    limits = { quiet = 55, road = 70 }

The table in force at the time of observation counts, from its `from` until its `until` or the next one's `from`. One
that is not known says so by `unknown`, a text in both languages: what it would give is missing then, never guessed.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct, field

from hutong.kernel.clock import instant
from hutong.kernel.errors import HutongError
from hutong.kernel.packs.declarations import SHARED, Bilingual
from hutong.kernel.packs.faults import Faults
from hutong.kernel.packs.pack import Packs
from hutong.kernel.units import unit

FILE: Final = "scales.toml"


class DatedTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """What all dated tables say."""

    begin: Annotated[datetime, Meta(description="`from`: when it comes into force, with an offset")] = field(
        name="from"
    )
    until: Annotated[
        datetime | None, Meta(description="when it goes out of force, where no other takes over that day")
    ] = None
    source: Annotated[str, Meta(min_length=1, description="the standard or law, and where in it")]
    unknown: Annotated[
        Bilingual | None, Meta(description="why the table is not recorded; what it would give is missing then")
    ] = None


class ScaleTable(DatedTable):
    """Breakpoints."""

    points: Annotated[
        list[Annotated[list[float], Meta(min_length=2, max_length=2)]],
        Meta(description="pairs of a value and what it gives, values ascending"),
    ] = []
    above: Annotated[float | None, Meta(description="what values above the last point give; missing when absent")] = (
        None
    )


class ClassTable(DatedTable):
    """Classes, best first."""

    most: Annotated[list[float], Meta(description="the greatest value of each class but the last, ascending")] = []
    least: Annotated[
        list[float], Meta(description="instead of `most`, where more is better: the least value, descending")
    ] = []
    classes: Annotated[list[int | str], Meta(description="the classes, one more than limits: numbers, or texts")] = []


class LimitTable(DatedTable):
    """Limits by a text, such as the zone that they are for."""

    limits: Annotated[dict[str, float], Meta(description="the limit for each text")] = {}


class ScaleDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """A scale: `scale('name', value)`."""

    unit: Annotated[str, Meta(description="UN/CEFACT code of the values that it takes")]
    gives: Annotated[str, Meta(description="UN/CEFACT code of what it gives")] = "C62"
    round: Annotated[
        Literal["none", "nearest", "up"], Meta(description="how what it gives becomes a whole number, if it does")
    ] = "none"
    table: Annotated[list[ScaleTable], Meta(min_length=1, description="its tables, oldest first")]


class ClassDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """Classes: `class_of('name', value)`."""

    unit: Annotated[str, Meta(description="UN/CEFACT code of the values that it takes")]
    table: Annotated[list[ClassTable], Meta(min_length=1, description="its tables, oldest first")]


class LimitDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """Limits: `limit_of('name', text)`."""

    gives: Annotated[str, Meta(description="UN/CEFACT code of the limits")]
    table: Annotated[list[LimitTable], Meta(min_length=1, description="its tables, oldest first")]


class ScalesFile(Struct, forbid_unknown_fields=True, kw_only=True):
    """scales.toml"""

    scale: Annotated[
        dict[str, ScaleDeclaration], Meta(description="breakpoints, linear between them, by name", extra=SHARED)
    ] = {}
    classes: Annotated[dict[str, ClassDeclaration], Meta(description="classes by name", extra=SHARED)] = field(
        default_factory=dict, name="class"
    )
    limit: Annotated[dict[str, LimitDeclaration], Meta(description="limits by name", extra=SHARED)] = {}


Dated: TypeAlias = ScaleDeclaration | ClassDeclaration | LimitDeclaration
Where: TypeAlias = Callable[..., str]
CALLS: Final[Mapping[str, str]] = {"scale": "scale", "class_of": "class", "limit_of": "limit"}
"""The functions that look something up, and the tables of scales.toml in which they do."""
_LOOKUPS: Final = re.compile(rf"\b({'|'.join(CALLS)})\('([^']+)'")


class Period(Struct, frozen=True):
    """When a table is in force: from `begin` until before `end`, µs; None is without end."""

    begin: int
    end: int | None


class Scales:
    """All dated tables of the packs that are on."""

    def __init__(self, declared: Mapping[str, Mapping[str, Dated]]) -> None:
        self._declared = declared

    def names(self, call: str) -> Sequence[str]:
        """The names that a function can look up, sorted."""
        return sorted(self._declared.get(CALLS[call], {}))

    def find(self, call: str, name: str) -> Dated | None:
        return self._declared.get(CALLS[call], {}).get(name)

    def in_force(self, call: str, name: str, at: int) -> DatedTable | None:
        """The table in force at an instant, None when there is none; KeyError for an unknown name."""
        for table, period in periods(self._declared[CALLS[call]][name]):
            if period.begin <= at and (period.end is None or at < period.end):
                return table
        return None

    def sources(self) -> Sequence[tuple[DatedTable, Period]]:
        """One table of each source and time of force, oldest first; those not recorded each for itself."""
        found: dict[tuple[int, str], tuple[DatedTable, Period]] = {}
        for declarations in self._declared.values():
            for one in declarations.values():
                for table, period in periods(one):
                    reason = table.unknown.en if table.unknown else ""
                    found.setdefault((period.begin, table.source + reason), (table, period))
        return [found[key] for key in sorted(found)]

    def gap(self, expression: str, at: int) -> Bilingual | None:
        """Why a lookup in an expression gives nothing at an instant, where its table is not recorded."""
        for call, name in _LOOKUPS.findall(expression):
            if self.find(call, name) and (table := self.in_force(call, name, at)) and table.unknown:
                return table.unknown
        return None


def periods(declared: Dated) -> Iterator[tuple[DatedTable, Period]]:
    """Each table with the time of its force, oldest first."""
    tables: Sequence[DatedTable] = declared.table
    for table, after in zip(tables, [*tables[1:], None], strict=True):
        end = table.until or (after and after.begin)
        yield table, Period(instant(table.begin.isoformat()), instant(end.isoformat()) if end else None)


def compile_scales(packs: Packs, faults: Faults) -> Scales:
    """Every dated table of the packs; what is wrong with one is noted at its line."""
    found: dict[str, dict[str, Dated]] = {kind: {} for kind in CALLS.values()}
    for pack, file in packs.of(ScalesFile):
        kinds: Mapping[str, Mapping[str, Dated]] = {"scale": file.scale, "class": file.classes, "limit": file.limit}
        for kind, declarations in kinds.items():
            for name, declared in declarations.items():
                if _sound(declared, partial(pack.where, FILE, kind, name), faults):
                    found[kind].setdefault(name, declared)
    return Scales(found)


def check_scales(packs: Packs, faults: Faults) -> None:
    """The hook of the loader."""
    compile_scales(packs, faults)


def _sound(declared: Dated, where: Where, faults: Faults) -> bool:
    before = len(faults)
    for key in ("unit", "gives"):
        if code := getattr(declared, key, ""):
            try:
                unit(code)
            except HutongError as error:
                faults.take(error, where(key))
    for n, table in enumerate(declared.table):

        def bad(key: str, what: str, seen: object, allowed: str, _n: int = n) -> None:
            faults.add("bad-table", what, where=where("table", _n, key), seen=seen, allowed=allowed)

        _check_dates(declared.table, n, bad)
        told = [key for key in ("points", "most", "least", "limits") if getattr(table, key, None)]
        if len(told) + (table.unknown is not None) != 1:
            seen = ", ".join([*told, *(["unknown"] if table.unknown else [])]) or "none"
            bad("from", "a table says one thing", seen, "its values, or `unknown`")
        elif told:
            _check_values(table, told[0], bad)
    return len(faults) == before


Bad: TypeAlias = Callable[[str, str, object, str], None]


def _check_dates(tables: Sequence[DatedTable], n: int, bad: Bad) -> None:
    table = tables[n]
    for key, day in (("from", table.begin), ("until", table.until)):
        if day is not None and day.tzinfo is None:
            bad(key, "a time without offset", day.isoformat(), "2026-03-01T00:00:00+08:00")
            return
    if any(one.begin.tzinfo is None for one in tables):
        return
    if table.until is not None and table.until <= table.begin:
        bad("until", "ends before it begins", table.until.isoformat(), f"after {table.begin.isoformat()}")
    last = max(((one.until or one.begin) for one in tables[:n] if _offset(one)), default=None)
    if (last is not None and table.begin < last) or (n and table.begin <= tables[n - 1].begin):
        bad("from", "two tables are in force at once", table.begin.isoformat(), "tables one after the other")


def _offset(table: DatedTable) -> bool:
    return table.until is None or table.until.tzinfo is not None


def _check_values(table: DatedTable, key: str, bad: Bad) -> None:
    match table:
        case ScaleTable(points=points):
            if len(points) < 2 or any(len(point) != 2 for point in points):
                bad(key, "a scale needs two points", points, "pairs of a value and what it gives")
            elif not _ascending([point[0] for point in points]):
                bad(key, "values of points ascend", [point[0] for point in points], "each above the one before")
        case ClassTable(most=most, least=least, classes=classes):
            if not _ascending(most) or not _ascending([-value for value in least]):
                bad(key, "limits go one way", most or least, "`most` ascending, `least` descending")
            if len(classes) != len(most or least) + 1:
                bad("classes", "one class more than limits", len(classes), str(len(most or least) + 1))
            elif len({type(one) for one in classes}) > 1:
                bad("classes", "classes are of one type", classes, "whole numbers, or texts")


def _ascending(values: Sequence[float]) -> bool:
    return all(one < other for one, other in pairwise(values))


def scales_of(file: ScalesFile) -> Scales:
    """The tables of one file taken as sound, as tests and documentation do."""
    return Scales({"scale": file.scale, "class": file.classes, "limit": file.limit})


NO_SCALES: Final = Scales({})
"""No tables at all."""
EXAMPLE: Final = scales_of(
    msgspec.convert(tomllib.loads(__doc__[__doc__.index("    [") : __doc__.rindex("\n\n")]), ScalesFile)
)
"""The tables above, in which the truth tables of the reference look things up."""
