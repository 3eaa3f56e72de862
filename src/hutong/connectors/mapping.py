"""Declared sources, compiled: rows of text in, changes of entities out, a frame at a time."""

import hashlib
import re
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final

import msgspec
import polars as pl

from hutong.connectors.cells import Cells
from hutong.connectors.keys import check_keys
from hutong.engines.sense.declarations import EntitiesFile, EntityDeclaration, SourceDeclaration, SourcesFile
from hutong.engines.sense.ports import Attribute, Change, Kind, Verb
from hutong.kernel.errors import DeclarationFaults, Fault, HutongError, InvalidInput
from hutong.kernel.packs import Pack, Packs
from hutong.kernel.packs.faults import Faults, listed, meant
from hutong.kernel.place import gcj02_to_wgs84
from hutong.kernel.units import conversion

ROW: Final = "#"
"""The column of a raw frame in which the number of each row stands; all others are texts."""

_ID, _AT = "id", "at"  # columns of a mapped frame; those of properties begin with a prefix
_VALUE, _UNIT = "value ", "unit "
_KINDS: Final = {"point": Kind.GEO, "geometry": Kind.GEO, "relationship": Kind.RELATIONSHIP}
_URI_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.")
_WHOLE = re.compile(r"\{[^{}]+\}")  # a template that is nothing but one column
_IN_NO_URI = re.compile(r'[\x00-\x20<>"{}|\\^`\x7f-\xa0]')


class Reject(msgspec.Struct, frozen=True):
    """A row that could not be taken, and why. `fault.where` names the column or property."""

    row: int
    fault: Fault


class Mapped(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a raw frame. `frame` has a row for each entity that is told of, in the order of the rows."""

    source: "Source"
    frame: pl.DataFrame
    rejects: Sequence[Reject]

    @property
    def rows(self) -> list[int]:
        """The numbers of the rows behind `changes`, in the same order."""
        return self.frame[ROW].to_list()

    def changes(self) -> list[Change]:
        """One change for each row of `frame`; missing values are left out."""
        return self.source.changes(self.frame)


class Source:
    """A declared source of rows, compiled. `name` is `pack.source`; `digest` changes with what is declared.

    Raises DeclarationFaults with everything that is wrong with it.
    """

    def __init__(
        self, pack: Pack, file: str, name: str, declaration: SourceDeclaration, entity: EntityDeclaration
    ) -> None:
        self.name, self.declaration = f"{pack.name}.{name}", declaration
        self.types = (declaration.entity,)
        self.digest = hashlib.sha256(msgspec.json.encode((declaration, entity))).hexdigest()[:16]
        self._faults = Faults()
        self._where = partial(pack.where, file, "source", name)
        self._check(entity)
        cells = Cells(self._faults, declaration.zone, declaration.format)
        series = bool(declaration.at)  # a file may be the history of one thing
        self._id = cells.template(declaration.id, self._where("id"), "id", required=True, constant=series)
        if _WHOLE.fullmatch(declaration.id):
            cells.uri(declaration.id[1:-1], "id")
        self._needed = frozenset(cells.columns)
        self._at = cells.time(declaration.at, self._where("at"), required=True) if declaration.at else None
        self._only = cells.condition(declaration.where, self._where("where")) if declaration.where else None
        self._values: dict[str, pl.Expr] = {}
        for key, text in declaration.set.items():
            one = entity.property.get(key)
            if one is not None and not one.derive:
                self._values[key] = self._value(cells, key, one.type, text)
        self._units = {
            key: cells.template(text, self._where("unit", key), f"unit of {key}")
            for key, text in declaration.unit.items()
        }
        self._faults.check()
        self._kinds = {key: _KINDS.get(entity.property[key].type, Kind.PROPERTY).value for key in self._values}
        self._json = {key for key in self._values if entity.property[key].type in ("geometry", "json")}
        self._checks, self.columns = cells.checks, tuple(sorted(cells.columns))

    def matches(self, file: str) -> bool:
        """Whether a file of this name is for this source."""
        return any(
            fnmatchcase(one, pattern) for pattern in self.declaration.files for one in (file, file.removesuffix(".gz"))
        )

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise InvalidInput when a column that the source reads is not among those of a table."""
        absent = [column for column in self.columns if column not in columns]
        if absent:
            raise self._absent(absent, columns)

    def check_members(self, columns: Sequence[str]) -> None:
        """The same for rows whose members may be left out: those that name the thing must be there, and one other."""
        absent = [column for column in self._needed if column not in columns]
        others = [column for column in self.columns if column not in self._needed]
        if not absent and others and not set(others) & set(columns):
            absent = others
        if absent:
            raise self._absent(absent, columns)

    def _absent(self, absent: Sequence[str], columns: Sequence[str]) -> InvalidInput:
        return InvalidInput(
            f"there is no column {listed(absent)}",
            where=self._where(),
            seen=listed(columns, 30),
            allowed=listed(self.columns, 30),
            fix=meant(absent[0], columns) or "correct the source's declaration, or the head of the table",
        )

    def map(self, raw: pl.DataFrame) -> Mapped:
        """Read a raw frame: ROW and columns of text. Columns that it lacks are missing in every row."""
        absent = [pl.lit(None, pl.String).alias(column) for column in self.columns if column not in raw.columns]
        frame = raw.with_columns(absent).select(ROW, *map(self._clean, self.columns))
        if self._only is not None:
            frame = frame.filter(self._only)
        found = (
            frame.lazy()
            .select(
                ROW,
                self._id.alias(_ID),
                (pl.lit(None, pl.Int64) if self._at is None else self._at).alias(_AT),
                *(value.alias(_VALUE + key) for key, value in self._values.items()),
                *(code.alias(_UNIT + key) for key, code in self._units.items()),
                *(check.is_bad.fill_null(False).alias(f"bad {i}") for i, check in enumerate(self._checks)),
                *(check.seen.cast(pl.String, strict=False).alias(f"seen {i}") for i, check in enumerate(self._checks)),
            )
            .collect()
        )  # lazy, for shared subexpressions
        rejects = sorted(self._rejects(found), key=lambda reject: reject.row)
        told = pl.any_horizontal(*(pl.col(_VALUE + key).is_not_null() for key in self._values))
        good = (
            found.filter(told & ~pl.col(ROW).is_in([reject.row for reject in rejects]))
            if rejects
            else found.filter(told)
        )
        return Mapped(source=self, frame=self._finish(good), rejects=rejects)

    def changes(self, frame: pl.DataFrame) -> list[Change]:
        """The changes that rows of a mapped frame ask for."""
        form = [(key, self._kinds[key], frame.columns.index(_VALUE + key), self._read(key)) for key in self._values]
        units = {key: frame.columns.index(_UNIT + key) for key in self._units}
        id_at, at_at = frame.columns.index(_ID), frame.columns.index(_AT)
        changes, types, append = [], self.types, Verb.APPEND
        for row in frame.iter_rows():
            at, attributes = row[at_at], {}
            for key, kind, position, read in form:
                if (value := row[position]) is not None:
                    attributes[key] = Attribute(
                        kind=kind,
                        value=value if read is None else read(value),
                        observed_at=at,
                        unit=row[units[key]] if key in units else None,
                    )
            changes.append(Change(verb=append, id=row[id_at], types=types, attributes=attributes, upsert=True))
        return changes

    # --- compiling ---

    def _check(self, entity: EntityDeclaration) -> None:
        """Note keys that are missing, and units that cannot be converted."""
        check_keys(self.declaration, self._where, self._faults)
        if self.declaration.id and not (
            _URI_SCHEME.match(self.declaration.id) or _WHOLE.fullmatch(self.declaration.id)
        ):
            self._faults.add(
                "id-is-no-uri",
                "ids are URIs",
                where=self._where("id"),
                seen=self.declaration.id,
                fix="write it as urn:ngsi-ld:Type:{column}, or {column} where a column holds URIs",
            )
        zone, zones = self.declaration.zone, zoneinfo.available_timezones()
        if zone and zone not in zones:
            self._faults.add(
                "unknown-timezone",
                "no IANA time zone",
                where=self._where("zone"),
                seen=zone,
                allowed="a name such as Asia/Shanghai",
                fix=meant(zone, zones),
            )
        for key, code in self.declaration.unit.items():
            where = self._where("unit", key)
            if key not in self.declaration.set or key not in entity.property:
                self._faults.add(
                    "unknown-property",
                    "a unit for what is not set",
                    where=where,
                    seen=key,
                    allowed=listed(self.declaration.set),
                    fix=meant(key, self.declaration.set),
                )
            elif "{" not in code:
                try:
                    conversion(code, entity.property[key].unit or code)
                except HutongError as error:
                    self._faults.take(error, where)

    def _value(self, cells: Cells, key: str, type_: str, text: str | list[str]) -> pl.Expr:
        where = self._where("set", key)
        if (type_ == "point") != isinstance(text, list) or (isinstance(text, list) and len(text) != 2):
            self._faults.add(
                "wrong-type",
                f"{key} is of type {type_}",
                where=where,
                seen=text,
                allowed="[longitude, latitude]" if type_ == "point" else "a column or an expression",
                fix='write it as ["longitude", "latitude"]' if type_ == "point" else "write one text",
            )
            return pl.lit(None)
        if isinstance(text, list):
            return cells.point(key, text[0], text[1], where)
        return cells.value(key, type_, text, where)

    # --- running ---

    def _clean(self, column: str) -> pl.Expr:
        """A column without blanks at the ends; texts that stand for a missing value are missing."""
        text = pl.col(column).str.strip_chars(" \t\r\n\u00a0\u3000")
        return pl.when(~text.is_in(["", *self.declaration.missing])).then(text).alias(column)

    def _rejects(self, found: pl.DataFrame) -> Iterator[Reject]:
        for i, check in enumerate(self._checks):
            if found[f"bad {i}"].any():
                bad = found.filter(pl.col(f"bad {i}"))
                for row, seen in zip(bad[ROW].to_list(), bad[f"seen {i}"].to_list(), strict=True):
                    error = InvalidInput(
                        check.what,
                        where=check.column,
                        seen="" if seen is None else seen,
                        allowed=check.allowed,
                        fix=check.fix,
                    )
                    yield Reject(row, error.fault)

    def _finish(self, good: pl.DataFrame) -> pl.DataFrame:
        """The rows that are taken, with ids that are URIs and points in WGS 84."""
        good = good.select(ROW, _ID, _AT, pl.col(f"^({_VALUE}|{_UNIT}).*$"))
        if good[_ID].str.contains(_IN_NO_URI.pattern).any():
            good = good.with_columns(pl.Series(_ID, [_IN_NO_URI.sub(_percent, one) for one in good[_ID]]))
        if self.declaration.datum == "gcj02":
            for key in self._values:
                if good.schema[_VALUE + key] == pl.List(pl.Float64) and good.height:
                    good = good.with_columns(_shifted(good[_VALUE + key]))
        return good

    def _read(self, key: str) -> Any:
        """What makes a JSON value of what stands in the frame; None where it is one."""
        if key in self._json:
            return msgspec.json.decode
        return _point if self._kinds[key] == Kind.GEO.value else None


def compile_sources(packs: Packs, declared: Mapping[str, EntityDeclaration], faults: Faults) -> tuple[Source, ...]:
    """Every source of rows that the packs declare. What is wrong is noted, and that source left out.

    An entity type that nobody declares is for the engine to tell.
    """
    found = []
    for pack, content in packs.of(SourcesFile):
        file = next(name for name, one in pack.files.items() if one is content)
        for name, declaration in content.source.items():
            if declaration.connector == "http":  # its values come as entities already: there are no columns to map
                check_keys(declaration, partial(pack.where, file, "source", name), faults)
            elif declaration.entity in declared:
                try:
                    found.append(Source(pack, file, name, declaration, declared[declaration.entity]))
                except DeclarationFaults as error:
                    faults.take_all(error)
    return tuple(found)


def by_connector(sources: Sequence[Source], *connectors: str) -> tuple[Source, ...]:
    """Those with one of these ways in."""
    return tuple(source for source in sources if source.declaration.connector in connectors)


def check(packs: Packs, faults: Faults) -> None:
    """The hook of the loader."""
    compile_sources(packs, entity_types(packs), faults)


def entity_types(packs: Packs) -> Mapping[str, EntityDeclaration]:
    """Every declared entity type by name."""
    return {name: declaration for _, file in packs.of(EntitiesFile) for name, declaration in file.entity.items()}


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _point(position: list[float]) -> dict[str, Any]:
    return {"type": "Point", "coordinates": position}


def _shifted(points: pl.Series) -> pl.Series:
    """Points from GCJ-02 to WGS 84; missing ones stay missing."""
    known = points.is_not_null()
    lons, lats = (points.list.get(i).fill_null(0.0).to_numpy() for i in (0, 1))
    lons, lats = gcj02_to_wgs84(lons, lats)
    shifted = pl.select(pl.concat_list(pl.Series(lons).round(7), pl.Series(lats).round(7))).to_series()
    return pl.select(pl.when(known).then(shifted)).to_series().alias(points.name)
