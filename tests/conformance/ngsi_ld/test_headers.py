"""Media types, @contexts and tenants in headers (clauses 6.3.4 to 6.3.6, 6.3.10, 6.3.14)."""

import pytest

from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Contexts
from hutong.standards.ngsi_ld.core_context import CORE_URL
from hutong.standards.ngsi_ld.errors import LdContextNotAvailable, NotAcceptable, UnsupportedMediaType
from hutong.standards.ngsi_ld.headers import (
    CONTEXT_REL,
    answer_to,
    context_link,
    context_of_body,
    context_of_header,
    page_links,
    read_tenant,
)

URL = "https://ctx.example/c.jsonld"
LINK = f'<{URL}>; rel="{CONTEXT_REL}"; type="application/ld+json"'
CONTEXTS = Contexts({URL: {"@context": {"x": "https://example.org/x"}}})
JSON, LD, GEO = "application/json", "application/ld+json", "application/geo+json"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        (JSON, JSON),
        (LD, LD),
        (GEO, GEO),
        ("*/*", JSON),
        ("application/*", JSON),
        (f"{LD}, {JSON}", JSON),
        (f"{GEO}, {JSON}", JSON),
        (f"{JSON};q=0.1, {LD};q=0.9", LD),
        (f"{JSON};q=0, */*", LD),
        (f"{JSON};q=0, {LD}", LD),
        (f"*/*;q=0.9, {LD};q=0.8", JSON),
        (f"{LD};q=notanumber, */*;q=0.1", JSON),
        ("text/html, application/json;q=0.2", JSON),
        ("Application/LD+JSON", LD),
    ],
)
def test_the_media_type_is_negotiated(accept: str, chosen: str) -> None:
    assert answer_to(accept, geojson=True).media_type == chosen


@pytest.mark.parametrize("accept", ["application/xml", "text/*", f"{JSON};q=0", GEO, ";"])
def test_what_is_not_on_offer_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable) as raised:
        answer_to(accept)
    assert JSON in raised.value.fault.allowed


def test_geojson_falls_back_where_the_operation_has_none() -> None:
    assert answer_to(f"{GEO};q=0.9, {LD};q=0.1").media_type == LD


@pytest.mark.parametrize(
    ("accept", "prefer", "in_body"),
    [(JSON, "", False), (LD, "", True), (GEO, "", True), (GEO, "body=ld+json", True), (GEO, "body=json", False)],
)
def test_the_context_stands_in_the_body_or_in_a_link(accept: str, prefer: str, in_body: bool) -> None:
    answer = answer_to(accept, prefer, geojson=True)
    assert answer.context_in_body is in_body
    assert (answer.link(CORE_CONTEXT) == "") is in_body


def test_the_link_names_the_context_of_the_request() -> None:
    answer = answer_to(JSON)
    assert answer.link(context_of_header(LINK, CONTEXTS)) == LINK
    assert answer.link(context_of_header("", CONTEXTS)) == LINK.replace(URL, CORE_URL)
    assert answer.link(CONTEXTS.resolve({"x": "https://example.org/x"})) == ""


@pytest.mark.parametrize(
    ("header", "url"),
    [
        ("", ""),
        (LINK, URL),
        (f"<{URL}>;rel={CONTEXT_REL.replace(',', '')}", URL),
        (f'</next>; rel="next", {LINK}', URL),
        ('<https://profile>; rel="profile"', ""),
    ],
)
def test_link_headers(header: str, url: str) -> None:
    assert context_link(header) == url


@pytest.mark.parametrize(
    "header", ["nonsense", f"{LINK}, {LINK}", f'<relative.jsonld>; rel="{CONTEXT_REL}"', "<" * 5000]
)
def test_bad_link_headers(header: str) -> None:
    with pytest.raises(InvalidInput):
        context_link(header)


def test_the_context_of_a_body() -> None:
    assert context_of_body(LD, "", CONTEXTS) is None
    assert context_of_body(JSON, "", CONTEXTS) is CORE_CONTEXT
    context = context_of_body("application/json; charset=utf-8", LINK, CONTEXTS)
    assert context is not None
    assert context.expand("x") == "https://example.org/x"
    assert context_of_body("application/merge-patch+json", "", CONTEXTS, patch=True) is CORE_CONTEXT


def test_a_body_with_its_context_takes_no_link_too() -> None:
    with pytest.raises(InvalidInput) as raised:
        context_of_body(LD, LINK, CONTEXTS)
    assert raised.value.fault.where == "Link"


@pytest.mark.parametrize("media_type", ["", "application/xml", "text/plain", "application/merge-patch+json"])
def test_bodies_that_are_not_read(media_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        context_of_body(media_type, "", CONTEXTS)


def test_a_link_to_an_unknown_context() -> None:
    with pytest.raises(LdContextNotAvailable):
        context_of_header(LINK.replace("/c", "/unknown"), CONTEXTS)


@pytest.mark.parametrize("name", ["", "hangzhou", "city_1.a-b"])
def test_tenants(name: str) -> None:
    assert read_tenant(name) == name


@pytest.mark.parametrize("name", ["a b", "-a", "x" * 65, "杭州", "a/b"])
def test_bad_tenants(name: str) -> None:
    with pytest.raises(InvalidInput):
        read_tenant(name)


@pytest.mark.parametrize(
    ("offset", "more", "expected"),
    [
        (0, True, ['</e?type=A&limit=2&offset=2>; rel="next"; type="x"']),
        (
            2,
            True,
            [
                '</e?type=A&limit=2&offset=4>; rel="next"; type="x"',
                '</e?type=A&limit=2&offset=0>; rel="prev"; type="x"',
            ],
        ),
        (1, False, ['</e?type=A&limit=2&offset=0>; rel="prev"; type="x"']),
        (0, False, []),
    ],
)
def test_pages_know_their_neighbours(offset: int, more: bool, expected: list[str]) -> None:
    assert page_links("/e", [("type", "A")], 2, offset, more=more, media_type="x") == expected


def test_a_page_of_nothing_has_no_neighbours() -> None:
    assert page_links("/e", [], 0, 4, more=True, media_type="x") == []
