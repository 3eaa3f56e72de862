"""Questions in an address and in a body (clauses 4.10, 4.17, 4.21, 5.2.23, 5.7.1, 5.7.2, 6.3.7 to 6.3.15)."""

from typing import Any
from urllib.parse import parse_qs

import pytest

from hutong.engines.sense.ports import Compare, EntityQuery, GeoFilter, Selector
from hutong.kernel.errors import HutongError, InvalidInput, Unsupported
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Contexts
from hutong.standards.ngsi_ld.errors import InvalidRequest, TooComplexQuery, TooManyResults
from hutong.standards.ngsi_ld.query import LIMIT_MAX, Query, read_query, read_query_body, read_retrieval
from hutong.standards.ngsi_ld.representations import Shape

POINT = {"type": "Point", "coordinates": [8, 40]}


def ask(text: str, **more: Any) -> Query:
    return read_query(parse_qs(text, keep_blank_values=True), CORE_CONTEXT, **more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=A", EntityQuery(types=(("A",),))),
        ("type=A,B|C", EntityQuery(types=(("A",), ("B",), ("C",)))),
        ("type=(A;B),C", EntityQuery(types=(("A", "B"), ("C",)))),
        ("type=*", EntityQuery()),
        ("local=true", EntityQuery()),
        ("type=A&id=urn:a:1,urn:a:2", EntityQuery(types=(("A",),), ids=("urn:a:1", "urn:a:2"))),
        ("type=A&idPattern=^urn.*1$", EntityQuery(types=(("A",),), id_pattern="^urn.*1$")),
        ("type=A&id=urn:a:1&idPattern=x", EntityQuery(types=(("A",),), ids=("urn:a:1",))),
        ("attrs=a,b", EntityQuery(attributes=("a", "b"))),
        ("q=a>1", EntityQuery(where=Compare(("a",), ">", (1,)))),
        ("type=A&limit=5&offset=10", EntityQuery(types=(("A",),), limit=5, offset=10)),
        ("type=A&limit=0&count=true", EntityQuery(types=(("A",),), limit=0)),
        ("type=A&scopeQ=/a/%23", EntityQuery(types=(("A",),), scopes=(("/a/#",),))),
        (
            "georel=near;maxDistance==2000&geometry=Point&coordinates=[8,40]",
            EntityQuery(geo=GeoFilter(relation="near", geometry=POINT, distance_max=2000.0)),
        ),
        (
            "georel=near;minDistance==0.5&geometry=Point&coordinates=[8,40]&geoproperty=observationSpace",
            EntityQuery(geo=GeoFilter(relation="near", geometry=POINT, attribute="observationSpace", distance_min=0.5)),
        ),
        (
            "georel=within&geometry=Point&coordinates=[8,40]",
            EntityQuery(geo=GeoFilter(relation="within", geometry=POINT)),
        ),
        ("type=A&csf=x==1&splitEntities=true&jsonKeys=a", EntityQuery(types=(("A",),))),
    ],
)
def test_which_entities(text: str, expected: EntityQuery) -> None:
    assert ask(text).entities == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Shape()),
        ("options=keyValues,sysAttrs", Shape(form="simplified", system=True)),
        ("format=concise&options=keyValues", Shape(form="concise")),
        ("attrs=a", Shape(attributes=frozenset(["a"]))),
        ("pick=id,a|b", Shape(pick=frozenset(["id", "a", "b"]))),
        ("omit=type", Shape(omit=frozenset(["type"]))),
        ("datasetId=@none,urn:d:1", Shape(datasets=frozenset(["", "urn:d:1"]))),
        ("lang=fr;q=0.5,*", Shape(language="fr;q=0.5,*")),
    ],
)
def test_how_they_are_shown(text: str, expected: Shape) -> None:
    assert ask("local=true&" + text).shape == expected


def test_names_are_expanded() -> None:
    context = Contexts().resolve({"A": "https://example.org/A", "a": "https://example.org/a"})
    query = read_query({"type": ["A"], "attrs": ["a"]}, context)
    assert query.entities.types == (("https://example.org/A",),)
    assert query.entities.attributes == ("https://example.org/a",)
    assert query.shape.attributes == {"https://example.org/a"}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", ""),
        ("id=urn:a:1", ""),
        ("attrs=createdAt", ""),
        ('q=modifiedAt>"2020-01-01T00:00:00Z"', ""),
        ("type=*&local=false", "local"),
        ("type=A&id=nope", "id"),
        ("type=9", "type"),
        ("type=A;", "type"),
        ("type=(A;B", "type"),
        ("type=", "type"),
        ("attrs=id", "attrs"),
        ("attrs=a,,b", "attrs"),
        ("type=A&limit=-1", "limit"),
        ("type=A&limit=x", "limit"),
        ("type=A&limit=0", "limit"),
        ("type=A&offset=-1", "offset"),
        ("type=A&count=yes", "count"),
        ("type=A&idPattern=a**", "idPattern"),
        ("type=A&csf=))bad((", "csf:1"),
        ("type=A&pick=a&omit=a", "omit"),
        ("type=A&pick=a&attrs=b", "attrs"),
        ("type=A&pick=o{b", "pick"),
        ("type=A&pick=o}", "pick"),
        ("type=A&omit=o{}", "omit"),
        ("type=A&pick=a||b", "pick"),
        ("type=A&geometryProperty=location", "geometryProperty"),
        ("type=A&datasetId=nope", "datasetId"),
        ("type=A&lang=;q=2", "lang"),
        ("type=A&joinLevel=0", "joinLevel"),
        ("georel=near;maxDistance==5", ""),
        ("georel=touches&geometry=Point&coordinates=[8,40]", "georel"),
        ("georel=near&geometry=Point&coordinates=[8,40]", "georel"),
        ("georel=near;maxDistance==0&geometry=Point&coordinates=[8,40]", "georel"),
        ("georel=near;maxDistance==-1&geometry=Point&coordinates=[8,40]", "georel"),
        ("georel=near;maxDistance==inf&geometry=Point&coordinates=[8,40]", "georel"),
        ("georel=near;maxDistance==1e999&geometry=Point&coordinates=[8,40]", "georel"),
        ("georel=near;maxDistance==5;minDistance==1&geometry=Point&coordinates=[8,40]", "georel"),
        ("georel=within;maxDistance==5&geometry=Point&coordinates=[8,40]", "georel"),
        ("georel=within&geometry=GeometryCollection&coordinates=[8,40]", "geometry"),
        ("georel=within&geometry=Point&coordinates=[8", "coordinates"),
        ("georel=within&geometry=Point&coordinates=[8,100]", "coordinates[1]"),
        ("georel=within&geometry=Polygon&coordinates=[[[0,0],[1,0],[1,1],[0,1]]]", "coordinates[0]"),
    ],
)
def test_bad_values_are_bad_request_data(text: str, where: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        ask(text)
    assert raised.value.fault.where == where
    assert not isinstance(raised.value, InvalidRequest)


@pytest.mark.parametrize(
    "text", ["type=A&foo=1", "type=A&type=B", "type=A&options=nope", "type=A&format=nope", "type=A&join=x"]
)
def test_parameters_that_do_not_fit_are_invalid_requests(text: str) -> None:
    with pytest.raises(InvalidRequest):
        ask(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"type=A&limit={LIMIT_MAX + 1}", TooManyResults),
        ("type=A&idPattern=(a%2B)%2B", TooComplexQuery),
        ("type=A&join=inline&joinLevel=50", TooComplexQuery),
        ("type=A&orderBy=name", Unsupported),
        ("type=A&entityMap=true", Unsupported),
    ],
)
def test_what_is_too_much_or_not_done(text: str, error: type[HutongError]) -> None:
    with pytest.raises(error):
        ask(text)


def test_a_geometry_property_is_for_geojson() -> None:
    assert ask("type=A&geometryProperty=area", geojson=True).shape.geometry == "area"


def test_retrieval_has_fewer_parameters() -> None:
    retrieval = read_retrieval({"type": ["A,(B;C)"], "attrs": ["a"]}, CORE_CONTEXT)
    assert retrieval.types == (("A",), ("B", "C"))
    assert retrieval.shape.attributes == {"a"}
    with pytest.raises(InvalidRequest):
        read_retrieval({"q": ["a"]}, CORE_CONTEXT)


BODY: dict[str, Any] = {"type": "Query", "entities": [{"type": "A"}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, EntityQuery(types=(("A",),))),
        ({"entities": [{"type": "A"}, {"type": "(B;C)"}]}, EntityQuery(types=(("A",), ("B", "C")))),
        ({"entities": [{"type": "A"}, {"type": "*"}]}, EntityQuery()),
        ({"entities": [{"type": "A", "id": "urn:a:1"}]}, EntityQuery(types=(("A",),), ids=("urn:a:1",))),
        ({"entities": [{"type": "A", "id": ["urn:a:1", "urn:a:2"], "idPattern": "x"}]},
         EntityQuery(types=(("A",),), ids=("urn:a:1", "urn:a:2"))),
        ({"q": "a>1"}, EntityQuery(types=(("A",),), where=Compare(("a",), ">", (1,)))),
        ({"attrs": ["a", "b"]}, EntityQuery(types=(("A",),), attributes=("a", "b"))),
        ({"geoQ": {"georel": "within", "geometry": "Point", "coordinates": [8, 40]}},
         EntityQuery(types=(("A",),), geo=GeoFilter(relation="within", geometry=POINT))),
    ],
)  # fmt: skip
def test_a_query_in_a_body(body: Any, expected: EntityQuery) -> None:
    assert read_query_body({**BODY, **body}, {}, CORE_CONTEXT).entities == expected


def test_paging_and_representation_of_a_query_in_a_body_stand_in_the_address() -> None:
    query = read_query_body(
        {**BODY, "pick": ["a"]}, {"limit": ["3"], "options": ["keyValues"], "count": ["true"]}, CORE_CONTEXT
    )
    assert (query.entities.limit, query.shape.form, query.count) == (3, "simplified", True)
    assert query.shape.pick == {"a"}


@pytest.mark.parametrize(
    "body",
    [
        {"entities": []},
        {"attrs": []},
        {"pick": []},
        {"q": 42},
        {"q": "a=="},
        {"type": "NotQuery"},
        {"entities": [{"id": "urn:a:1"}]},
        {"entities": [{"type": "A", "id": "nope"}]},
        {"entities": [{"type": "A", "id": ["urn:a:1", 5]}]},
        {"entities": [{"type": "A", "foo": 1}]},
        {"entities": 5},
        {"joinLevel": 0},
        {"temporalQ": {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"}},
        {"foo": 1},
        {"geoQ": {"georel": "within"}},
        {"geoQ": 5},
        {"scopeQ": 5},
    ],
)
def test_a_faulty_query_in_a_body(body: Any) -> None:
    with pytest.raises(InvalidInput):
        read_query_body({**BODY, **body}, {}, CORE_CONTEXT)


@pytest.mark.parametrize("raw", [5, [], "x", None])
def test_a_body_that_is_no_object(raw: Any) -> None:
    with pytest.raises(InvalidInput):
        read_query_body(raw, {}, CORE_CONTEXT)


def test_several_selectors_are_alternatives() -> None:
    selectors = [{"type": "A", "id": "urn:a:1"}, {"type": "B", "idPattern": "x"}]
    query = read_query_body({**BODY, "entities": selectors}, {}, CORE_CONTEXT)
    assert query.entities.selectors == (
        Selector(ids=("urn:a:1",), types=(("A",),)),
        Selector(id_pattern="x", types=(("B",),)),
    )


def test_members_of_linked_entities_are_picked_in_braces() -> None:
    shape = ask("type=A&join=inline&pick=id,knows{name,lives{id}}&omit=knows{age}").shape
    assert shape.pick == {"id", "knows"}
    assert not shape.omit
    friend = shape.inside("knows")
    assert friend.pick == {"name", "lives"}
    assert friend.omit == {"age"}
    assert friend.inside("lives").pick == {"id"}
    assert not shape.inside("id").pick
