"""Questions and requests that make no sense get a precise error, in bounded time, and the city lives on."""

import itertools
import socket
from typing import Any

import httpx
import pytest

from tests.conformance.sent import NGSI, entity, prop, refused
from tests.server import Server

# --- questions ------------------------------------------------------------------------------------------------

BAD, WRONG, COMPLEX, MANY = "BadRequestData", "InvalidRequest", "TooComplexQuery", "TooManyResults"
QUESTIONS: list[tuple[dict[str, str], int, str, str | None]] = [
    ({}, 400, BAD, None),
    ({"limit": "-1"}, 400, BAD, "limit"),
    ({"limit": "abc"}, 400, BAD, "limit"),
    ({"limit": "1e9"}, 400, BAD, "limit"),
    ({"limit": "٣"}, 400, BAD, "limit"),
    ({"limit": "9" * 5000}, 400, BAD, "limit"),
    ({"limit": "1001"}, 403, MANY, "limit"),
    ({"limit": "0"}, 400, BAD, "limit"),
    ({"offset": "-1"}, 400, BAD, "offset"),
    ({"offset": "1e9"}, 400, BAD, "offset"),
    ({"count": "maybe"}, 400, BAD, "count"),
    ({"foo": "1"}, 400, WRONG, "foo"),
    ({"options": "foo"}, 400, WRONG, "options"),
    ({"format": "foo"}, 400, WRONG, "format"),
    ({"id": "x"}, 400, BAD, "id"),
    ({"type": 'a"b'}, 400, BAD, "type"),
    ({"type": "(A"}, 400, BAD, "type"),
    ({"type": ",".join(f"T{n}" for n in range(101))}, 403, COMPLEX, "type"),
    ({"type": "(" + ";".join(f"T{n}" for n in range(200)) + ")"}, 403, COMPLEX, "type"),
    ({"attrs": 'a"b'}, 400, BAD, "attrs"),
    ({"attrs": ",".join(f"a{n}" for n in range(101))}, 403, COMPLEX, "attrs"),
    ({"pick": "a", "omit": "a"}, 400, BAD, "omit"),
    ({"scopeQ": "/("}, 400, BAD, "scopeQ"),
    ({"lang": ""}, 400, BAD, "lang"),
    ({"q": "a=="}, 400, BAD, "q:4"),
    ({"q": "a==1;"}, 400, BAD, "q:6"),
    ({"q": "(a==1"}, 400, BAD, "q:6"),
    ({"q": "a[]==1"}, 400, BAD, "q:2"),
    ({"q": 'a["x"]==1'}, 400, BAD, None),
    ({"q": "a>1,2"}, 400, BAD, "q:3"),
    ({"q": "a==1e400"}, 400, BAD, "q:4"),
    ({"q": "a==9223372036854775808"}, 400, BAD, "q:4"),
    ({"q": r'a=="\u0000"'}, 400, BAD, "q:4"),
    ({"q": r'a=="\ud800"'}, 400, BAD, "q:4"),
    ({"q": "a.observedAt>2026-05-01T10:00:00"}, 400, BAD, "q:14"),
    ({"q": "a.observedAt>0001-01-01T00:00:00+08:00"}, 400, BAD, "q:14"),
    ({"q": "a.observedAt>9999-12-31T23:59:59-12:00"}, 400, BAD, "q:14"),
    ({"q": "a.createdAt>yesterday"}, 400, BAD, "q:13"),
    ({"q": "(" * 4000}, 403, COMPLEX, "q"),
    ({"q": "(" * 17 + "a" + ")" * 17}, 403, COMPLEX, "q"),
    ({"q": ";".join(["a"] * 65)}, 403, COMPLEX, "q"),
    ({"q": "a==" + ",".join(["1"] * 201)}, 403, COMPLEX, "q"),
    ({"q": "a" * 5000}, 403, COMPLEX, "q"),
    ({"georel": "within"}, 400, BAD, None),
    *(
        ({"georel": relation, "geometry": kind, "coordinates": at}, status, type, where)
        for relation, kind, at, status, type, where in (
            ("near", "Point", "[0,0]", 400, BAD, "georel"),
            ("near;maxDistance==-1", "Point", "[0,0]", 400, BAD, "georel"),
            ("near;maxDistance==1e400", "Point", "[0,0]", 400, BAD, "georel"),
            ("near;maxDistance==NaN", "Point", "[0,0]", 400, BAD, "georel"),
            ("beside", "Point", "[0,0]", 400, BAD, "georel"),
            ("within", "Circle", "[0,0]", 400, BAD, "geometry"),
            ("within", "Polygon", "[0,0]", 400, BAD, None),
            ("within", "Point", "x", 400, BAD, "coordinates"),
            ("within", "Point", "[" * 5000, 400, BAD, "coordinates"),
            ("within", "Point", "[999,0]", 400, BAD, "coordinates[0]"),
            ("within", "Point", "[0,0,1" + "0" * 400 + "]", 400, BAD, "coordinates[2]"),
            ("near;maxDistance==9", "LineString", "[[0,0],[0,0]]", 400, BAD, "coordinates"),
            ("within", "Polygon", "[[[0,0],[0,0],[0,0],[0,0]]]", 400, BAD, "coordinates[0]"),
        )
    ),
    *(
        ({"idPattern": pattern}, status, type, "idPattern")
        for pattern, status, type in (
            ("(", 400, BAD),
            ("[", 400, BAD),
            ("a{2,1}", 400, BAD),
            ("a{256}", 400, BAD),
            ("a{", 400, BAD),
            ("x++", 400, BAD),
            ("x**", 400, BAD),
            (r"(a)\1", 400, BAD),
            (r"\Z", 400, BAD),
            (r"\bx", 400, BAD),
            (r"\u1234", 400, BAD),
            ("(?i)a", 400, BAD),
            ("***:a", 400, BAD),
            ("[[:alpha:]]", 400, BAD),
            ("a" * 257, 400, BAD),
            ("(a+)+$", 403, COMPLEX),
            (".*.*.*.*.*x", 403, COMPLEX),
        )
    ),
]


@pytest.mark.parametrize(("params", "status", "type", "where"), QUESTIONS)
def test_a_question_that_makes_no_sense(
    http: httpx.Client, params: dict[str, str], status: int, type: str, where: str | None
) -> None:
    narrowed = params if not params or "type" in params else {"type": "Thing", **params}
    refused(http.get(f"{NGSI}/entities", params=narrowed), status, type, where)


def test_addresses_with_what_cannot_be_kept_or_read(http: httpx.Client) -> None:
    for path in ("/entities?type=%00", "/entities?type=T&q=a==%00", "/entities?%00=1", "/entities/urn:x:%00"):
        refused(http.get(NGSI + path), 400)
    refused(http.get(f"{NGSI}/entities?type=T&q=%FF"), 400, WRONG)
    refused(http.get(f"{NGSI}/entities?type=T&limit=1&limit=2"), 400, WRONG, "limit")
    refused(http.get(f"{NGSI}/entities?" + "&".join(f"a{n}=1" for n in range(200))), 400, WRONG)
    for path in ("/en?x=%00", "/%00", "/static/%00", "/api/v1/alerts?entity=%00"):
        assert http.get(path).status_code in (400, 404)


def test_a_question_nested_ten_thousand_deep_in_a_body(http: httpx.Client) -> None:
    for depth in (100, 10_000, 1_000_000):
        body = {"type": "Query", "entities": [{"type": "T"}], "q": "(" * depth + "a" + ")" * depth}
        refused(http.post(f"{NGSI}/entityOperations/query", json=body), 403, COMPLEX, "q")


@pytest.mark.parametrize(
    "more",
    [{"entities": 5}, {"entities": [5]}, {"entities": []}, {"entities": [{}]}, {"entities": [{"type": 5}]},
     {"entities": [{"type": "T", "id": 5}]}, {"entities": [{"type": "T", "idPattern": 5}]}, {"q": 5}, {"q": None},
     {"attrs": {}}, {"attrs": [5]}, {"geoQ": []}, {"geoQ": {"georel": 5, "geometry": [], "coordinates": {}}},
     {"scopeQ": []}, {"lang": 5}, {"pick": [5]}, {"datasetId": 5}, {"join": []}, {"joinLevel": {}}, {"foo": 1},
     {"type": ["Query"]}, {"temporalQ": {}}],
)  # fmt: skip
def test_a_question_in_a_body_with_wrong_types(http: httpx.Client, more: dict[str, Any]) -> None:
    body = {"type": "Query", "entities": [{"type": "T"}], **more}
    answer = http.post(f"{NGSI}/entityOperations/query", json=body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["detail"]


TIMES: list[tuple[str, int, str | None]] = [
    ("timerel=after&timeAt=2026-05-01T10:00:00", 400, "timeAt"),
    ("timerel=after&timeAt=yesterday", 400, "timeAt"),
    ("timerel=after&timeAt=0001-01-01T00:00:00%2B14:00", 400, "timeAt"),
    ("timerel=before&timeAt=9999-12-31T23:59:59-14:00", 400, "timeAt"),
    ("timerel=after", 400, "timeAt"),
    ("timerel=sometime&timeAt=2026-05-01T10:00:00Z", 400, "timerel"),
    ("timerel=between&timeAt=2026-05-01T10:00:00Z", 400, "endTimeAt"),
    ("timerel=between&timeAt=2026-05-02T10:00:00Z&endTimeAt=2026-05-01T10:00:00Z", 400, "endTimeAt"),
    ("timeAt=2026-05-01T10:00:00Z", 400, "timeAt"),
    ("lastN=0", 400, "lastN"),
    ("lastN=" + "9" * 30, 400, "lastN"),
    ("timeproperty=foo", 400, "timeproperty"),
    ("format=aggregatedValues", 400, "aggrMethods"),
    ("format=aggregatedValues&aggrMethods=median", 400, "aggrMethods"),
    *(
        (f"format=aggregatedValues&aggrMethods=sum&aggrPeriodDuration={period}", status, "aggrPeriodDuration")
        for period, status in (
            ("P", 400),
            ("x", 400),
            ("P-1D", 400),
            ("P200Y", 400),
            ("P106751991D", 400),
            ("P" + "9" * 20 + "D", 400),
            ("P" + "9" * 5000 + "D", 400),
        )
    ),
]


@pytest.mark.parametrize(("asked", "status", "where"), TIMES)
def test_a_question_about_time_that_makes_no_sense(
    http: httpx.Client, asked: str, status: int, where: str | None
) -> None:
    http.post(f"{NGSI}/entities", json=entity(30, a=1))
    refused(http.get(f"{NGSI}/temporal/entities/{entity(30)['id']}?{asked}"), status, where=where)


@pytest.mark.parametrize("method", ["sum", "avg", "stddev", "sumsq", "min", "max", "totalCount", "distinctCount"])
def test_aggregates_that_overflow_are_missing_and_no_error_inside(http: httpx.Client, method: str) -> None:
    for at, value in enumerate((1.7e308, 1.7e308, -1.7e308)):
        body = [entity(31, a=prop(value, observedAt=f"0002-06-0{at + 1}T00:00:00Z"))]
        assert http.post(f"{NGSI}/entityOperations/upsert", json=body).status_code in (201, 204)
    for period in ("PT0S", "PT0.000001S", "P30000D"):
        asked = f"format=aggregatedValues&aggrMethods={method}&aggrPeriodDuration={period}"
        answer = http.get(f"{NGSI}/temporal/entities/{entity(31)['id']}?{asked}")
        assert answer.status_code == 200, answer.text
        assert "null" not in answer.text


# --- HTTP -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", ["../x", "a b", "a" * 65, "a'b", "\xff", "-a"])
def test_a_tenant_that_is_none(http: httpx.Client, tenant: str) -> None:
    headers = {b"NGSILD-Tenant": tenant.encode("latin-1")}
    refused(http.get(f"{NGSI}/types", headers=headers), 400, BAD, "NGSILD-Tenant")


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/json;q=nan", "," * 5000, "\xff"])
def test_nothing_acceptable(http: httpx.Client, accept: str) -> None:
    told = refused(http.get(f"{NGSI}/types", headers={b"Accept": accept.encode("latin-1")}), 406, WRONG, "Accept")
    assert "application/ld+json" in told["allowed"]


@pytest.mark.parametrize("link", ["x", "<a>;", "<a>; a=" + " " * 4000 + '"', "<a>" + "; a=b" * 700 + '"', "<" * 4000])
def test_a_link_header_that_is_none_is_found_out_soon(http: httpx.Client, link: str) -> None:
    refused(http.get(f"{NGSI}/types", headers={"Link": link}), 400, BAD, "Link")


def test_a_context_elsewhere_is_not_fetched(http: httpx.Client, city: Server) -> None:
    for url in (f"{city.url}/health", "file:///etc/passwd", "http://127.0.0.1:1/c"):
        link = f'<{url}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
        refused(http.get(f"{NGSI}/types", headers={"Link": link}), 504, "LdContextNotAvailable")


def test_methods_that_there_are_not(http: httpx.Client) -> None:
    for method in ("TRACE", "FOO", "PROPFIND", "DELETE", "PUT"):
        answer = http.request(method, f"{NGSI}/entities")
        told = refused(answer, 405, "OperationNotSupported")
        assert (told["seen"], "GET" in answer.headers["allow"], "GET" in told["allowed"]) == (method, True, True)
        machine = http.request(method, "/health")
        assert (machine.status_code, "GET" in machine.headers["allow"]) == (405, True)
    assert http.options(f"{NGSI}/types").headers["allow"] == "GET, OPTIONS"


@pytest.mark.parametrize("path", ["/health", "/en", "/ngsi-ld/v1/types", "/ngsi-ld/v1/nothing", "/stream?type=Shelter"])
def test_head_is_get_without_its_body(http: httpx.Client, path: str) -> None:
    head = http.head(path)
    if "stream" not in path:
        assert head.status_code == http.get(path).status_code
    assert head.content == b""


def test_addresses_that_there_are_not(http: httpx.Client) -> None:
    for path in ("/nothing", "/entities/a/b/c/d", "/entities/%2e%2e%2fhealth/x"):
        told = refused(http.get(NGSI + path), 404, "ResourceNotFound")
        assert told["seen"].startswith(NGSI)


RAW = [
    b"GET /ngsi-ld/v1/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ngsi-ld/v1/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    b"GET /ngsi-ld/v1/types?q=" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ngsi-ld/v1/types HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    *(
        b"POST /ngsi-ld/v1/entities HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + rest
        for rest in (
            b"\r\n",
            b"Content-Length: -5\r\n\r\n",
            b"Content-Length: abc\r\n\r\n",
            b"Content-Length: 99999999999\r\n\r\n{}",
            b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        )
    ),
]


@pytest.mark.parametrize("sent", RAW, ids=range(len(RAW)))
def test_what_is_hardly_http_is_refused_and_the_city_lives_on(http: httpx.Client, city: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", city.port), timeout=30) as line:
        try:
            line.sendall(sent)
            answer = line.recv(100)
        except ConnectionError:
            answer = b"HTTP/1.1 400"  # it hung up on us before we had finished
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert http.get("/health").status_code == 200


PAGES = [
    "/fr", "//", "/en/search?q=" + "x" * 5000, "/en/search?q=%F0%9F%98%80", "/en/alerts?state=x", "/en/alerts?page=-1",
    "/en/alerts?page=" + "9" * 30, "/en/alerts?page=abc", "/en/alerts?severity=x", "/en/alerts?platform=x", "/en/%FF",
    "/static/../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/en/platforms/" + "x" * 5000, "/stream",
    "/stream?type=x", "/stream?type=Shelter&lang=xx", "/api/v1/alerts?limit=abc", "/api/v1/alerts?limit=0",
    "/api/v1/alerts?offset=" + "9" * 30, "/api/v1/alerts?state=x",
    *(
        "/en/platforms/guarded" + rest
        for rest in (
            "?sort=x", "?sort=-location", "?state=x", "?page=-1", "?page=" + "9" * 30, "?page=abc", "?size=7", "?q=%25",
            "/download/xml", "/things/", "/things/x", "/things/%2e%2e", "/history.json", "/history.json?thing=x&show=y",
            "/history.json?thing=urn:ngsi-ld:Thing:5&show=location", "/history.json?thing=urn:ngsi-ld:Thing:5&show=x",
            "/history.json?thing=urn:ngsi-ld:Thing:5&show=beds&span=999y", "/things/urn:ngsi-ld:Thing:5?show=x",
            "/things/urn:ngsi-ld:Thing:5", "/map.json", "/download/csv", "/download/json", "/download/geojson",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_pages_asked_for_nonsense_do_not_fail_inside(http: httpx.Client, path: str) -> None:
    for headers in ({}, {"HX-Request": "true"}, {"Accept-Language": ";q=;,*;q=nan,zh;q=-1"}):
        answer = http.get(path, headers=headers)
        assert answer.status_code < 500
        assert "Traceback" not in answer.text


def test_a_stream_from_nowhere_begins_anew(http: httpx.Client) -> None:
    for since in ("x", "-", "x-" + "9" * 5000, "x--5", "٣-٣"):
        with http.stream("GET", "/stream", params={"type": "Shelter", "since": since}) as stream:
            assert "event: reset" in next(stream.iter_text())


def test_forms_filled_with_nonsense_do_not_fail_inside(http: httpx.Client) -> None:
    http.get("/en/alerts")
    token = http.cookies["hutong_csrf"]
    forms = [{}, {"note": "\0"}, {"hours": "abc"}, {"hours": "9" * 30}, {"note": "x" * 100_000}]
    for form, verb in itertools.product(forms, ("acknowledge", "silence")):
        for sent in (b"", token.encode(), b"\xe9"):
            answer = http.post(f"/en/alerts/x/{verb}", data=form, headers={b"x-csrftoken": sent})
            assert 400 <= answer.status_code < 500, answer.text
    raw = {"content-type": "application/x-www-form-urlencoded", "x-csrftoken": token}
    assert http.post("/en/alerts/x/silence", content=b"\xff\xfe=%", headers=raw).status_code == 400
    assert http.post("/api/v1/alerts/x/acknowledge", json={"note": "\0"}).status_code == 400
