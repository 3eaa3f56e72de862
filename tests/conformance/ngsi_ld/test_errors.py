"""Errors as clauses 5.5.2, 5.5.3 and 6.3.2 have them, and the results of batches."""

import pytest

from hutong.engines.sense.ports import Changed
from hutong.kernel import errors as kernel
from hutong.kernel.errors import HutongError, InvalidInput, NotFound
from hutong.standards.ngsi_ld import errors
from hutong.standards.ngsi_ld.contexts import full_name
from hutong.standards.ngsi_ld.errors import ERRORS, batch_result, internal_problem, located, problem, update_result


@pytest.mark.parametrize(
    ("cls", "name", "status"),
    [
        (kernel.InvalidInput, "BadRequestData", 400),
        (kernel.OutOfRange, "BadRequestData", 400),
        (kernel.MalformedBody, "InvalidRequest", 400),
        (errors.InvalidRequest, "InvalidRequest", 400),
        (kernel.NotFound, "ResourceNotFound", 404),
        (kernel.AlreadyExists, "AlreadyExists", 409),
        (kernel.Conflict, "Conflict", 409),
        (kernel.Unsupported, "OperationNotSupported", 422),
        (errors.LdContextNotAvailable, "LdContextNotAvailable", 504),
        (errors.TooComplexQuery, "TooComplexQuery", 403),
        (errors.TooManyResults, "TooManyResults", 403),
        (kernel.TooLarge, "InvalidRequest", 413),
        (errors.NotAcceptable, "InvalidRequest", 406),
        (kernel.StorageFull, "InternalError", 507),
        (kernel.Overloaded, "InternalError", 503),
    ],
)
def test_each_error_has_its_type_and_status(cls: type[HutongError], name: str, status: int) -> None:
    told = problem(cls("what", where="speed", seen="5", allowed="0 to 4", fix="send less"))
    assert (told["type"], told["status"]) == (ERRORS + name, status)
    assert told["title"]
    assert told["detail"] == "speed: what; seen: 5; allowed: 0 to 4; fix: send less"
    assert (told["where"], told["seen"], told["allowed"], told["fix"]) == ("speed", "5", "0 to 4", "send less")


def test_what_ngsi_ld_has_no_type_for_keeps_that_of_the_house() -> None:
    assert problem(kernel.AccessDenied("no"))["type"] == kernel.PROBLEM_TYPE + "access-denied"


def test_what_nobody_foresaw_tells_nothing_of_its_inside() -> None:
    told = internal_problem("ref-1")
    assert (told["type"], told["status"]) == (ERRORS + "InternalError", 500)
    assert "ref-1" in told["detail"]


@pytest.mark.parametrize(
    ("inner", "outer", "path"),
    [
        ("", "speed", "speed"),
        ("value", "speed", "speed.value"),
        ("[1]", "speed", "speed[1]"),
        ("a", "[3]", "[3].a"),
        ("a", "", "a"),
    ],
)
def test_places_are_put_together(inner: str, outer: str, path: str) -> None:
    error = located(InvalidInput("x", where=inner, seen="y" * 100), outer)
    assert error.fault.where == path
    assert str(error) == str(error.fault)


def test_results_of_batches() -> None:
    told = batch_result(["urn:a:1"], [("urn:a:2", NotFound("gone", where="[1].id"))])
    assert told["success"] == ["urn:a:1"]
    assert [(e["entityId"], e["error"]["type"]) for e in told["errors"]] == [("urn:a:2", ERRORS + "ResourceNotFound")]


def test_results_of_updates_name_attributes_in_full() -> None:
    changed = Changed(id="urn:a:1", changed=("speed",), refused={"location": NotFound("no such attribute")})
    told = update_result(changed, full_name)
    assert told["updated"] == ["https://uri.etsi.org/ngsi-ld/default-context/speed"]
    assert told["notUpdated"] == [
        {"attributeName": "https://uri.etsi.org/ngsi-ld/location", "reason": "no such attribute"}
    ]
