"""The query language (clause 4.9), the scope query language (4.19), patterns: what they mean, what is refused."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.engines.sense.ports import AllOf, AnyOf, Compare, Exists, Range
from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld import q as module
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Contexts
from hutong.standards.ngsi_ld.errors import TooComplexQuery
from hutong.standards.ngsi_ld.patterns import PATTERN_LENGTH_MAX, read_pattern
from hutong.standards.ngsi_ld.q import attributes_of, read_q
from hutong.standards.ngsi_ld.scopes import read_scope_query

FAST = Compare(("speed",), ">", (50,))
REVVING = Compare(("rpm",), ">", (3000,))
MERCEDES = Compare(("brandName",), "==", ("Mercedes",))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("temperature", Exists(("temperature",))),
        ("!temperature", Exists(("temperature",), negated=True)),
        ("temperature==20", Compare(("temperature",), "==", (20,))),
        ("temperature==-2.5e1", Compare(("temperature",), "==", (-25.0,))),
        ('brandName!="Mercedes"', Compare(("brandName",), "!=", ("Mercedes",))),
        ('isParked=="urn:ngsi-ld:P:1"', Compare(("isParked",), "==", ("urn:ngsi-ld:P:1",))),
        ("isParked==urn:ngsi-ld:P:1", Compare(("isParked",), "==", ("urn:ngsi-ld:P:1",))),
        ("almostFull==false", Compare(("almostFull",), "==", (False,))),
        ('speed>50;brandName=="Mercedes"', AllOf((FAST, MERCEDES))),
        ("speed>50|rpm>3000", AnyOf((FAST, REVVING))),
        ('speed>50|rpm>3000;brandName=="Mercedes"', AnyOf((FAST, AllOf((REVVING, MERCEDES))))),
        ('((speed>50|rpm>3000);brandName=="Mercedes")', AllOf((AnyOf((FAST, REVVING)), MERCEDES))),
        ("a.b.c<=1", Compare(("a", "b", "c"), "<=", (1,))),
        ('address[city]=="Berlin"', Compare(("address",), "==", ("Berlin",), ("city",))),
        ("sensor.raw[air.pm]==40", Compare(("sensor", "raw"), "==", (40,), ("air", "pm"))),
        ("address[city]", Exists(("address",), ("city",))),
        ('color=="black","red"', Compare(("color",), "==", ("black", "red"))),
        ("t==10..20", Compare(("t",), "==", (Range(10, 20),))),
        ("t!=-1..1.5", Compare(("t",), "!=", (Range(-1, 1.5),))),
        ("d==2026-01-01..2026-02-01", Compare(("d",), "==", (Range("2026-01-01", "2026-02-01"),))),
        ('name~="^Eiffel"', Compare(("name",), "~=", ("^Eiffel",))),
        ("name!~=^(A|B).x;b", AllOf((Compare(("name",), "!~=", ("^(A|B).x",)), Exists(("b",))))),
        ("name~=[;|]x", Compare(("name",), "~=", ("[;|]x",))),
        (r'a=="say \"hi\"; (or) | not"', Compare(("a",), "==", ('say "hi"; (or) | not',))),
        ('名称=="西湖"', Compare(("名称",), "==", ("西湖",))),
        ("t.observedAt>=2017-12-24T12:00:00.000Z", Compare(("t", "observedAt"), ">=", ("2017-12-24T12:00:00Z",))),
        ('t.observedAt<"2026-05-01T10:00:00+08:00"', Compare(("t", "observedAt"), "<", ("2026-05-01T02:00:00Z",))),
    ],
)
def test_what_a_query_means(text: str, meaning: Any) -> None:
    assert read_q(text, CORE_CONTEXT) == meaning


def test_names_are_expanded_and_values_where_asked() -> None:
    context = Contexts().resolve(
        {"ex": "https://example.org/", "category": "ex:category", "commercial": "ex:commercial"}
    )
    assert read_q("category.sub==commercial", context) == Compare(
        ("https://example.org/category", "sub"), "==", ("commercial",)
    )
    expanded = read_q("category==commercial", context, {"https://example.org/category"})
    assert expanded == Compare(("https://example.org/category",), "==", ("https://example.org/commercial",))


def test_the_attributes_of_a_query() -> None:
    condition = read_q("a>1;(b.c|!d);createdAt>2026-01-01T00:00:00Z", CORE_CONTEXT)
    assert attributes_of(condition) == {"a", "b", "d", "createdAt"}


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("a==", 4),
        ("a>>1", 3),
        ("a===1", 4),
        ("(a", 3),
        ("a)", 2),
        ("()", 2),
        ("a;", 3),
        ("a||b", 3),
        ("a==1,", 6),
        ("a==1,,2", 6),
        ("1a", 1),
        ("a.1b", 1),
        ("a b", 2),
        ("a>1..2", 3),
        ("a>1,2", 3),
        ("a>true", 3),
        ('a==1.."x"', 4),
        ("a==true..false", 4),
        ('a=="open', 4),
        (r'a=="\x"', 4),
        ("a[]==1", 2),
        ("a[b", 2),
        ("a[b.]", 2),
        ("a{b}==1", 2),
        ("!a==1", 5),
        ("a==1e999", 4),
        ("a==99999999999999999999", 4),
        ("https://example.org/a==1", 1),
        ("a.observedAt>noon", 14),
        ("a.datasetId==nope", 14),
        ("a~=(", 4),
    ],
)
def test_faults_are_told_with_their_position(text: str, position: int) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_q(text, CORE_CONTEXT)
    assert raised.value.fault.where == f"q:{position}"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 40 + "a" + ")" * 40,
        "|".join(["a"] * (module.TERMS_MAX + 1)),
        "a==" + ",".join(["1"] * (module.VALUES_MAX + 1)),
        "a" * (module.LENGTH_MAX + 1),
        "a~=(x+)+y",
    ],
)
def test_queries_have_bounds(text: str) -> None:
    with pytest.raises(TooComplexQuery):
        read_q(text, CORE_CONTEXT)


@given(st.text(alphabet='ab1.,;|()[]{}=!<>~" \\-:é', max_size=40))
def test_any_text_is_a_query_or_an_error(text: str) -> None:
    try:
        read_q(text, CORE_CONTEXT)
    except HutongError as error:
        where = error.fault.where
    else:
        where = "q"
    assert where.startswith("q")


@pytest.mark.parametrize("pattern", ["^urn:ngsi-ld:.*Building.*$", "a{2,3}", "[a-z]+", r"\d\.\(", "(a|b)c", "[])]x*"])
def test_patterns(pattern: str) -> None:
    assert read_pattern(pattern, "idPattern") == pattern


@pytest.mark.parametrize(
    "pattern",
    ["", "(", "a**", "(?=a)", r"(a)\1", "(?i)a", "[[:alpha:]]", "[a--b]", "x" * (PATTERN_LENGTH_MAX + 1), "[z-a]"],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        read_pattern(pattern, "idPattern")


@pytest.mark.parametrize("pattern", ["(a+)+", "(a*)*b", "(a|aa)+", "((a)+b)*", "(.*)*", "(a{1,9}){1,9}", ".*.*.*.*.*"])
def test_patterns_that_might_never_end(pattern: str) -> None:
    with pytest.raises(TooComplexQuery):
        read_pattern(pattern, "idPattern")


@given(st.text(alphabet="ab.*+?()[]{}|^$\\1,", max_size=20))
def test_any_text_is_a_pattern_or_an_error(text: str) -> None:
    try:
        re.compile(read_pattern(text, "q"))
    except HutongError as error:
        where = error.fault.where
    else:
        where = "q"
    assert where == "q"


@pytest.mark.parametrize(
    ("text", "alternatives"),
    [
        ("/Madrid", (("/Madrid",),)),
        ("/Madrid/+/ParqueNorte", (("/Madrid/+/ParqueNorte",),)),
        ("/Madrid/ /ParqueNorte", (("/Madrid/+/ParqueNorte",),)),
        ("/Madrid/#,/CompanyA|/#", (("/Madrid/#",), ("/CompanyA",), ("/#",))),
        ("(/Madrid)", (("/Madrid",),)),
        ("/a;/b", (("/a", "/b"),)),
        ("/a;(/b,/c)|/d", (("/a", "/b"), ("/a", "/c"), ("/d",))),
    ],
)
def test_scope_queries(text: str, alternatives: tuple[tuple[str, ...], ...]) -> None:
    assert read_scope_query(text) == alternatives


@pytest.mark.parametrize("text", ["Madrid", "/9", "/a//b", "/a/#/b", "/a,", "/a-b"])
def test_what_is_no_scope_query(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_scope_query(text)


def test_a_scope_query_that_would_grow_without_end_is_refused() -> None:
    with pytest.raises(TooComplexQuery):
        read_scope_query(";".join(["(/a,/b)"] * 20))
