"""Temporal questions and representations (clauses 4.5.7 to 4.5.9, 4.5.19, 4.11, 5.2.21, 5.7.3, 5.7.4)."""

from typing import Any
from urllib.parse import parse_qs

import msgspec
import polars as pl
import pytest

from hutong.engines.sense.history import Deletion, HistoryPage, Past, instance_id, instant_of
from hutong.engines.sense.ports import HISTORY_SCHEMA, Aggregation, Attribute, HistoryQuery, Mark
from hutong.kernel.clock import DAY, HOUR, MINUTE, SECOND, instant
from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Contexts
from hutong.standards.ngsi_ld.errors import InvalidRequest, TooManyResults
from hutong.standards.ngsi_ld.histories import content_range, write_aggregated, write_deleted, write_temporal
from hutong.standards.ngsi_ld.temporal import (
    INSTANCES_MAX,
    TemporalQuery,
    read_duration,
    read_history,
    read_temporal_query,
    read_temporal_query_body,
    read_temporal_retrieval,
)
from hutong.standards.ngsi_ld.uris import NULL

CONTEXTS = Contexts()
ID = "urn:ngsi-ld:Vehicle:1"
T0, T1 = "2020-08-01T12:03:00Z", "2020-08-01T12:05:00Z"
EARLY = "2020-07-01T00:00:00Z"
CAR = Past(id=ID, type="Vehicle", types=("Vehicle",))


def retrieve(text: str) -> TemporalQuery:
    return read_temporal_retrieval(parse_qs(text), CORE_CONTEXT)


def query(text: str) -> TemporalQuery:
    return read_temporal_query(parse_qs(text), CORE_CONTEXT)


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("", None, None),
        (f"timerel=before&timeAt={T1}", None, instant(T1)),
        (f"timerel=after&timeAt={T1}", instant(T1), None),
        ("timerel=after&timeAt=2020-08-01T12:05:00.000Z", instant(T1), None),
        ("timerel=after&timeAt=2020-08-01T20:05:00+08:00", instant(T1), None),
        (f"timerel=between&timeAt={T0}&endTimeAt={T1}", instant(T0), instant(T1)),
    ],
)
def test_times_are_bounds(text: str, begin: int | None, end: int | None) -> None:
    asked = retrieve(text)
    assert (asked.begin, asked.end, asked.by) == (begin, end, "at")


def test_the_question_to_the_store() -> None:
    asked = retrieve("attrs=b,a&lastN=3&timeproperty=modifiedAt")
    assert asked.history("t", [ID]) == HistoryQuery(
        tenant="t",
        entities=(ID,),
        attributes=("a", "b"),
        by="recorded_at",
        last=3,
        limit=INSTANCES_MAX,
        datasets=True,
    )
    assert retrieve("pick=id,a").history("", [ID]).attributes == ("a",)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("timerel=after", "timeAt"),
        (f"timerel=between&timeAt={T0}", "endTimeAt"),
        (f"timerel=between&timeAt={T1}&endTimeAt={T0}", "endTimeAt"),
        (f"timerel=since&timeAt={T0}", "timerel"),
        (f"timeAt={T0}", "timeAt"),
        ("timerel=after&timeAt=2020-08-01", "timeAt"),
        ("timerel=after&timeAt=2020-08-01T12:00:00", "timeAt"),
        ("lastN=0", "lastN"),
        ("lastN=1.5", "lastN"),
        ("format=aggregatedValues", "aggrMethods"),
        ("format=aggregatedValues&aggrMethods=bogus", "aggrMethods"),
        ("format=aggregatedValues&aggrMethods=avg&aggrPeriodDuration=1h", "aggrPeriodDuration"),
    ],
)
def test_bad_times_are_bad_request_data(text: str, where: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        retrieve(text)
    assert raised.value.fault.where == where


@pytest.mark.parametrize(
    "text",
    [
        "format=nope",
        "options=nope",
        "options=temporalValues,nope",
        "options=temporalValues,aggregatedValues",
        "timeproperty=x",
    ],
)
def test_representations_that_there_are_not(text: str) -> None:
    with pytest.raises(InvalidRequest):
        retrieve(text)


def test_a_query_must_name_a_time_and_something_narrow() -> None:
    with pytest.raises(InvalidInput) as raised:
        query("type=A")
    assert raised.value.fault.where == "timerel"
    with pytest.raises(InvalidInput, match="too wide"):
        query(f"timerel=after&timeAt={T0}")
    assert query(f"type=A&timerel=after&timeAt={T0}&limit=3").entities is not None
    with pytest.raises(TooManyResults):
        query(f"type=A&timerel=after&timeAt={T0}&limit=5000")


def test_a_query_in_a_body() -> None:
    body: dict[str, Any] = {
        "type": "Query",
        "entities": [{"type": "Vehicle"}, {"type": "Bus"}],
        "temporalQ": {"timerel": "between", "timeAt": T0, "endTimeAt": T1, "lastN": 5},
        "aggrParams": {"aggrMethods": ["avg", "max"], "aggrPeriodDuration": "PT1H"},
    }
    asked = read_temporal_query_body(body, {"format": ["aggregatedValues"]}, CORE_CONTEXT)
    assert asked.entities is not None
    assert asked.entities.types == (("Vehicle",), ("Bus",))
    assert (asked.begin, asked.end, asked.last) == (instant(T0), instant(T1), 5)
    assert asked.aggregation == Aggregation(methods=("avg", "max"), period=HOUR, texts=True)
    for wrong in ({"lastN": 0}, {"lastN": 1.5}, {"timerel": "x"}, {"foo": 1}):
        with pytest.raises(InvalidInput):
            read_temporal_query_body({**body, "temporalQ": {**body["temporalQ"], **wrong}}, {}, CORE_CONTEXT)


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("PT0S", 0),
        ("P0D", 0),
        ("P1D", DAY),
        ("P2W", 14 * DAY),
        ("PT15M", 15 * MINUTE),
        ("P1DT2H3M4.5S", DAY + 2 * HOUR + 3 * MINUTE + 4 * SECOND + SECOND // 2),
    ],
)
def test_durations(text: str, period: int) -> None:
    assert read_duration(text, "x") == (0, period)


def test_months_and_years_have_no_fixed_length() -> None:
    assert read_duration("P1Y2M", "x") == (14, 0)
    assert read_duration("P1MT6H", "x") == (1, 6 * HOUR)
    with pytest.raises(InvalidInput):
        read_duration("P200Y", "x")


@pytest.mark.parametrize(
    ("text", "error"),
    [("", InvalidInput), ("P", InvalidInput), ("PT", InvalidInput), ("1D", InvalidInput), ("PT1D", InvalidInput),
     ("P-1D", InvalidInput), ("P1W1D", InvalidInput)],
)  # fmt: skip
def test_what_is_no_duration(text: str, error: type[HutongError]) -> None:
    with pytest.raises(error):
        read_duration(text, "x")


def row(
    attribute: str, at: str, *, entity: str = ID, recorded: str = "2020-08-02T00:00:00Z", **columns: Any
) -> dict[str, Any]:
    empty = dict.fromkeys(HISTORY_SCHEMA)
    told = {"tenant": "", "entity": entity, "type": "Vehicle", "attribute": attribute, "at": instant(at)}
    return {**empty, **told, "recorded_at": instant(recorded), "kind": "P", "marks": 0, **columns}


def frame(*rows: dict[str, Any]) -> HistoryPage:
    return HistoryPage(rows=pl.DataFrame(list(rows), schema=HISTORY_SCHEMA))


def extra(attribute: Attribute) -> str:
    return msgspec.json.encode(attribute).decode()


LANGUAGE = {"zh": "是", "en": "yes"}
HISTORY = frame(
    row("charging", T0, kind="B", text="true"),
    row("json", T0, kind="J", extra=extra(Attribute(kind="J", value={"id": "x"}, observed_at=instant(T0)))),
    row("list", T0, kind="T", extra=extra(Attribute(kind="T", value=[1, 2], observed_at=instant(T0)))),
    row("location", T0, kind="G", extra=extra(Attribute(kind="G", value={"type": "Point", "coordinates": [1, 2]},
                                                         observed_at=instant(T0)))),
    row("owner", T0, kind="R", text="urn:p:1"),
    row("says", T0, kind="L", extra=extra(Attribute(kind="L", value=LANGUAGE, observed_at=instant(T0)))),
    row("speed", T0, number=120.0, unit="KMH"),
    row("speed", T1, number=80.5, unit="KMH", marks=int(Mark.SUSPECT)),
    row("speed@urn:d:gps", T1, number=81.0),
    row("status", "2020-08-02T00:00:00Z", text="parked"),
    row("vocab", T0, kind="V", extra=extra(Attribute(kind="V", value="Male", observed_at=instant(T0)))),
)  # fmt: skip


def test_the_normalized_temporal_representation() -> None:
    [told] = write_temporal(HISTORY, [CAR], CORE_CONTEXT, retrieve(""))
    ids = [instance.pop("instanceId") for name, some in told.items() if name not in ("id", "type") for instance in some]
    assert len(set(ids)) == len(ids) == 11
    assert (told["id"], told["type"]) == (ID, "Vehicle")
    assert told["speed"] == [
        {"type": "Property", "value": 120, "observedAt": T0, "unitCode": "KMH"},
        {"type": "Property", "value": 80.5, "observedAt": T1, "unitCode": "KMH",
         "quality": {"type": "Property", "value": "suspect"}},
        {"type": "Property", "value": 81, "observedAt": T1, "datasetId": "urn:d:gps"},
    ]  # fmt: skip
    assert told["charging"][0]["value"] is True
    assert told["owner"] == [{"type": "Relationship", "object": "urn:p:1", "observedAt": T0}]
    assert told["status"] == [{"type": "Property", "value": "parked", "modifiedAt": "2020-08-02T00:00:00Z"}]
    assert told["says"][0] == {"type": "LanguageProperty", "languageMap": LANGUAGE, "observedAt": T0}


def test_the_simplified_temporal_representation() -> None:
    [told] = write_temporal(HISTORY, [CAR], CORE_CONTEXT, retrieve("options=temporalValues"))
    assert told["charging"] == {"type": "Property", "values": [[True, T0]]}
    assert told["json"] == {"type": "JsonProperty", "jsons": [[{"json": {"id": "x"}}, T0]]}
    assert told["list"] == {"type": "ListProperty", "valueLists": [[[1, 2], T0]]}
    assert told["location"] == {"type": "GeoProperty", "values": [[{"type": "Point", "coordinates": [1, 2]}, T0]]}
    assert told["owner"] == {"type": "Relationship", "objects": [["urn:p:1", T0]]}
    assert told["says"] == {"type": "LanguageProperty", "languageMaps": [[{"languageMap": LANGUAGE}, T0]]}
    assert told["vocab"] == {"type": "VocabProperty", "vocabs": [[{"vocab": "Male"}, T0]]}
    assert told["speed"] == [
        {"type": "Property", "values": [[120, T0], [80.5, T1]]},
        {"type": "Property", "values": [[81, T1]], "datasetId": "urn:d:gps"},
    ]


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("attrs=speed", {"id", "type", "speed"}),
        ("pick=speed", {"speed"}),
        ("pick=id,owner", {"id", "owner"}),
        ("omit=type,charging,json,list,location,says,status,vocab,speed", {"id", "owner"}),
        ("datasetId=urn:d:gps", {"id", "type", "speed"}),
    ],
)
def test_members_are_chosen(text: str, members: set[str]) -> None:
    [told] = write_temporal(HISTORY, [CAR], CORE_CONTEXT, retrieve(text))
    assert set(told) == members


def test_instances_are_chosen_by_dataset() -> None:
    [told] = write_temporal(HISTORY, [CAR], CORE_CONTEXT, retrieve("attrs=speed&datasetId=@none&format=temporalValues"))
    assert told["speed"] == {"type": "Property", "values": [[120, T0], [80.5, T1]]}


def test_entities_without_history_are_left_out() -> None:
    other = Past(id="urn:ngsi-ld:Vehicle:2", type="Vehicle", types=("Vehicle",))
    told = write_temporal(HISTORY, [other, CAR], CORE_CONTEXT, retrieve(""))
    assert [one["id"] for one in told] == [ID]


def test_a_page_tells_its_range_and_what_else_there_is() -> None:
    """Clause 6.3.10: within the range all is told, and what has nothing in it is an empty array."""
    page = HistoryPage(
        rows=frame(row("speed", T0, number=1.0)).rows,
        until=instant(T0),
        there=((ID, "speed", "P"), (ID, "owner", "R"), ("urn:ngsi-ld:Vehicle:2", "speed", "P")),
    )
    other = Past(id="urn:ngsi-ld:Vehicle:2", type="Vehicle", types=("Vehicle",))
    told = write_temporal(page, [CAR, other], CORE_CONTEXT, retrieve(""))
    assert [len(told[0]["speed"]), told[0]["owner"], told[1]["speed"]] == [1, [], []]
    values = write_temporal(page, [other], CORE_CONTEXT, retrieve("format=temporalValues"))
    assert values[0]["speed"] == {"type": "Property", "values": []}
    for text, covered in (
        ("", f"{T0}-{T0}/*"),
        (f"timerel=after&timeAt={EARLY}", f"{EARLY}-{T0}/*"),
        (f"timerel=before&timeAt={T1}&lastN=7", f"{T1}-{T0}/7"),
        ("lastN=7", f"{T0}-{T0}/7"),
    ):
        assert content_range(page, retrieve(text)) == f"date-time {covered}"
    assert content_range(HISTORY, retrieve("")) == ""


def test_an_instance_keeps_its_id_when_it_was_amended() -> None:
    kept = msgspec.json.encode({**msgspec.to_builtins(Attribute(value=5, created_at=1, modified_at=2)), "i": "urn:i:1"})
    amended = row("speed", T0, number=5.0, extra=kept.decode())
    assert instance_id(amended) == "urn:i:1"
    plain, other = row("speed", T0, number=5.0), row("speed", T0, number=6.0)
    assert instance_id(plain) != instance_id(other)
    assert instant_of(instance_id(plain)) == instant(T0)
    assert instant_of("urn:i:1") is None
    hostile = row("speed", T0, extra=extra(Attribute(value={"i": "urn:i:1"})))
    assert instance_id(hostile) != "urn:i:1"


def test_deletions_are_told_as_null() -> None:
    at = "2026-05-01T10:00:00Z"
    gone = [
        Deletion(entity=ID, attribute="name", kind="L", at=instant(at)),
        Deletion(entity=ID, attribute="speed@urn:d:gps", kind="P", at=instant(at)),
    ]
    [told] = write_deleted(gone, [CAR], CORE_CONTEXT, retrieve("timeproperty=deletedAt"))
    assert told["name"] == [{"type": "LanguageProperty", "languageMap": {"@none": NULL}, "deletedAt": at}]
    assert told["speed"] == [{"type": "Property", "value": NULL, "datasetId": "urn:d:gps", "deletedAt": at}]
    ended = msgspec.structs.replace(CAR, deleted_at=instant(at))
    assert write_deleted([], [CAR, ended], CORE_CONTEXT, retrieve("timeproperty=deletedAt")) == [
        {"id": ID, "type": "Vehicle", "deletedAt": at}
    ]


@pytest.mark.parametrize(
    ("member", "keys"),
    [
        ([{"type": "Property", "value": 1, "observedAt": T0}, {"value": 2, "observedAt": T1}], ["speed", "speed"]),
        ([{"value": 1, "datasetId": "urn:d:1"}, {"value": 1}], ["speed@urn:d:1", "speed"]),
        ({"value": 1}, ["speed"]),
    ],
)
def test_instances_are_read(member: Any, keys: list[str]) -> None:
    body = msgspec.json.encode({"id": ID, "type": "Vehicle", "scope": "/a", "speed": member})
    told = read_history(body, CONTEXTS, CORE_CONTEXT)
    assert [one.key for one in told.instances] == keys
    assert (told.id, told.types, told.scopes) == (ID, ("Vehicle",), ("/a",))


@pytest.mark.parametrize(
    "raw", [{"id": ID, "speed": []}, {"id": ID, "type": "V", "speed": [1]}, {"type": "V"}, {"id": "x", "type": "V"}]
)
def test_what_is_no_history(raw: Any) -> None:
    with pytest.raises(InvalidInput):
        read_history(msgspec.json.encode(raw), CONTEXTS, CORE_CONTEXT)


def buckets(*rows: tuple[str, str, float | None, float | None]) -> pl.DataFrame:
    told = [
        (ID, attribute, instant(at), avg, count, "R" if attribute == "owner" else "P")
        for attribute, at, avg, count in rows
    ]
    return pl.DataFrame(told, schema=["entity", "attribute", "bucket", "avg", "totalCount", "kind"], orient="row")


AGGREGATED = "format=aggregatedValues&aggrMethods=avg,totalCount&aggrPeriodDuration=PT1H"


def test_the_aggregated_representation() -> None:
    found = buckets(("speed", T0, 100.0, 3.0), ("speed", "2020-08-01T13:03:00Z", 53.0, 1.0), ("owner", T0, None, 2.0),
                    ("speed@urn:d:gps", T0, 81.0, 1.0))  # fmt: skip
    [told] = write_aggregated(found, [CAR], CORE_CONTEXT, retrieve(AGGREGATED), now=instant("2020-08-03T00:00:00Z"))
    hours = ["2020-08-01T12:03:00Z", "2020-08-01T13:03:00Z", "2020-08-01T14:03:00Z"]
    assert told["speed"] == [
        {
            "type": "Property",
            "avg": [[100.0, hours[0], hours[1]], [53.0, hours[1], hours[2]]],
            "totalCount": [[3, hours[0], hours[1]], [1, hours[1], hours[2]]],
        },
        {"type": "Property", "avg": [[81.0, hours[0], hours[1]]], "totalCount": [[1, hours[0], hours[1]]],
         "datasetId": "urn:d:gps"},
    ]  # fmt: skip
    assert told["owner"] == {"type": "Relationship", "totalCount": [[2, hours[0], hours[1]]]}


def test_one_period_spans_the_whole_range() -> None:
    found = buckets(("speed", T0, 100.0, 3.0))
    whole = "format=aggregatedValues&aggrMethods=avg&aggrPeriodDuration=PT0S"
    now = instant("2020-08-03T00:00:00Z")
    [told] = write_aggregated(found, [CAR], CORE_CONTEXT, retrieve(whole), now)
    assert told["speed"]["avg"] == [[100.0, T0, "2020-08-03T00:00:00Z"]]
    [told] = write_aggregated(found, [CAR], CORE_CONTEXT, retrieve(f"{whole}&timerel=before&timeAt={T1}"), now)
    assert told["speed"]["avg"] == [[100.0, T0, T1]]


def test_an_attribute_that_no_method_fits_is_left_out_unless_asked_for() -> None:
    found = buckets(("name", T0, None, None), ("speed", T0, 1.0, 1.0))
    [told] = write_aggregated(found, [CAR], CORE_CONTEXT, retrieve(AGGREGATED), now=0)
    assert set(told) == {"id", "type", "speed"}
    with pytest.raises(InvalidRequest):
        write_aggregated(found, [CAR], CORE_CONTEXT, retrieve(AGGREGATED + "&attrs=name"), now=0)
