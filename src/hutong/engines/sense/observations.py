"""Blocks of observations: the columnar payload of a `sense.changed` event, and what it does to state and history."""

import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import polars as pl

from hutong.engines.sense.ports import HISTORY_SCHEMA, Attribute
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


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What all rows of a block share."""

    format: int
    tenant: str
    source: str
    recorded_at: int


class Block:
    """Rows under construction, or read back. Columns are plain lists of equal length."""

    def __init__(self, tenant: str, source: str, recorded_at: int) -> None:
        self.head = Head(FORMAT, tenant, source, recorded_at)
        self.columns: tuple[list[Any], ...] = tuple([] for _ in _COLUMNS)
        (
            self.op,
            self.entity,
            self.type,
            self.attribute,
            self.kind,
            self.at,
            self.number,
            self.text,
            self.extra,
            self.unit,
            self.marks,
        ) = self.columns

    def __len__(self) -> int:
        return len(self.op)

    def add(self, op: str, entity: str, type: str, attribute: str, value: Attribute) -> None:
        """Add what became of an attribute; without an observedAt its `at` is None."""
        kind, number, text, extra, content = value.kind, None, None, None, value.value
        form = content.__class__
        if value.sub is not None or value.object_type is not None or kind not in _SCALARS:
            extra = msgspec.json.encode(value).decode()
        if form is float or (form is int and -EXACT_INTEGER_MAX <= content <= EXACT_INTEGER_MAX):
            number = content
        elif form is str:
            text = content
        elif form is bool:
            kind, text = "B", "true" if content else "false"
        elif extra is None:
            extra = msgspec.json.encode(value).decode()
        for column, item in zip(
            self.columns,
            (op, entity, type, attribute, kind, value.observed_at, number, text, extra, value.unit, value.marks),
            strict=True,
        ):
            column.append(item)

    def note(
        self, op: str, entity: str, type: str, attribute: str = "", extra: str | None = None, marks: int = 0
    ) -> None:
        """Add an operation that carries no value."""
        for column, item in zip(
            self.columns, (op, entity, type, attribute, "", None, None, None, extra, None, marks), strict=True
        ):
            column.append(item)

    def encode(self) -> bytes:
        """The block as bytes: compressed MessagePack; a column whose rows are all alike stands once."""
        columns = [column[0:1] if column.count(column[0]) == len(column) else column for column in self.columns]
        return zlib.compress(msgspec.msgpack.encode((self.head, len(self), columns)), COMPRESSION)

    @classmethod
    def decode(cls, payload: bytes) -> "Block":
        head, length, columns = msgspec.msgpack.decode(zlib.decompress(payload), type=tuple[Head, int, list[list[Any]]])
        block = cls(head.tenant, head.source, head.recorded_at)
        for mine, column in zip(block.columns, columns, strict=True):
            mine.extend(column * length if len(column) == 1 and length > 1 else column)
        return block

    def attributes(self) -> Iterator[tuple[str, str, str, str, Attribute]]:
        """Rows as (op, entity, type, attribute key, value)."""
        for op, entity, type_, attribute, kind, at, number, text, extra, unit, marks in zip(*self.columns, strict=True):
            value = restored(kind, number, text, extra, unit, marks)
            value.observed_at = at
            yield op, entity, type_, attribute, value

    def drop(self, positions: set[int]) -> None:
        """Take rows out again before the block is written."""
        for column in self.columns:
            column[:] = [item for i, item in enumerate(column) if i not in positions]

    def history(self, position: Position, late_only: bool = False) -> pl.DataFrame:
        """Rows that belong to history, as a frame of HISTORY_SCHEMA."""
        frame = pl.DataFrame(
            {
                "entity": self.entity,
                "type": self.type,
                "attribute": self.attribute,
                "at": self.at,
                "kind": self.kind,
                "number": pl.Series(self.number, dtype=pl.Float64, strict=False),
                "text": self.text,
                "extra": self.extra,
                "unit": self.unit,
                "marks": self.marks,
                "op": self.op,
            },
            schema_overrides={**HISTORY_SCHEMA, "op": pl.String},
            nan_to_null=True,
        )
        head = self.head
        frame = frame.filter(pl.col("op").is_in([LATE] if late_only else [SET, LATE])).with_columns(
            at=pl.col("at").fill_null(head.recorded_at),
            tenant=pl.lit(head.tenant),
            recorded_at=pl.lit(head.recorded_at, pl.Int64),
            source=pl.lit(head.source),
            lane=pl.lit(position.lane),
            n=pl.lit(position.n, pl.Int64),
        )
        return frame.select(list(HISTORY_SCHEMA))


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
