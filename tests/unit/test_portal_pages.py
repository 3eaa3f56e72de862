"""Pages over HTTP, without a browser: what is refused, what is exported, what listings say."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from litestar.testing import TestClient

from hutong.engines.sense.ports import Attribute
from hutong.portal.pages.exports import as_csv, feature
from hutong.portal.visit import HEADERS
from tests.fake_city import FakeSense, fake_portal, fake_site

PLATFORM = "/zh/platforms/smart_parking"
THING = "urn:ngsi-ld:OffStreetParking:sim-001"


@pytest.fixture
def sense() -> FakeSense:
    return fake_portal()[1]


@pytest.fixture
def client() -> Iterator[TestClient[Any]]:
    with TestClient(fake_site(fake_portal()[0])) as client:
        yield client


@pytest.fixture
def anonymous() -> Iterator[TestClient[Any]]:
    with TestClient(fake_site(fake_portal()[0], everyone=False)) as client:
        yield client


def shown(page: str) -> list[tuple[str, str]]:
    return re.findall(r'data-thing="([^"]+)" data-state="(\w+)"', page)


@pytest.mark.parametrize(
    "path",
    ["/", "/zh", PLATFORM, f"{PLATFORM}/things/{THING}", "/zh/alerts", "/zh/operations/deliveries", "/zh/no/such/page"],
)
def test_no_page_has_script_or_style_of_its_own(client: TestClient[Any], path: str) -> None:
    answer = client.get(path)
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", answer.text)


def test_language_comes_from_the_address_then_from_the_browser(client: TestClient[Any]) -> None:
    assert client.get("/").headers["Content-Language"] == "zh-CN"
    assert client.get("/", headers={"Accept-Language": "en"}).headers["Content-Language"] == "en"
    assert client.get("/zh", headers={"Accept-Language": "en"}).headers["Content-Language"] == "zh-CN"


def test_missing_pages_and_wrong_questions(client: TestClient[Any]) -> None:
    assert client.get("/en/platforms/none").status_code == 404
    assert client.get(f"{PLATFORM}/things/none").status_code == 404
    assert client.get(f"{PLATFORM}?sort=none").status_code == 400
    assert client.get(f"{PLATFORM}?page=x").status_code == 400
    assert client.get(f"{PLATFORM}/things/{THING}?span=1h").status_code == 400
    assert client.get(f"{PLATFORM}/things/{THING}?show=name").status_code == 400
    assert client.get("/stream?type=None").status_code == 400
    assert client.get(f"{PLATFORM}/download/exe").status_code == 400
    assert client.get("/no/such/page").status_code == 404


def test_listing_filters_sorts_and_pages(client: TestClient[Any]) -> None:
    states = [state for _, state in shown(client.get(PLATFORM).text)]
    assert states == sorted(states, key=["alarm", "silent", "suspect", "watch", "good"].index)
    assert {state for _, state in shown(client.get(f"{PLATFORM}?state=silent").text)} == {"silent"}
    assert [id for id, _ in shown(client.get(f"{PLATFORM}?q=SIM-001").text)] == [THING]
    first, last = (shown(client.get(f"{PLATFORM}?sort={sort}&size=100").text) for sort in ("name", "-name"))
    assert len(first) == 100
    assert last[0] not in first
    assert len(shown(client.get(f"{PLATFORM}?page=99&size=50").text)) == 10  # the last page
    assert [state for _, state in shown(client.get(f"{PLATFORM}?sort=occupancy&page=5").text)][-1] == "silent"


def test_a_part_of_the_page_for_exchange(client: TestClient[Any]) -> None:
    part = client.get(f"{PLATFORM}?q=001", headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<div id="things"')
    assert "HX-Request" in part.headers["Vary"]


def test_forms_need_their_token(client: TestClient[Any]) -> None:
    page = client.get("/zh/alerts").text
    form = re.search(r'action="(/zh/alerts/\w+/acknowledge)".*?value="(\w+)"', page, re.DOTALL)
    assert form
    target, token = form.groups()
    assert client.post(target, data={"note": "x"}).status_code == 403
    assert client.post(target, data={"note": "x", "_csrf_token": token[::-1]}).status_code == 403
    done = client.post(target, data={"note": "<b>x</b>", "_csrf_token": token}, follow_redirects=False)
    assert (done.status_code, done.headers["Location"]) == (303, "/zh/alerts?done=acknowledged")
    assert "&lt;b&gt;x&lt;/b&gt;" in client.get("/zh/alerts").text


def test_the_public_may_not_handle_alerts(anonymous: TestClient[Any]) -> None:
    page = anonymous.get("/en/alerts").text
    assert "/acknowledge" not in page
    token = anonymous.cookies["hutong_csrf"]
    refused = anonymous.post("/en/alerts/a3/acknowledge", data={"note": "", "_csrf_token": token})
    assert refused.status_code == 403


def test_operators_see_deliveries_in_their_language_and_nobody_else_does(
    client: TestClient[Any], anonymous: TestClient[Any]
) -> None:
    page = client.get("/zh/operations/deliveries").text
    for text in (
        "对方返回 500",
        "100003 条消息在等待，超过上限 100000 条",
        "已过期，不再尝试：5 秒内没有应答",
        "（127.0.0.1）",
    ):
        assert text in page
    assert "/zh/operations/deliveries" in client.get("/zh").text
    letter = client.get("/en/operations/deliveries/2")
    assert "&lt;b&gt;&amp;" in letter.text
    assert client.get("/en/operations/deliveries/9").status_code == 404
    assert client.get("/en/operations/deliveries?state=odd").status_code == 400
    assert "operations/deliveries" not in anonymous.get("/zh").text
    for path in ("", "/2"):
        assert anonymous.get(f"/zh/operations/deliveries{path}").status_code == 403
    token = anonymous.cookies["hutong_csrf"]
    form = {"channel": "x", "_csrf_token": token}
    for verb in ("resend", "drop", "pause", "resume"):
        assert anonymous.post(f"/zh/operations/deliveries/{verb}", data=form).status_code == 403
        assert client.post(f"/zh/operations/deliveries/{verb}", data={"channel": "x"}).status_code == 403


def test_an_empty_outbox_says_so(client: TestClient[Any]) -> None:
    portal, _ = fake_portal()
    portal.deliveries.found.clear()  # type: ignore[attr-defined]  # the made-up one
    portal.deliveries.letters.clear()  # type: ignore[attr-defined]  # the made-up one
    with TestClient(fake_site(portal)) as empty:
        page = empty.get("/en/operations/deliveries").text
    assert "No messages have gone out yet" in page
    assert "Everything was delivered" in page


def test_names_and_ids_are_written_as_text_only() -> None:
    portal, sense = fake_portal(things=1)
    entity = sense.entities.pop(THING)
    entity.id = 'urn:x:"><script>alert(1)</script>/a b?c#d'
    entity.attributes["name"] = Attribute(value="<img src=x onerror=alert(1)>")
    sense.entities[entity.id] = entity
    with TestClient(fake_site(portal)) as client:
        for path in ("/zh", PLATFORM, f"{PLATFORM}/things/{quote(entity.id, safe=':')}", "/zh/search?q=%3Cimg"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert "<img src=x" not in answer.text
            assert "<script>alert" not in answer.text


def test_csv_is_complete_and_harmless(client: TestClient[Any]) -> None:
    answer = client.get(f"{PLATFORM}/download/csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert len(rows) == 110
    assert {row["simulated"] for row in rows} == {"True"}
    assert sum(row["suspect"] != "" for row in rows) > 0
    assert sum(row["longitude"] == "" for row in rows) == 9
    formula = as_csv([{"name": "=HYPERLINK(1)", "free": -3}]).decode("utf-8-sig")
    assert formula.splitlines()[1] == "'=HYPERLINK(1),-3"


def test_geojson_never_guesses_a_place(client: TestClient[Any]) -> None:
    collection = client.get(f"{PLATFORM}/download/geojson").json()
    assert sum(each["geometry"] is None for each in collection["features"]) == 9
    assert feature({"id": "a", "longitude": 120.1, "latitude": 30.2})["geometry"]["coordinates"] == [120.1, 30.2]


def test_static_files_are_compressed_and_kept(client: TestClient[Any]) -> None:
    script = re.search(r'src="(/static/[^"]+)"', client.get("/zh").text)
    assert script
    answer = client.get(script[1], headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]
    assert client.get("/static/../ports.py").status_code == 404
    assert client.get("/static/%2e%2e/ports.py").status_code == 404
