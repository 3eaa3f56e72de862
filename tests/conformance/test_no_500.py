"""Whatever is sent, in whatever order, is answered, and never with a fault of ours.

The operations come from the API's own description; what is sent to them from everything that once broke something
here or elsewhere, and from chance. The log of the server is read at the end: a traceback in it fails the module.
"""

from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hutong.standards.ngsi_ld.attributes import KINDS, RESERVED, VALUE_MEMBERS
from tests.conformance.sent import NGSI

EXAMPLES = 400  # of each test and store; a few seconds
CHANCE = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EXPECTED = {"LdContextNotAvailable": 504}  # of an address elsewhere: the standard wants this status

SENDABLE = st.characters(codec="utf-8")
TEXTS = st.text(SENDABLE, max_size=12) | st.sampled_from(
    ["", "\0", "a\0b", "\u202e", "杭州", "\U0001f697", "'", '"', "\\", "%", "%s", "{}", "[]", "$", "*", "(", ")",
     "a" * 300, "@none", "@json", "urn:ngsi-ld:null", "true", "null", "NaN", "1e400", "-0", "9" * 25, "٣", "..",
     "../..", "x" * 5000, "2026-05-01T10:00:00Z", "0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-12:00",
     "2026-05-01T10:00:00", "P1D", "P1Y", "P9999999999D", "sum,avg", "a+", "(a+)+$", r"\Z", "a{999}", "[[:alpha:]]",
     ".*", "near;maxDistance==5", "within", "[0,0]", "[[[0,0],[1,0],[1,1],[0,0]]]", "[[0,0],[0,0]]", "[" * 900,
     "a==1", "a~=.*", "a==1..2;b|!c", "a[b.c]>1", "a.observedAt>2026-05-01T10:00:00Z", "/a/b", "/a/#", "keyValues",
     "concise", "sysAttrs", "temporalValues", "aggregatedValues", "between", "after", "firing", "beds", "occupants"]
)  # fmt: skip
IDS = st.sampled_from(["urn:a:1", "urn:a:2", "urn:a:3", "https://example.org/a/b?c#d"]) | TEXTS
NAMES = st.sampled_from(
    ["a", "b", "location", "scope", "name", "beds", "warmth", "crowding", "quality", *sorted(RESERVED)]
)
TYPES = st.sampled_from(["T", "Shelter", "Ward", ["T", "Shelter"]])
PARAMETERS = st.sampled_from(
    ["type", "id", "idPattern", "q", "attrs", "pick", "omit", "limit", "offset", "count", "options", "format", "georel",
     "geometry", "coordinates", "geoproperty", "scopeQ", "lang", "datasetId", "timerel", "timeAt", "endTimeAt", "lastN",
     "timeproperty", "aggrMethods", "aggrPeriodDuration", "local", "details", "csf", "join", "deleteAll", "observedAt",
     "kind", "reload", "state", "entity", "rule", "sort", "page", "size", "show", "span", "thing", "district",
     "severity"]
) | TEXTS  # fmt: skip
SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=3),
    max_leaves=8,
)
POSITIONS = st.lists(st.floats(-200, 200) | st.integers(-90, 90), min_size=1, max_size=3)
GEOMETRIES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Point", "MultiPoint", "LineString", "Polygon", "MultiPolygon", "Circle"]),
        "coordinates": POSITIONS
        | st.lists(POSITIONS, max_size=4)
        | st.lists(POSITIONS, min_size=3, max_size=4).map(lambda ring: [[*ring, ring[0]]]),
    }
)
ATTRIBUTES = VALUES | st.builds(
    lambda kind, value, more: {"type": kind, VALUE_MEMBERS[KINDS[kind]]: value, **more},
    st.sampled_from([*KINDS]),
    VALUES | GEOMETRIES,
    st.dictionaries(st.sampled_from(["observedAt", "unitCode", "datasetId", "s"]), TEXTS | VALUES, max_size=2),
)
FRAGMENTS = st.dictionaries(NAMES, ATTRIBUTES, max_size=4)
ENTITIES = st.builds(lambda id_, kind, more: {"id": id_, "type": kind, **more}, IDS, TYPES, FRAGMENTS)
SOURCES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ContextSourceRegistration", "Subscription"]),
        "information": st.lists(
            st.dictionaries(
                st.sampled_from(["entities", "propertyNames", "relationshipNames"]),
                st.lists(
                    st.fixed_dictionaries({"type": TYPES | TEXTS}, optional={"idPattern": TEXTS}) | NAMES, max_size=2
                ),
                max_size=2,
            )
            | VALUES,
            max_size=2,
        ),
        "endpoint": st.just("http://127.0.0.1:9/") | TEXTS,
    },
    optional={
        "id": IDS,
        "entities": st.lists(st.fixed_dictionaries({"type": TYPES | TEXTS}), max_size=2) | VALUES,
        "notification": st.just({"endpoint": {"uri": "http://127.0.0.1:9/"}}) | VALUES,
        "mode": st.sampled_from(["exclusive", "redirect", "auxiliary"]) | TEXTS,
        "location": GEOMETRIES | VALUES,
        "geoQ": VALUES,
        "temporalQ": st.dictionaries(st.sampled_from(["timerel", "timeAt", "timeproperty"]), TEXTS, max_size=3),
        "observationInterval": st.dictionaries(st.sampled_from(["startAt", "endAt"]), TEXTS, max_size=2),
        **dict.fromkeys(("csf", "q", "scope", "scopeQ", "expiresAt", "tenant", "a"), TEXTS | VALUES),
    },
)
CONTEXTS = st.fixed_dictionaries({"@context": VALUES | st.dictionaries(NAMES | TEXTS, TEXTS | VALUES, max_size=3)})
BODIES = SOURCES | CONTEXTS | VALUES | FRAGMENTS | ENTITIES | st.lists(ENTITIES | VALUES, max_size=4)
HEADERS = st.dictionaries(
    st.sampled_from(["Accept", "Link", "NGSILD-Tenant", "Prefer", "Accept-Language", "Last-Event-ID", "HX-Request"]),
    st.sampled_from(
        ["application/ld+json", "application/geo+json", "text/html", "*/*;q=nan", "<urn:x>; rel=x", "a", "a b",
         "x" * 3000, '<urn:x>; rel="http://www.w3.org/ns/json-ld#context"', "zh;q=-1,,", "body=json", "true"]
    ),
    max_size=2,
)  # fmt: skip
PAGES = ["/{name}", "/en/{name}", "/en/platforms/{name}", "/en/platforms/guarded",
     "/en/platforms/guarded/things/{name}", "/en/platforms/guarded/history.json",
     "/en/platforms/guarded/download/{name}", "/en/alerts", "/en/search", "/static/{name}",
     "/en/alerts/{name}/silence" ]  # fmt: skip


@pytest.fixture(scope="module")
def operations(http: httpx.Client) -> list[tuple[str, str]]:
    """(method, path with {parameters}) of everything that the API says it has, and of pages."""
    described = http.get("/api/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in described.items() for method in methods]
    assert len(found) > 20
    return [*found, *((method, path) for path in PAGES for method in ("GET", "POST"))]


def answered(answer: httpx.Response) -> None:
    """It is an answer, and if it refuses, it says why."""
    text = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
    if answer.status_code >= 500:
        assert answer.json()["type"].rpartition("/")[2] in EXPECTED, text
    elif answer.status_code >= 400 and answer.request.url.path.startswith((NGSI, "/api/v1")):
        assert answer.status_code in (411, 415) or answer.json()["detail"], text


@CHANCE
@given(data=st.data())
def test_any_request_is_answered(http: httpx.Client, operations: list[tuple[str, str]], data: st.DataObject) -> None:
    method, path = data.draw(st.sampled_from(operations))
    parts = [
        quote(data.draw(IDS | NAMES), safe="") or "x" if part.startswith("{") else part for part in path.split("/")
    ]
    params = data.draw(st.dictionaries(PARAMETERS, TEXTS | IDS, max_size=4))
    body = data.draw(st.none() | BODIES)
    url = "/".join(parts) + ("?" + urlencode(params) if params else "")
    headers = data.draw(HEADERS)
    if body is None:
        answered(http.request(method, url, headers=headers))
    else:
        answered(http.request(method, url, headers=headers, json=body))


@CHANCE
@given(data=st.data())
def test_bodies_of_any_bytes_are_answered(http: httpx.Client, data: st.DataObject) -> None:
    body = data.draw(
        st.binary(max_size=200) | st.sampled_from([b"\xff", b"[" * 5000, b'{"id":', b"\xef\xbb\xbf{}", b"[1e999]"])
    )
    media_type = data.draw(st.sampled_from(["application/json", "application/ld+json", "application/merge-patch+json"]))
    path = data.draw(st.sampled_from(["/entities", "/entityOperations/upsert", "/entities/urn:a:1/attrs"]))
    answered(http.post(NGSI + path, content=body, headers={"Content-Type": media_type}))


CHANGES = [
    ("POST", "/entities"),
    ("PUT", "/entities/{id}"),
    ("PATCH", "/entities/{id}"),
    ("PATCH", "/entities/{id}?options=keyValues"),
    ("POST", "/entities/{id}/attrs"),
    ("PATCH", "/entities/{id}/attrs"),
    ("PATCH", "/entities/{id}/attrs/{name}"),
    ("PUT", "/entities/{id}/attrs/{name}"),
    ("DELETE", "/entities/{id}/attrs/{name}"),
    ("DELETE", "/entities/{id}"),
    *(
        ("POST", f"/entityOperations/{verb}")
        for verb in ("create", "upsert", "upsert?options=update", "update", "merge")
    ),
]
READINGS = [
    "/entities/{id}",
    "/entities/{id}?options=sysAttrs,concise",
    "/temporal/entities/{id}",
    "/temporal/entities/{id}?options=aggregatedValues&aggrMethods=sum,stddev,max,distinctCount",
    "/entities?local=true&limit=1000",
    "/entities?local=true&limit=1000&options=keyValues&q=a>0|a~=x.*|location|!b",
    "/entities?type=*&limit=1000&georel=near;maxDistance==50000000&geometry=Point&coordinates=[0,0]",
    "/entities?type=*&limit=1000&georel=intersects&geometry=Polygon&coordinates=[[[0,0],[90,0],[90,80],[0,0]]]",
]


@CHANCE
@given(data=st.data())
def test_whatever_was_changed_everything_can_be_read(http: httpx.Client, data: st.DataObject) -> None:
    id_ = data.draw(st.sampled_from(["urn:a:1", "urn:a:2", "urn:a:3"]))
    for method, path in data.draw(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=4)):
        name = data.draw(NAMES)
        url = NGSI + path.format(id=id_, name=quote(name, safe=""))
        fragment = data.draw(FRAGMENTS | ATTRIBUTES)
        whole = {"id": id_, "type": data.draw(TYPES), **(fragment if isinstance(fragment, dict) else {"a": fragment})}
        body = [whole] if "Operations" in path else whole if "{" not in path else fragment
        answered(http.request(method, url, json=body) if method != "DELETE" else http.delete(url))
    for path in READINGS:
        answer = http.get(NGSI + path.format(id=id_))
        assert answer.status_code in (200, 400, 404), answer.text
    for page in ("", "/map.json", "/download/json", "/things/urn:a:1"):
        assert http.get(f"/en/platforms/guarded{page}").status_code in (200, 404)
