"""Blocks of observations: the columnar payload of a `sense.changed` event, and what it does to state and history."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from hutong.engines.sense.history import PastChange
from hutong.engines.sense.ports import HISTORY_SCHEMA, Attribute, Mark
from hutong.kernel.ledger import Position

CHANGED = "sense.changed"
FORMAT = 1
EXACT_INTEGER_MAX = 2**53
COMPRESSION = 1

SET, LATE, UNSET, CREATED, DELETED, RETYPED, MARKED = "s", "h", "d", "c", "x", "t", "m"
"""Operations of a row: an attribute became current; was too late and is history only; was removed; an entity appeared
(extra: types, scopes); was deleted; changed types or scopes (extra likewise); the marks of an attribute changed."""

_COLUMNS = ("op", "entity", "type", "attribute", "kind", "at", "number", "text", "extra", "unit", "marks")
_SCALARS = frozenset("PRB")
_COMPUTED = int(Mark.DERIVED | Mark.FORECAST)
COMPUTED_SOURCES = ("rollup:", "forecast:", "quality:")
"""Begin the names of sources that are the engine itself; what they say of a thing is no news from the thing."""

Cells = tuple[str, str, str, str, str, int | None, float | None, str | None, str | None, str | None, int]
"""A row, in the order of _COLUMNS."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What all rows of a block share."""

    format: int
    tenant: str
    source: str
    recorded_at: int


def _whole(value: Attribute) -> str:
    """The attribute as JSON without its times and marks, so that the same content is the same text."""
    bare = msgspec.structs.replace(value, observed_at=None, created_at=0, modified_at=0, marks=0)
    return _encode(bare).decode()


class Block:
    """Rows under construction, or read back."""

    def __init__(self, tenant: str, source: str, recorded_at: int) -> None:
        self.head = Head(FORMAT, tenant, source, recorded_at)
        self.computed = source.startswith(COMPUTED_SOURCES)
        self.rows: list[Cells] = []
        self.past: list[PastChange] = []  # what became of pasts; it follows from the rows, so that it is not encoded

    def tells_of(self, source: str) -> bool:
        """Whether, where it is computed, it is news of a thing that has this source: nobody else has told of that."""
        return not source or source.startswith(COMPUTED_SOURCES)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, op: str, entity: str, type: str, attribute: str, value: Attribute) -> None:
        """Add what became of an attribute; without an observedAt its `at` is None."""
        kind, content = value.kind, value.value
        number: float | None = None
        text: str | None = None
        extra: str | None = None
        form = content.__class__
        if value.sub is not None or value.object_type is not None or kind not in _SCALARS:
            extra = _whole(value)
        if form is float or (form is int and -EXACT_INTEGER_MAX <= content <= EXACT_INTEGER_MAX):
            number = content
        elif form is str:
            text = content
        elif form is bool:
            kind, text = "B", "true" if content else "false"
        elif extra is None:
            extra = _whole(value)
        self.rows.append(
            (op, entity, type, attribute, kind, value.observed_at, number, text, extra, value.unit, value.marks)
        )

    def note(
        self, op: str, entity: str, type: str, attribute: str = "", extra: str | None = None, marks: int = 0
    ) -> None:
        """Add an operation that carries no value."""
        self.rows.append((op, entity, type, attribute, "", None, None, None, extra, None, marks))

    def encode(self) -> bytes:
        """The block as bytes: compressed MessagePack; a column whose rows are all alike stands once."""
        columns = [_once_if_alike(column) for column in zip(*self.rows, strict=True)]
        return zlib.compress(msgspec.msgpack.encode((self.head, len(self), columns)), COMPRESSION)

    @classmethod
    def decode(cls, payload: bytes) -> "Block":
        head, length, columns = msgspec.msgpack.decode(zlib.decompress(payload), type=tuple[Head, int, list[list[Any]]])
        block = cls(head.tenant, head.source, head.recorded_at)
        whole = [column * length if len(column) == 1 else column for column in columns]
        block.rows = list(zip(*whole, strict=True))
        return block

    def attributes(self) -> Iterator[tuple[str, str, str, str, Attribute]]:
        """Rows as (op, entity, type, attribute key, value)."""
        for op, entity, type_, attribute, kind, at, number, text, extra, unit, marks in self.rows:
            value = restored(kind, number, text, extra, unit, marks)
            value.observed_at = at
            yield op, entity, type_, attribute, value

    def entities(self) -> set[str]:
        """Ids of everything that the rows are about."""
        return {row[1] for row in self.rows}

    def late(self) -> list[int]:
        """Where rows stand that came too late to be current, but for computed ones: what corrects must be kept."""
        return [i for i, row in enumerate(self.rows) if row[0] == LATE and not row[-1] & _COMPUTED]

    def doubt(self, rows: range, attribute: str, suspect: bool) -> bool:
        """Say of what an attribute was set to in these rows that it is suspect, or not. False where it was not set."""
        told = [n for n in rows if self.rows[n][3] == attribute and self.rows[n][0] == SET]
        for n in told:
            *cells, marks = self.rows[n]
            self.rows[n] = (*cells, marks | Mark.SUSPECT if suspect else marks & ~Mark.SUSPECT)  # type: ignore[assignment]  # the star loses the types
        return bool(told)

    def drop(self, positions: set[int]) -> None:
        """Take rows out again before the block is written."""
        self.rows = [row for i, row in enumerate(self.rows) if i not in positions]

    def history(self, position: Position, late_only: bool = False) -> pl.DataFrame:
        """Rows that belong to history, as a frame of HISTORY_SCHEMA."""
        head, (lane, n) = self.head, position
        rows = [self.rows[i] for i in self.late()] if late_only else [row for row in self.rows if row[0] in (SET, LATE)]
        columns: dict[str, Sequence[Any]] = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {}
        if None in columns.get("at", ()):
            columns["at"] = [head.recorded_at if at is None else at for at in columns["at"]]
        shared = {"tenant": head.tenant, "recorded_at": head.recorded_at, "source": head.source, "lane": lane, "n": n}
        columns |= {name: (value,) * len(rows) for name, value in shared.items()}
        return pl.DataFrame([_series(name, columns.get(name, ())) for name in HISTORY_SCHEMA])


def _once_if_alike(column: Sequence[Any]) -> Sequence[Any]:
    return column[:1] if column.count(column[0]) == len(column) else column


def _series(name: str, column: Sequence[Any]) -> pl.Series:
    """A column of history; what is the same in all rows is not looked at row by row."""
    alike = _once_if_alike(column) if column else column
    made = pl.Series(name, alike, dtype=HISTORY_SCHEMA[name], strict=False, nan_to_null=True)
    return made.new_from_index(0, len(column)) if len(alike) < len(column) else made


_encode = msgspec.json.Encoder().encode
_ATTRIBUTE = msgspec.json.Decoder(Attribute)


def restored(
    kind: str, number: float | None, text: str | None, extra: str | None, unit: str | None, marks: int
) -> Attribute:
    """The attribute that a row of a block or of history tells of, without its times."""
    if extra:
        attribute = _ATTRIBUTE.decode(extra)
        attribute.observed_at, attribute.created_at, attribute.modified_at = None, 0, 0
        attribute.marks = marks
        return attribute
    if kind == "B":
        return Attribute(value=text == "true", unit=unit, marks=marks)
    return Attribute(kind=kind or "P", value=text if number is None else number, unit=unit, marks=marks)
