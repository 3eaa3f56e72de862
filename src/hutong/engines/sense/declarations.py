"""What the sense engine reads in a pack: entities, sources, alerts, rollups, simulate, each in a file of its name."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from hutong.kernel.expressions.scales import ScalesFile
from hutong.kernel.packs import KEPT, NAMED, SHARED

PropertyType = Literal["integer", "number", "text", "boolean", "datetime", "point", "geometry", "relationship", "json"]
Grade = Literal["open", "agreement", "closed"]
Duration = Annotated[
    str,
    Meta(pattern=r"^\d+ ?(ms|s|min|h|d)$", examples=["10 min"], description="a duration: `10 min`, `36 h`, `400 d`"),
]


class PropertyDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """One property of an entity type."""

    type: Annotated[PropertyType, Meta(description="how its values look", extra=KEPT)]
    unit: Annotated[
        str,
        Meta(
            description="UN/CEFACT Recommendation 20 code; incoming values in a unit of the same "
            "quantity are converted to it",
            extra=KEPT,
        ),
    ] = ""
    min: Annotated[int | float | str | None, Meta(description="least value, a number or an expression")] = None
    max: Annotated[int | float | str | None, Meta(description="greatest value, a number or an expression")] = None
    outside: Annotated[
        Literal["suspect", "reject"],
        Meta(description="what becomes of a value outside its range: kept and marked, or refused"),
    ] = "suspect"
    values: Annotated[list[str] | None, Meta(description="the texts allowed", extra=NAMED)] = None
    derive: Annotated[str, Meta(description="expression that computes it; nobody else can set it then")] = ""
    grade: Annotated[
        Grade | None,
        Meta(
            description="who may see it; the type's grade when absent, and for a derived property the highest of "
            "that and of the properties that it is derived from"
        ),
    ] = None
    index: Annotated[bool, Meta(description="keep an index for queries that compare it")] = False


class QualityDeclaration(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """How often values of a type are expected. Assessments are things of the built-in type `DataQualityAssessment`.

    There is one for each property (`ofType`, `ofProperty`) and one for each source (`ofType`, `ofSource`), with
    `freshness` (seconds since the newest observation), `completeness` (received of expected), `validity` (share neither
    suspect nor out of range), `received`, `expected`, `silentThings`, `lastObserved`; alerts may be `on` that type.
    """

    expected_every: Annotated[Duration, Meta(description="time between two values of one property of one thing")]
    window: Annotated[Duration, Meta(description="how far back an assessment looks")] = "24 h"
    properties: Annotated[
        list[str], Meta(description="the properties assessed; all numbers that are not derived when left out")
    ] = []


class EntityDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """A type of thing."""

    property: Annotated[dict[str, PropertyDeclaration], Meta(description="its properties by name", extra=NAMED | KEPT)]
    grade: Annotated[Grade, Meta(description="who may see it by default")] = "closed"
    name: Annotated[str, Meta(description="the property that people read as its name")] = "name"
    headline: Annotated[list[str], Meta(description="properties shown first, most important first")] = field(
        default_factory=list
    )
    retention: Annotated[Duration, Meta(description="how long its history is kept; for ever when absent")] = ""
    quality: Annotated[
        QualityDeclaration | None, Meta(description="how often values are expected; its quality is assessed then")
    ] = None


class EntitiesFile(Struct, forbid_unknown_fields=True):
    """entities.toml"""

    entity: Annotated[
        dict[str, EntityDeclaration],
        Meta(
            description="types of things, named after Smart Data Models where one exists", extra=NAMED | SHARED | KEPT
        ),
    ]


Connector = Literal["http", "file", "mqtt", "http_poll", "prometheus", "sql"]
Payload = Literal["json", "csv", "geojson", "ngsi-ld", "prometheus", "number", "text"]


class SourceDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """Where values come from. `id`, `at`, `set` and the like tell how rows become values, whatever the connector."""

    connector: Annotated[
        Connector,
        Meta(
            description="the way in: the standard API (`http`), the folder of incoming files (`file`), an MQTT broker "
            "(`mqtt`), an address asked again and again (`http_poll`, `prometheus`), a database read on and on (`sql`)"
        ),
    ]
    entity: Annotated[str, Meta(description="the type of the things it tells of")]
    files: Annotated[
        list[str],
        Meta(
            description="names of the files it reads, with * and ?; those compressed with gzip may end in .gz besides"
        ),
    ] = field(default_factory=list)
    encoding: Annotated[Literal["utf-8", "gb18030"], Meta(description="the encoding of its texts")] = "utf-8"
    id: Annotated[
        str,
        Meta(
            description="template of the entity id over columns: `urn:ngsi-ld:OffStreetParking:{place_id}`; where "
            "there is an `at`, all rows may be of one thing"
        ),
    ] = ""
    set: Annotated[
        dict[str, str | list[str]],
        Meta(
            description="property = column, or an expression over columns, which are texts there: "
            "`cast(free as integer) - 1`; a point = [longitude, latitude]. What is empty is missing and left out, a "
            "point at 0, 0 too"
        ),
    ] = field(default_factory=dict)
    unit: Annotated[
        dict[str, str],
        Meta(
            description="property = code of the unit in which the source gives it, where that is not the declared "
            "one; may be a template over columns"
        ),
    ] = field(default_factory=dict)
    at: Annotated[
        str,
        Meta(
            description="the time of observation: a column, or an expression that gives a text. "
            "Without it, values are taken as true from now on"
        ),
    ] = ""
    format: Annotated[
        str,
        Meta(
            description="how times are written where not in ISO 8601, such as `%d.%m.%Y %H:%M`; "
            "`%s` counts seconds since 1970",
            pattern="%",
        ),
    ] = ""
    zone: Annotated[str, Meta(description="IANA time zone of times without offset; without it they are refused")] = ""
    datum: Annotated[
        Literal["wgs84", "gcj02"], Meta(description="the datum of its points; GCJ-02 is converted to WGS 84")
    ] = "wgs84"
    missing: Annotated[list[str], Meta(description="texts that stand for a missing value, as `NA` or `-999` do")] = (
        field(default_factory=list)
    )
    where: Annotated[str, Meta(description="expression over columns; rows that do not meet it are left out")] = ""
    silent_after: Annotated[Duration, Meta(description="without news for so long, its things are unavailable")] = ""
    connection: Annotated[
        str,
        Meta(
            description="name of the connection in the city's `connections.toml`, which holds address and secrets of "
            "the broker, server or database"
        ),
    ] = ""
    topic: Annotated[
        str,
        Meta(
            description="topic of the messages; a level in braces becomes a column: `parking/{place_id}/status`. `+` "
            "and `#` stand for what is no column"
        ),
    ] = ""
    qos: Annotated[
        Literal[0, 1, 2],
        Meta(
            description="quality of service of the subscription; from 1 on the broker keeps a message until it is "
            "stored here"
        ),
    ] = 1
    group: Annotated[
        str, Meta(description="name of a shared subscription: several processes divide the messages among them")
    ] = ""
    retained: Annotated[
        bool | None,
        Meta(
            description="whether to take messages that the broker kept from earlier; when left out, only those that "
            "tell their time by `at`"
        ),
    ] = None
    rate_max: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="messages a second at most; what is above waits at the broker"),
    ] = None
    payload: Annotated[
        Payload,
        Meta(
            description="how a message or an answer is written. JSON: an object, or a list of them; members of members "
            'are columns such as `"place.name"`. GeoJSON: columns are the properties, `geometry`, `longitude` and '
            '`latitude`. NGSI-LD: each attribute\'s value and `"name.observedAt"`. Prometheus: metrics and labels. '
            "A number or a text is the column `value`"
        ),
    ] = "json"
    rows: Annotated[
        str,
        Meta(
            description="where in a JSON document the rows are: `data.stations`; what stands beside them on the way "
            "belongs to each row"
        ),
    ] = ""
    url: Annotated[
        str, Meta(description="address to ask; with a `connection`, the part that comes after the address there")
    ] = ""
    every: Annotated[Duration, Meta(description="time between two questions")] = ""
    table: Annotated[str, Meta(description="table or view to read: `name` or `schema.name`")] = ""
    key: Annotated[
        list[str],
        Meta(
            description="columns by which the table grows, most significant first, unlike in any two rows: a serial "
            'number, or `["changed_at", "id"]`'
        ),
    ] = field(default_factory=list)


class SourcesFile(Struct, forbid_unknown_fields=True):
    """sources.toml"""

    source: Annotated[dict[str, SourceDeclaration], Meta(description="sources by name")]


class AlertDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """A rule that watches each entity of a type: inactive, pending, firing, resolved."""

    on: Annotated[str, Meta(description="the entity type it watches")]
    when: Annotated[
        str,
        Meta(
            description="expression; true raises the alert. `previous(x)` and `rate(x)` (per "
            "second) compare with the observation before"
        ),
    ] = ""
    silent_for: Annotated[Duration, Meta(description="instead of `when`: no observation for so long")] = ""
    hold: Annotated[Duration, Meta(description="`for`: how long the condition must hold before it fires")] = field(
        default="", name="for"
    )
    clear: Annotated[
        str, Meta(description="expression that ends it, where other than `when` being false (hysteresis)")
    ] = ""
    severity: Annotated[Literal["info", "warning", "critical"], Meta(description="how urgent it is")] = "warning"
    opens: Annotated[str, Meta(description="the case type that it opens")] = ""


class AlertsFile(Struct, forbid_unknown_fields=True):
    """alerts.toml"""

    alert: Annotated[dict[str, AlertDeclaration], Meta(description="rules by name", extra=NAMED)]


class RollupDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """Aggregates over history that are properties of a thing, with a history of their own.

    In `set` and `valid` stand aggregates over the period: avg, sum, min, max, count, stddev, first, last (`avg(pm25)`),
    `quantile(pm25, 0.98)`, `things(pm25)` (how many things told it), and of meters that only count up `increase(x)`
    (the sum of positive differences), `resets(x)` (how often it fell) and `gap(x)` (the longest time between two
    readings, seconds). `period_s` is the length of the period in seconds. A period without observations has no value.
    """

    on: Annotated[str, Meta(description="the type whose history it reads")]
    into: Annotated[
        str, Meta(description="the type whose things get the values; declared, like each property in `set`")
    ]
    period: Annotated[
        Literal["hour", "day", "week", "month", "year"],
        Meta(
            description="one value for each of these, in the city's time zone; weeks begin on Monday. The start of the "
            "period is the value's observedAt; `dateObservedFrom` and `dateObservedTo` are set where declared"
        ),
    ]
    window: Annotated[
        Duration, Meta(description="how far back each value reaches from the end of its period: a moving window")
    ] = ""
    by: Annotated[
        list[str],
        Meta(
            description="properties of the things, as they are now, by which all with the same values become one; "
            "things that lack one are left out. Without it, each thing has its own values"
        ),
    ] = field(default_factory=list)
    id: Annotated[
        str,
        Meta(
            description="template of the target's id over the names in `by`, or over `id` (the thing's whole id) and "
            "`local` (the last part of it): `urn:ngsi-ld:AirQualityDaily:{local}` when left out, or the values in `by`"
        ),
    ] = ""
    set: Annotated[
        dict[str, str],
        Meta(min_length=1, description='property of the target = expression over aggregates, as pm25 = "avg(pm25)"'),
    ]
    valid: Annotated[
        str,
        Meta(
            description="expression over aggregates; where it is not true, there is no value. An aggregate without "
            "arguments is of the first property that the value reads: `count() >= 20`"
        ),
    ] = ""
    valid_for: Annotated[
        dict[str, str], Meta(description="the same for single properties, in place of `valid`: pm25 = `count() >= 20`")
    ] = field(default_factory=dict)
    where: Annotated[
        str, Meta(description="expression over the things as they are now; only those for which it is true count")
    ] = ""
    suspects: Annotated[bool, Meta(description="whether suspect values, and those outside their range, count too")] = (
        False
    )
    carry: Annotated[
        list[str], Meta(description="properties that the target takes from the thing, such as name and location")
    ] = field(default_factory=list)
    running: Annotated[
        bool, Meta(description="whether a period has a value while it lasts, of what there is so far; else at its end")
    ] = False
    begins: Annotated[
        str, Meta(description="first day on which it holds, `2026-03-01`", pattern=r"^\d{4}-\d\d-\d\d$")
    ] = ""
    ends: Annotated[str, Meta(description="first day on which it no longer holds", pattern=r"^\d{4}-\d\d-\d\d$")] = ""


class RollupsFile(Struct, forbid_unknown_fields=True):
    """rollups.toml"""

    rollup: Annotated[dict[str, RollupDeclaration], Meta(description="rollups by name")]


class ForecastDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """What will be, by a method whose errors are measured on the past and told beside it.

    In `set` stand, for each step ahead: `value`, `lower` and `upper` (the interval); over all steps: `max(upper)`,
    likewise avg, sum, min, first, last; and of the method: `mae` (mean absolute error in a rolling backtest),
    `naive_mae` (of the last value held on), `skill` (1 - mae / naive_mae), `mase`, `coverage` (share of values within
    the interval), `backtested` (origins), `history` (periods with a value), and of the period that ended last `actual`
    and what was foretold of it, `was`, `was_lower`, `was_upper`. With less than two seasons of history there is none.
    Steps ahead are history of the target, marked as forecasts; its present state is the step that contains now.
    """

    on: Annotated[str, Meta(description="the type whose history it reads")]
    of: Annotated[str, Meta(description="expression over aggregates: the past, one value a period: avg(load)")]
    into: Annotated[str, Meta(description="the type of the things that hold forecasts, one for each thing")]
    id: Annotated[
        str, Meta(description="template of their ids over `id` and `local`: `urn:ngsi-ld:LoadForecast:{local}`")
    ] = ""
    period: Annotated[
        Literal["hour", "day", "week", "month", "year"], Meta(description="one value for each, in the city's time zone")
    ]
    season: Annotated[int, Meta(ge=1, le=10_000, description="periods after which things repeat: 24, or 168 of hours")]
    horizon: Annotated[int, Meta(ge=1, le=1_000, description="periods ahead, that which has begun counted")]
    method: Annotated[
        Literal["seasonal_naive"], Meta(description="how: seasonal_naive takes what was one season before")
    ] = "seasonal_naive"
    interval: Annotated[float, Meta(gt=0, lt=1, description="share of values that shall lie within lower to upper")] = (
        0.8
    )
    backtest: Annotated[int, Meta(ge=1, le=20_000, description="periods of the past that measure errors")] = 672
    set: Annotated[
        dict[str, str], Meta(min_length=1, description='property of the target = expression, as load = "value"')
    ]
    carry: Annotated[
        list[str], Meta(description="properties that the target takes from the thing, such as name and location")
    ] = field(default_factory=list)


class ForecastsFile(Struct, forbid_unknown_fields=True):
    """forecasts.toml"""

    forecast: Annotated[dict[str, ForecastDeclaration], Meta(description="forecasts by name")]


class SpreadDeclaration(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A number somewhere between two others; a whole one where its property is."""

    low: Annotated[float, Meta(description="the least")]
    high: Annotated[float, Meta(description="the greatest")]


Fixed: TypeAlias = bool | int | float | str | list[float | str] | SpreadDeclaration


class SeriesDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """How one simulated property moves."""

    low: Annotated[float | str, Meta(description="least value: a number, or an expression over the numbers in `fixed`")]
    high: Annotated[float | str, Meta(description="greatest value, likewise")]
    day: Annotated[
        list[float],
        Meta(
            description="24 shares of the way from low to high, one for each hour of a working day",
            min_length=24,
            max_length=24,
        ),
    ]
    rest: Annotated[
        Annotated[list[float], Meta(min_length=24, max_length=24)] | None,
        Meta(description="the same for days off; as on working days when absent"),
    ] = None
    counter: Annotated[
        bool,
        Meta(
            description="whether it only goes up, as a meter does: `low` and `high` are then what an hour adds at "
            "least and at most; without noise"
        ),
    ] = False
    noise: Annotated[float, Meta(ge=0, le=1, description="standard deviation as a share of the range")] = 0.05
    fault: Annotated[float, Meta(ge=0, le=1, description="share of the readings that lie above the range")] = 0.0


class SimulationDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """Things that a demonstration makes up. All that they tell is marked `simulated`.

    Whoever starts it gets the same things: chance is drawn from the simulation's name.
    """

    entity: Annotated[str, Meta(description="the type of the things")]
    things: Annotated[int, Meta(ge=1, le=100_000, description="how many")]
    id: Annotated[str, Meta(description="template of ids over `number`, from 1, and `code`, the administrative code")]
    fixed: Annotated[
        dict[str, Fixed],
        Meta(
            description="values set once: a constant, a list to draw from, `{ low = …, high = … }`, or a template "
            "over `number` and `district`, the name of the district in which it lies"
        ),
    ] = field(default_factory=dict)
    series: Annotated[dict[str, SeriesDeclaration], Meta(description="values that move")] = field(default_factory=dict)
    every: Annotated[Duration, Meta(description="time between two readings of a thing")]
    past: Annotated[Duration, Meta(description="history made at first start")] = "2 d"
    placed: Annotated[
        float, Meta(ge=0, le=1, description="share of the things that have a `location`, somewhere in the city")
    ] = 1.0
    silent: Annotated[float, Meta(ge=0, le=1, description="share of the things that no longer tell anything")] = 0.0
    outages: Annotated[
        float, Meta(ge=0, le=1, description="share of the days on which a thing tells nothing for two hours")
    ] = 0.0


class SimulateFile(Struct, forbid_unknown_fields=True):
    """simulate.toml"""

    simulate: Annotated[dict[str, SimulationDeclaration], Meta(description="simulations by name")]


FILES: Mapping[str, type[Struct]] = {
    "entities.toml": EntitiesFile,
    "sources.toml": SourcesFile,
    "alerts.toml": AlertsFile,
    "scales.toml": ScalesFile,
    "rollups.toml": RollupsFile,
    "forecasts.toml": ForecastsFile,
    "simulate.toml": SimulateFile,
}
