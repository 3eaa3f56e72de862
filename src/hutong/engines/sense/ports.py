"""What others may import of the sense engine: its nouns, its questions and the stores it needs.

Names of types and attributes are expanded URIs, except that the default vocabulary of NGSI-LD
(`https://uri.etsi.org/ngsi-ld/default-context/`) is left implicit: `occupancy` stands for that prefix plus
`occupancy`, and terms of the core @context stand for what it says (`location`, `description`); any other name is
stored whole and therefore contains a colon. Instants are microseconds since the epoch, UTC. An attribute with a
datasetId is keyed `name@datasetId`.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntFlag, StrEnum
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
import polars as pl

from hutong.kernel.errors import HutongError
from hutong.kernel.transactions import Transaction


class Mark(IntFlag):
    """What is to be said of a value beside the value itself. No mark: observed, and within its range."""

    SUSPECT = 1  # outside the declared range
    DERIVED = 2  # computed from other properties by a declared expression
    SIMULATED = 4  # made up, for a demonstration
    ENTERED = 8  # typed by a person
    FORECAST = 16


class Kind(StrEnum):
    """Kinds of NGSI-LD attribute (ETSI GS CIM 009, clause 4.5), by the letters under which they are stored."""

    PROPERTY = "P"
    GEO = "G"
    RELATIONSHIP = "R"
    LANGUAGE = "L"
    VOCAB = "V"
    JSON = "J"
    LIST = "T"
    LIST_RELATIONSHIP = "S"


class Attribute(
    msgspec.Struct,
    omit_defaults=True,
    gc=False,  # attributes never refer back to what holds them, and there are very many
    rename={
        "kind": "k",
        "value": "v",
        "observed_at": "o",
        "unit": "u",
        "created_at": "c",
        "modified_at": "m",
        "marks": "q",
        "object_type": "t",
        "sub": "s",
    },
):
    """One instance of an attribute as it is kept.

    `value` is JSON: the value of a property, GeoJSON of a geo property, the URI (or list of URIs) of a
    relationship, the language map of a language property. `unit` is a UN/CEFACT Recommendation 20 code.

    In a change, the value `urn:ngsi-ld:null` deletes the attribute or sub-attribute, and None inside a value of a
    MERGE deletes what stands there; sub-attributes `observedAt` and `unitCode` of that value take away these two. In a
    MERGE or PATCH, value None and kind "" mean as it was.
    """

    kind: str = "P"
    value: Any = None
    observed_at: int | None = None
    unit: str | None = None
    created_at: int = 0
    modified_at: int = 0
    marks: int = 0
    object_type: str | None = None
    sub: dict[str, "Attribute"] | None = None


class Entity(msgspec.Struct, kw_only=True):
    """A thing as it stands now. `lon`/`lat` are None when its place is unknown; `place` is an administrative code."""

    id: str
    types: tuple[str, ...]
    attributes: dict[str, Attribute]
    scopes: tuple[str, ...] = ()
    created_at: int = 0
    modified_at: int = 0
    observed_at: int | None = None
    version: int = 1
    city: str = ""
    place: str = ""
    lon: float | None = None
    lat: float | None = None
    source: str = ""


class Verb(StrEnum):
    """What a change does (ETSI GS CIM 009, clause 5.6)."""

    CREATE = "create"  # refused when the id is taken
    REPLACE = "replace"  # the attributes given become all there are
    APPEND = "append"  # adds attributes; existing ones are replaced unless overwrite is False
    UPDATE = "update"  # replaces existing attributes; others are reported as not updated
    MERGE = "merge"  # JSON merge patch, down to sub-attributes; null deletes
    PATCH = "patch"  # changes parts of existing attributes, keeping their other parts
    DELETE = "delete"
    DELETE_ATTRIBUTES = "delete_attributes"  # those named by the keys of `attributes`


class Change(msgspec.Struct, kw_only=True):
    """One wish to change one entity. `upsert`: create it when it does not exist. `all_datasets` goes with deletes."""

    verb: Verb
    id: str
    types: tuple[str, ...] = ()
    attributes: dict[str, Attribute] = {}
    scopes: tuple[str, ...] | None = None
    upsert: bool = False
    overwrite: bool = True
    all_datasets: bool = False


class Changed(msgspec.Struct, kw_only=True):
    """What became of one Change. `refused` maps attribute keys to the reason each was not taken."""

    id: str
    created: bool = False
    changed: tuple[str, ...] = ()
    refused: Mapping[str, HutongError] = {}
    error: HutongError | None = None


class ChangeEntities(msgspec.Struct, kw_only=True, tag="sense.change"):
    """Command: apply changes in order. The outcome is a list of Changed, one for each, in the same order.

    `source` names where the values come from (`api`, `form`, or a declared source); `marks` are set on all values.
    """

    changes: list[Change]
    tenant: str = ""
    source: str = "api"
    marks: int = 0


class Tick(msgspec.Struct, kw_only=True, tag="sense.tick"):
    """Command: let time pass for rules that wait for it (`for`, silence). The outcome is how many moved."""


class AlertAction(msgspec.Struct, kw_only=True, tag="sense.alert_action"):
    """Command: a person's answer to an alert. The outcome is the Alert as it stands then."""

    alert: str
    acknowledge: bool = False
    silence_until: int | None = None  # 0 ends a silence
    note: str = ""


# --- questions about entities ---------------------------------------------------------------------------------

Scalar: TypeAlias = str | int | float | bool
Comparison: TypeAlias = Literal["==", "!=", ">", ">=", "<", "<=", "~=", "!~="]


class Range(msgspec.Struct, frozen=True, tag="range"):
    """An inclusive range, `low..high`."""

    low: Scalar
    high: Scalar


class Compare(msgspec.Struct, frozen=True, tag="compare"):
    """`path` is the attribute's name and those of sub-attributes below it; `trail` leads into a JSON value.

    The last element of `path` may be one of `observedAt`, `createdAt`, `modifiedAt`, `unitCode`, `datasetId`.
    Several `values` mean any of them for `==`, none of them for `!=`.
    """

    path: tuple[str, ...]
    op: Comparison
    values: tuple[Scalar | Range, ...]
    trail: tuple[str, ...] = ()


class Exists(msgspec.Struct, frozen=True, tag="exists"):
    path: tuple[str, ...]
    trail: tuple[str, ...] = ()
    negated: bool = False


class AllOf(msgspec.Struct, frozen=True, tag="all"):
    parts: tuple["Compare | Exists | AllOf | AnyOf", ...]


class AnyOf(msgspec.Struct, frozen=True, tag="any"):
    parts: tuple["Compare | Exists | AllOf | AnyOf", ...]


Filter: TypeAlias = Compare | Exists | AllOf | AnyOf


class GeoFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A spatial condition (ETSI GS CIM 009, clause 4.10). `geometry` is GeoJSON; distances are in metres."""

    relation: Literal["near", "within", "contains", "intersects", "equals", "disjoint", "overlaps"]
    geometry: Mapping[str, Any]
    attribute: str = "location"
    distance_max: float | None = None
    distance_min: float | None = None


class Selector(msgspec.Struct, frozen=True, omit_defaults=True):
    """Entities of these ids, or ids of a pattern, and of these types (alternatives of types that must all be there)."""

    ids: tuple[str, ...] = ()
    id_pattern: str = ""
    types: tuple[tuple[str, ...], ...] = ()


class EntityQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entities. `types` is a disjunction of conjunctions; empty means any.

    `attributes`: the entity has at least one of them. Results come in order of creation; `offset` skips.
    """

    tenant: str = ""
    ids: tuple[str, ...] = ()
    id_pattern: str = ""
    types: tuple[tuple[str, ...], ...] = ()
    selectors: tuple[Selector, ...] = ()  # one of these besides
    attributes: tuple[str, ...] = ()
    where: Filter | None = None
    geo: GeoFilter | None = None
    scopes: tuple[tuple[str, ...], ...] = ()  # alternatives of scope queries: `/a/b`, `/a/+`, `/a/#`
    place: str = ""  # prefix of an administrative code
    first_types: tuple[str, ...] | None = None  # only entities that have one of these types first
    limit: int = 20
    offset: int = 0


# --- history --------------------------------------------------------------------------------------------------


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which observations. `begin` is inclusive, `end` exclusive, in the time named by `by`.

    `last`: only that many latest per entity and attribute, `first`: earliest. `limit` bounds the rows given back.
    `datasets`: instances of these attributes with a datasetId too, not only those of the very keys.
    `settled`: of several computed values of one instant only that recorded last, and none where it was taken back.
    """

    tenant: str = ""
    entities: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    begin: int | None = None
    end: int | None = None
    by: Literal["at", "recorded_at"] = "at"
    last: int | None = None
    first: int | None = None
    limit: int = 100_000
    datasets: bool = False
    settled: bool = False


Method: TypeAlias = Literal["totalCount", "distinctCount", "sum", "avg", "min", "max", "stddev", "sumsq"]


class Aggregation(msgspec.Struct, frozen=True):
    """Aggregate by `methods` in buckets of `period` microseconds and `months` (neither: one for the whole range).

    `texts`: what is no number counts too, as ETSI GS CIM 009, clause 4.5.19 says: arrays by their length, and the
    first and last of texts in two more columns, `min text` and `max text`; and `kind` tells the kind of the attribute.
    """

    methods: tuple[Method, ...]
    period: int = 0
    months: int = 0
    texts: bool = False


HISTORY_SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "tenant": pl.String,
    "entity": pl.String,
    "type": pl.String,
    "attribute": pl.String,  # attribute: key
    "at": pl.Int64,  # observedAt where given, else recorded_at
    "recorded_at": pl.Int64,
    "kind": pl.String,
    "number": pl.Float64,
    "text": pl.String,
    "extra": pl.String,  # JSON of the whole Attribute where number, text, unit and marks do not tell all of it
    "unit": pl.String,
    "marks": pl.UInt8,
    "source": pl.String,
    "lane": pl.String,
    "n": pl.Int64,  # the ledger row it came in
}
"""Columns of a history frame. Booleans stand in `text` as true/false with `kind` B, JSON numbers in `number`."""


class EntityRow(msgspec.Struct):
    """An entity as the store keeps it; `doc` is the JSON of its attributes (`dict[str, Attribute]`)."""

    tenant: str
    id: str
    type: str
    doc: str
    seq: int = 0
    types: str = ""  # JSON list when there is more than one
    scopes: str = ""  # JSON list
    city: str = ""
    place: str = ""
    lon: float | None = None
    lat: float | None = None
    west: float | None = None
    south: float | None = None
    east: float | None = None
    north: float | None = None
    version: int = 1
    created_at: int = 0
    modified_at: int = 0
    observed_at: int | None = None
    source: str = ""
    rules: str = ""  # JSON of the alert rules that are not inactive here: name -> RuleState


Form: TypeAlias = Literal["number", "text", "boolean"]
"""How a store reads a property's value out of a document."""


class InUse(msgspec.Struct, frozen=True):
    """How many instances of an attribute, of one kind, entities of a type have."""

    type: str
    attribute: str
    kind: str
    count: int


class EntityStore(Protocol):
    """Entities as they stand now."""

    def load(self, tx: Transaction, tenant: str, ids: Sequence[str]) -> dict[str, EntityRow]: ...

    def save(
        self, tx: Transaction, new: Sequence[EntityRow], known: Sequence[EntityRow], settled: Sequence[EntityRow] = ()
    ) -> None:
        """Write rows. Those `settled` are known ones whose types, scopes and place are as they were."""

    def delete(self, tx: Transaction, tenant: str, ids: Sequence[str]) -> None: ...

    def get(self, tenant: str, id: str) -> EntityRow | None: ...

    def find(self, query: EntityQuery) -> list[EntityRow]: ...

    def count(self, query: EntityQuery) -> int: ...

    def each(self) -> Iterator[EntityRow]:
        """Every entity in order of tenant and id, streamed."""

    def types(self, tenant: str) -> Mapping[str, int]:
        """Each type in use and how many entities have it."""

    def in_use(self, tenant: str, type: str, attribute: str) -> list[InUse]:
        """Attributes of entities of a type ("": any), or of a name, by type and kind; each type of an entity counts."""

    def table(
        self, type: str, columns: Sequence[str], properties: Mapping[str, Form], limit: int
    ) -> list[tuple[Any, ...]]:
        """Entities of a type in the tenant without a name, as rows of columns: their own, or values of properties."""

    def silent(self, type: str, before: int, rule: str, sources: Sequence[str], limit: int) -> list[EntityRow]:
        """Entities of a type, last observed before that instant, where the rule is not active yet.

        Only those that are live, or of one of these sources, which tell of the present.
        """

    def index(self, type: str, number: str) -> None:
        """See to it that comparisons of a declared number of a type find an index."""

    def index_silence(self, type: str) -> None:
        """See to it that `silent` finds an index."""


# --- alerts ---------------------------------------------------------------------------------------------------


class AlertState(StrEnum):
    PENDING = "pending"  # the condition holds, not yet for long enough
    FIRING = "firing"
    RESOLVED = "resolved"
    LAPSED = "lapsed"  # was pending and never fired


class Alert(msgspec.Struct, kw_only=True):
    """One time that a rule applied to one entity. `at` is the instant of its last move in the entity's own time."""

    id: str
    tenant: str = ""
    city: str = ""
    place: str = ""
    rule: str
    entity: str
    type: str
    severity: str
    state: str
    pending_since: int
    firing_since: int | None = None
    resolved_at: int | None = None
    at: int
    live: int = 1  # 0: the entity's observations are history that is being played back
    reason: str = ""  # JSON: the rule's text and the values it saw
    acknowledged_by: str = ""
    acknowledged_at: int | None = None
    silenced_until: int | None = None
    note: str = ""
    caused_by: str = ""


class AlertQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts, newest first. Silenced ones are left out unless asked for."""

    tenant: str = ""
    states: tuple[str, ...] = (AlertState.FIRING,)
    types: tuple[str, ...] = ()
    entity: str = ""
    rule: str = ""
    severity: str = ""
    silenced: bool = True
    rules: tuple[str, ...] | None = None  # only alerts of these
    limit: int = 100
    offset: int = 0


class AlertStore(Protocol):
    """Alerts, current and past."""

    def load(self, tx: Transaction, ids: Sequence[str]) -> dict[str, Alert]: ...

    def get(self, id: str) -> Alert | None: ...

    def save(self, tx: Transaction, alerts: Sequence[Alert]) -> None: ...

    def due(self, tx: Transaction, limit: int) -> list[Alert]:
        """Pending alerts of live entities."""

    def find(self, query: AlertQuery) -> list[Alert]: ...

    def count(self, query: AlertQuery) -> int: ...

    def each(self) -> Iterator[Alert]: ...
