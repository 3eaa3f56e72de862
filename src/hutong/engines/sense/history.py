"""History and what amends it: the store that keeps it, the command that changes it, entities known by it alone."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec
import polars as pl

from hutong.engines.sense.ports import Aggregation, Attribute, EntityQuery, Filter, GeoFilter, HistoryQuery
from hutong.kernel.transactions import Transaction


class Strike(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an amendment takes out of an entity's history, among the rows that came before it.

    All of it; or one attribute (`datasets`: whatever its datasetId); or, with `at`, the one observation that agrees in
    kind, number, text and extra too.
    """

    entity: str
    attribute: str = ""
    datasets: bool = False
    at: int | None = None
    kind: str = ""
    number: float | None = None
    text: str | None = None
    extra: str | None = None


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """A strike with its place in the ledger."""

    strike: Strike
    tenant: str
    lane: str
    n: int
    recorded_at: int


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of history up to a moment, as many as a page takes.

    `until`: the time of the last row where there are more, else None. `there`: entity, attribute and kind of all that
    has rows in the whole range, told only where there are more.
    """

    rows: pl.DataFrame
    until: int | None = None
    there: tuple[tuple[str, str, str], ...] = ()


class Instance(msgspec.Struct, kw_only=True):
    """One instance for an entity's history. `id` and `at` are given where it takes the place of one that is there."""

    key: str
    value: Attribute
    id: str = ""
    at: int | None = None


class AmendHistory(msgspec.Struct, kw_only=True, tag="sense.amend_history"):
    """Command: take instances out of an entity's history, and put others in; its present stays as it is.

    `upsert`: an entity unknown so far becomes known by its history. `forgotten`: the whole entity (`*`) or an attribute
    whose deletions are forgotten too. The outcome is whether the entity was unknown, or NotFound.
    """

    id: str
    tenant: str = ""
    types: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    instances: list[Instance] = []
    strikes: tuple[Strike, ...] = ()
    forgotten: str = ""
    upsert: bool = False
    source: str = "api"


INSTANCE = "urn:ngsi-ld:Instance:"
_INSTANCE_ID = re.compile(INSTANCE + "([0-9a-f]{16})[0-9a-f]{16}").fullmatch
_EARLIEST = 1 << 63  # so that instants before 1970 are written without a sign
_kept_id = re.compile(r'"i":"([^"]+)"}$').search  # at the end, where it can stand in no value


def kept_id(extra: str | None) -> str:
    """The instance id that an amended row keeps in `extra`; "" where the row was never amended."""
    found = _kept_id(extra) if extra else None
    return found[1] if found else ""


def instance_id(row: Mapping[str, Any]) -> str:
    """The id of the observation in a row of history: its instant and a hash of what makes it itself.

    Nothing is stored for it, but in rows that were amended, which keep the id that they had.
    """
    extra = row["extra"]
    if kept := kept_id(extra):
        return kept
    content = repr([row[name] for name in ("tenant", "entity", "attribute", "at", "kind", "number", "text")])
    digest = hashlib.blake2b(f"{content}{extra or ''}".encode(), digest_size=8).hexdigest()
    return f"{INSTANCE}{row['at'] + _EARLIEST:016x}{digest}"


def instant_of(id: str) -> int | None:
    """The instant that an instance id names; None where it names none."""
    found = _INSTANCE_ID(id)
    return int(found[1], 16) - _EARLIEST if found else None


class HistoryWriter(Protocol):
    """What the writer's thread needs of history; each returns at once."""

    def room(self, rows: int) -> None:
        """Return if so many rows may come; asked before they are committed. Raises Overloaded, StorageFull."""

    def append(self, rows: pl.DataFrame) -> None:
        """Take committed rows (HISTORY_SCHEMA) into the recent part; they are visible at once."""

    def strike_room(self, strikes: int) -> None:
        """Return if so many strikes may come. Raises Overloaded."""

    def strike(self, struck: Sequence[Struck]) -> None:
        """Take rows away by committed amendments; they are gone at once, and from files later."""

    def repeated(self, rows: pl.DataFrame) -> pl.Series:
        """Boolean for each row: the same tenant, entity, attribute, at, kind, number and text is there already."""


class HistoryStore(HistoryWriter, Protocol):
    """History over what is compacted and what is not yet, as one."""

    def read(self, query: HistoryQuery) -> pl.DataFrame:
        """Rows of HISTORY_SCHEMA, sorted by entity, attribute, at; exact repeats appear once."""

    def page(self, query: HistoryQuery, rows: int) -> HistoryPage:
        """About `rows` of the earliest rows (with `last`, the latest), all of any moment or none of it.

        Raises TooLarge where more than `query.limit` share a moment.
        """

    def instance(self, query: HistoryQuery, id: str) -> pl.DataFrame:
        """Rows among those asked for that were given this instance id when they were amended."""

    def moments(self, tenant: str, entity: str, moments: Sequence[tuple[str, int]]) -> pl.DataFrame:
        """Rows of an entity that are of one of these attributes (keys) at its instant."""

    def matching(self, query: HistoryQuery, where: Filter | None, geo: GeoFilter | None) -> list[str]:
        """Those entities asked for, sorted, that have rows in the range, and among them values that pass the filters.

        `query.attributes`: at least one row must be of these; filters look at all attributes.
        """

    def aggregate(self, query: HistoryQuery, how: Aggregation) -> pl.DataFrame:
        """Columns entity, attribute, bucket (start, microseconds), then one Float64 column per method.

        With `months` also `until`, where a bucket ends.
        """

    def forget(self, tenant: str, entity: str) -> None:
        """Erase an entity's history."""


class Past(msgspec.Struct, kw_only=True, frozen=True, tag_field="change", tag="past"):
    """An entity known by its history: deleted, or never told of as present. Its types and scopes beside its rows."""

    tenant: str = ""
    id: str
    type: str
    types: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    place: str = ""
    created_at: int = 0
    modified_at: int = 0
    deleted_at: int | None = None


class Deletion(msgspec.Struct, kw_only=True, frozen=True, tag_field="change", tag="deletion"):
    """That an attribute of an entity was deleted, and of which kind it was."""

    tenant: str = ""
    entity: str
    attribute: str
    kind: str
    at: int


class Forgotten(msgspec.Struct, kw_only=True, frozen=True, tag_field="change", tag="forgotten"):
    """That an entity's past was taken away: all of it, or the deletions of one attribute."""

    tenant: str = ""
    entity: str
    attribute: str = ""
    datasets: bool = False


PastChange: TypeAlias = Past | Deletion | Forgotten


class PastStore(Protocol):
    """What is known of entities beside their history and their present."""

    def load(self, tx: Transaction, tenant: str, ids: Sequence[str]) -> dict[str, Past]: ...

    def apply(self, tx: Transaction, changes: Sequence[PastChange]) -> None:
        """Bring the store up to date, change by change."""

    def get(self, tenant: str, id: str) -> Past | None: ...

    def deletions(self, tenant: str, ids: Sequence[str]) -> list[Deletion]:
        """In order of entity, attribute and time."""

    def known(self, query: EntityQuery, after: str, limit: int) -> list[Past]:
        """Entities, present or past, by id, with an id after that one; filters on values are not looked at."""

    def each(self) -> Iterator[Past]: ...

    def each_deletion(self) -> Iterator[Deletion]: ...
