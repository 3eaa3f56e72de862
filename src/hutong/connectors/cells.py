"""How cells of text become values: expressions over a frame, and checks that say which cells are no good."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec
import polars as pl

from hutong.connectors.instants import instants
from hutong.kernel.errors import DeclarationFaults, HutongError
from hutong.kernel.expressions import INTEGER_MAX, Column, ValueType, compile_expression
from hutong.kernel.packs.faults import Faults
from hutong.kernel.place import check_geometry

TRUE: Final = ("true", "1", "yes", "是")
FALSE: Final = ("false", "0", "no", "否")

_VALUE_TYPES: Final = {
    "integer": ValueType.INTEGER,
    "number": ValueType.NUMBER,
    "text": ValueType.TEXT,
    "boolean": ValueType.BOOLEAN,
}
_NUMBER: Final = r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)$"
_URI: Final = r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+$"
_NAME = re.compile(r"[^\W\d]\w*|\"[^\"]+\"")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_NOTHING: Final = 1e-6  # degrees: so near to 0, 0 a device does not know where it is


class Check(NamedTuple):
    """Where `is_bad` is true, the cell `seen` of a column cannot be taken."""

    column: str
    is_bad: pl.Expr
    seen: pl.Expr
    what: str
    allowed: str = ""
    fix: str = ""


class _Texts(Mapping[str, Column]):
    """The columns of a file that nobody has seen yet: any name, and all are texts."""

    def __getitem__(self, name: str) -> Column:
        return Column(type=ValueType.TEXT)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Cells:
    """Compiles the cells of one source. Collects the columns read and the checks to be made; notes faults."""

    def __init__(self, faults: Faults, zone: str, form: str) -> None:
        self._faults, self._zone, self._form = faults, zone, form
        self.columns: set[str] = set()
        self.checks: list[Check] = []

    def template(self, text: str, where: str, label: str, required: bool = False, constant: bool = False) -> pl.Expr:
        """`urn:{column}` filled in, missing when a column is. `required`: that is told.

        It must name a column then, unless `constant` says that all rows may have the same.
        """
        parts = _PLACEHOLDER.split(text)
        names = parts[1::2]
        self.columns |= set(names)
        if (
            (required and text and not names and not constant)
            or "{" in "".join(parts[::2])
            or "}" in "".join(parts[::2])
        ):
            self._faults.add(
                "no-template",
                f"`{label}` is no template over columns",
                where=where,
                seen=text,
                fix="name columns in braces, as in urn:ngsi-ld:Type:{column}",
            )
        filled = pl.concat_str(*(pl.col(part) if i % 2 else pl.lit(part) for i, part in enumerate(parts)))
        if required:
            for name in names:
                self.checks.append(
                    Check(
                        name,
                        pl.col(name).is_null(),
                        pl.col(name),
                        f"missing, and part of the {label}",
                        fix="fill it in",
                    )
                )
        return filled

    def condition(self, text: str, where: str) -> pl.Expr:
        """An expression that is true or not."""
        return self._expression(text, where, ValueType.BOOLEAN)

    def time(self, text: str, where: str, required: bool = False) -> pl.Expr:
        """Instants in microseconds since the epoch."""
        cell, label = self._text(text, where)
        if required:
            self.checks.append(
                Check(
                    label,
                    cell.is_null(),
                    cell,
                    "the time of observation is missing",
                    "ISO 8601 with offset",
                    "fill it in",
                )
            )
        return self._time(cell, label, where)

    def value(self, key: str, type_: str, text: str, where: str) -> pl.Expr:
        """A property of any type but point."""
        match type_:
            case "number" | "integer":
                return self._number(text, where, whole=type_ == "integer")[0]
            case "boolean":
                return self._boolean(text, where)
            case "datetime":
                cell, label = self._text(text, where)
                at = self._time(cell, label, where).cast(pl.Datetime("us"))
                # Fractions only where there are any, as the kernel's `iso` has it.
                whole, full = (at.dt.strftime(form) for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%.6fZ"))
                return pl.when(at.dt.microsecond() == 0).then(whole).otherwise(full)
            case "geometry" | "json":
                return self._parsed(text, where, type_)
        cell, label = self._text(text, where)
        if type_ == "relationship":
            self.uri(label, key, cell)
        return cell

    def uri(self, label: str, key: str, cell: pl.Expr | None = None) -> None:
        """Check that the cells of a column are URIs."""
        cell = pl.col(label) if cell is None else cell
        self.checks.append(
            Check(
                label, ~cell.str.contains(_URI), cell, f"{key} is no URI", "a URI", "write it as urn:ngsi-ld:Type:name"
            )
        )

    def point(self, key: str, lon: str, lat: str, where: str) -> pl.Expr:
        """[longitude, latitude], missing when both are, or both 0."""
        (x, has_x), (y, has_y) = (self._number(text, where) for text in (lon, lat))
        position = pl.concat_str(x, pl.lit(", "), y)
        nowhere = (x.abs() > 180) | (y.abs() > 90)
        swapped = (y.abs() > 90) & (y.abs() <= 180) & (x.abs() <= 90)
        one = "longitude -180 to 180, latitude -90 to 90"
        self.checks += [
            Check(
                key,
                has_x ^ has_y,
                pl.coalesce(x, y),
                "half of a position is missing",
                "both coordinates, or none",
                "fill in the other, or clear both",
            ),
            Check(
                key,
                swapped,
                position,
                "a position that is nowhere on Earth",
                one,
                "longitude comes first: swap the two",
            ),
            Check(key, nowhere & ~swapped, position, "a position that is nowhere on Earth", one, "give WGS 84 degrees"),
        ]
        known = ~((x.abs() < _NOTHING) & (y.abs() < _NOTHING))
        return pl.when(known).then(pl.concat_list(x, y))

    # --- parts ---

    def _name(self, text: str) -> str:
        """The column that a text names, empty when it is an expression."""
        text = text.strip()
        return text.strip('"') if _NAME.fullmatch(text) else ""

    def _expression(self, text: str, where: str, wants: ValueType) -> pl.Expr:
        try:
            expression = compile_expression(text, _Texts(), where=where, wants=wants)
        except DeclarationFaults as error:
            self._faults.take_all(error)
            return pl.lit(None)
        self.columns |= expression.columns
        return expression.polars()

    def _text(self, text: str, where: str) -> tuple[pl.Expr, str]:
        """A text, and how faults call it."""
        if name := self._name(text):
            self.columns.add(name)
            return pl.col(name), name
        return self._expression(text, where, ValueType.TEXT), text

    def _number(self, text: str, where: str, whole: bool = False) -> tuple[pl.Expr, pl.Expr]:
        """A number, and whether one is given, be it good or not."""
        if not self._name(text):
            number = self._expression(text, where, ValueType.INTEGER if whole else ValueType.NUMBER)
            return number, number.is_not_null()
        cell, label = self._text(text, where)
        number = cell.str.extract(_NUMBER).cast(pl.Float64, strict=False)
        finite = number.is_finite().fill_null(False)
        self.checks.append(
            Check(
                label,
                cell.is_not_null() & ~finite,
                cell,
                "not a number",
                "a finite decimal number",
                "write it as 12.5; leave it empty where there is no value",
            )
        )
        if whole:
            broken = (number != number.round()) | (number.abs() > INTEGER_MAX)
            self.checks.append(
                Check(
                    label,
                    finite & broken,
                    cell,
                    "not a whole number",
                    "a whole number",
                    "round it, or declare the property a number",
                )
            )
            number = number.cast(pl.Int64, strict=False)
        return number, cell.is_not_null()

    def _boolean(self, text: str, where: str) -> pl.Expr:
        if not self._name(text):
            return self._expression(text, where, ValueType.BOOLEAN)
        cell, label = self._text(text, where)
        lower = cell.str.to_lowercase()
        self.checks.append(
            Check(
                label,
                ~lower.is_in([*TRUE, *FALSE]),
                cell,
                "neither true nor false",
                ", ".join((*TRUE, *FALSE)),
                "write true or false",
            )
        )
        return pl.when(cell.is_not_null()).then(lower.is_in(TRUE))

    def _time(self, cell: pl.Expr, label: str, where: str) -> pl.Expr:
        at, problems = instants(cell, self._form, self._zone)
        self.checks += [
            Check(label, problem.is_bad, cell, problem.what, problem.allowed, problem.fix) for problem in problems
        ]
        return at

    def _parsed(self, text: str, where: str, type_: str) -> pl.Expr:
        """JSON, kept as text until it is handed on."""
        cell, label = self._text(text, where)
        problem = cell.map_elements(_geometry_problem if type_ == "geometry" else _json_problem, return_dtype=pl.String)
        self.checks.append(Check(label, problem != "", problem, f"no {'GeoJSON' if type_ == 'geometry' else 'JSON'}"))
        return cell


def _json_problem(text: str) -> str:
    """What is wrong with a text as JSON; empty when nothing is."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return str(error)
    return "the character U+0000 is in a text" if "\\u0000" in text else ""


def _geometry_problem(text: str) -> str:
    try:
        check_geometry(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError, HutongError) as error:
        return str(error)
    return ""
