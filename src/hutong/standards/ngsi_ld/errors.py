"""Errors as NGSI-LD tells them (clauses 5.5.2, 5.5.3, 6.3.2), and the results of batches (5.2.16 to 5.2.19).

    HutongError                       type in NGSI-LD       status
    ├── InvalidInput                  BadRequestData        400
    │   ├── MalformedBody             InvalidRequest        400
    │   ├── InvalidRequest            InvalidRequest        400  parameters that do not fit the operation
    │   └── OutOfRange                BadRequestData        400
    ├── NotFound                      ResourceNotFound      404
    ├── AlreadyExists                 AlreadyExists         409
    ├── Conflict                      Conflict              409
    ├── Unsupported                   OperationNotSupported 422
    ├── LdContextNotAvailable         LdContextNotAvailable 504
    ├── TooComplexQuery               TooComplexQuery       403
    ├── TooManyResults                TooManyResults        403
    ├── TooLarge                      InvalidRequest        413
    ├── UnsupportedMediaType          InvalidRequest        415
    ├── NotAcceptable                 InvalidRequest        406
    ├── LengthRequired                InvalidRequest        411
    └── whatever answers with 5xx     InternalError         its own

What NGSI-LD has no type for (401, 403 of access) keeps the type of the house.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from hutong.engines.sense.ports import Changed
from hutong.kernel.errors import (
    AlreadyExists,
    Conflict,
    HutongError,
    InvalidInput,
    MalformedBody,
    NotFound,
    TooLarge,
    Unsupported,
)

ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"


class InvalidRequest(InvalidInput):
    """The parameters or headers do not fit the operation."""

    code, title = "invalid-request", "Invalid request"


class LdContextNotAvailable(HutongError):
    """A @context that the request refers to cannot be had."""

    code, status, title = "ld-context-not-available", 504, "JSON-LD @context not available"


class TooComplexQuery(HutongError):
    """The query would cost too much to answer."""

    code, status, title = "too-complex-query", 403, "Query too complex"


class TooManyResults(HutongError):
    """The answer would be too large; the query is to be narrowed."""

    code, status, title = "too-many-results", 403, "Too many results"


class UnsupportedMediaType(HutongError):
    """The body is of a media type that the operation does not read."""

    code, status, title = "unsupported-media-type", 415, "Unsupported media type"


class NotAcceptable(HutongError):
    """None of the media types that the client accepts is on offer."""

    code, status, title = "not-acceptable", 406, "Not acceptable"


class LengthRequired(HutongError):
    """The request does not say how long its body is."""

    code, status, title = "length-required", 411, "Length required"


_TYPES: Sequence[tuple[type[HutongError], str]] = (  # the first that fits
    (MalformedBody, "InvalidRequest"),
    (InvalidRequest, "InvalidRequest"),
    (InvalidInput, "BadRequestData"),
    (NotFound, "ResourceNotFound"),
    (AlreadyExists, "AlreadyExists"),
    (Conflict, "Conflict"),
    (Unsupported, "OperationNotSupported"),
    (LdContextNotAvailable, "LdContextNotAvailable"),
    (TooComplexQuery, "TooComplexQuery"),
    (TooManyResults, "TooManyResults"),
    (TooLarge, "InvalidRequest"),
    (UnsupportedMediaType, "InvalidRequest"),
    (NotAcceptable, "InvalidRequest"),
    (LengthRequired, "InvalidRequest"),
)


def located(error: HutongError, where: str) -> HutongError:
    """The same error, its place set under `where`; paths read `[3].temperature.observedAt`."""
    inner = error.fault.where
    dot = "." if inner and where and not inner.startswith("[") else ""
    error.fault = msgspec.structs.replace(error.fault, where=where + dot + inner)
    error.args = (str(error.fault),)
    return error


def problem(error: HutongError) -> dict[str, Any]:
    """ProblemDetails as JSON-ready mapping: `detail` tells all, and where, seen, allowed and fix stand apart too."""
    told = error.problem()
    for cls, name in _TYPES:
        if isinstance(error, cls):
            told["type"] = ERRORS + name
            break
    else:
        if error.status >= 500:
            told["type"] = ERRORS + "InternalError"
    told["detail"] = str(error.fault)
    return told


def internal_problem(reference: str) -> dict[str, Any]:
    """ProblemDetails of a failure nobody foresaw; `reference` finds it in the log."""
    return {
        "type": ERRORS + "InternalError",
        "title": "Internal error",
        "status": 500,
        "code": "internal",
        "detail": f"something failed here; the log knows more under {reference}",
        "instance": reference,
    }


def batch_result(success: Sequence[str], errors: Iterable[tuple[str, HutongError]]) -> dict[str, Any]:
    """BatchOperationResult: ids that went well, and what befell each of the others (`""` for an item without id)."""
    return {
        "success": list(success),
        "errors": [{"entityId": entity, "error": problem(error)} for entity, error in errors],
    }


def update_result(changed: Changed, full_name: Callable[[str], str]) -> dict[str, Any]:
    """UpdateResult, with fully qualified names as clause 6.3.6 wants them."""
    refused: Mapping[str, HutongError] = changed.refused
    return {
        "updated": [full_name(key) for key in changed.changed],
        "notUpdated": [{"attributeName": full_name(key), "reason": str(error.fault)} for key, error in refused.items()],
    }
