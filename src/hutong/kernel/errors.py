"""Errors that say what, where, the value seen, the values allowed and the fix.

HutongError
├── InvalidInput        400  the request itself is wrong
│   ├── MalformedBody   400  the body cannot be read
│   └── OutOfRange      400  a value lies outside what its property allows
├── NotAuthenticated    401  nobody is known behind the request
├── AccessDenied        403  the actor may not do this
├── NotFound            404  no such thing
├── AlreadyExists       409  the id is taken
├── Conflict            409  somebody changed it meanwhile
├── TooLarge            413  a body, batch or page over its bound
├── Unsupported         422  understood, and not done here
├── Overloaded          503  a bounded queue is full: try again later
├── DeliveryFailed      502  the receiver did not take a message: it is sent again
│   └── ReceiverAway    502  nobody answered for the receiver: no message is to blame
├── DeliveryRefused     502  a message can never be delivered
├── StorageFull         507  nothing can be written until there is space
├── IntegrityBroken     500  the ledger and what stands on it disagree
└── DeclarationFaults   500  a pack or city that cannot be loaded, all faults at once
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

PROBLEM_TYPE = "urn:hutong:error:"


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong, told so that its reader can mend it.

    `where` is a JSON path, a column and row, or `file.toml:12`; `seen` and `allowed` are short texts.
    """

    code: str
    what: str
    where: str = ""
    seen: str = ""
    allowed: str = ""
    fix: str = ""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        parts += [
            f"{label}: {text}"
            for label, text in (("seen", self.seen), ("allowed", self.allowed), ("fix", self.fix))
            if text
        ]
        return "; ".join(parts)


def shown(value: Any, longest: int = 80) -> str:
    """A value as a short text for `Fault.seen`, cut at `longest` characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


class HutongError(Exception):
    """The root of all expected errors. `code` is stable; `status` is what HTTP answers."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"

    def __init__(self, what: str, *, where: str = "", seen: Any = "", allowed: str = "", fix: str = "") -> None:
        self.fault = Fault(code=self.code, what=what, where=where, seen=shown(seen), allowed=allowed, fix=fix)
        super().__init__(str(self.fault))

    def problem(self) -> dict[str, Any]:
        """RFC 9457 problem details as a JSON-ready mapping."""
        fault = {k: v for k, v in msgspec.to_builtins(self.fault).items() if k not in ("code", "what")}
        return {
            "type": PROBLEM_TYPE + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.fault.what,
            "code": self.code,
            **fault,
        }


class InvalidInput(HutongError):
    """The request itself is wrong; sending it again changes nothing."""

    code, status, title = "invalid-input", 400, "Invalid input"


class MalformedBody(InvalidInput):
    """The body cannot be read at all: not JSON, not UTF-8, not the type it says it is."""

    code, title = "malformed-body", "Malformed body"


class OutOfRange(InvalidInput):
    """A value lies outside the range of a property that rejects such values."""

    code, title = "out-of-range", "Value out of range"


class NotAuthenticated(HutongError):
    """Nobody is known behind the request, and what it asks needs somebody."""

    code, status, title = "not-authenticated", 401, "Not authenticated"


class AccessDenied(HutongError):
    """The actor may not do this, or not for this purpose."""

    code, status, title = "access-denied", 403, "Access denied"


class NotFound(HutongError):
    """There is no such thing, or none that the actor may know of."""

    code, status, title = "not-found", 404, "Not found"


class AlreadyExists(HutongError):
    """The id is taken."""

    code, status, title = "already-exists", 409, "Already exists"


class Conflict(HutongError):
    """Somebody changed it since it was read."""

    code, status, title = "conflict", 409, "Conflict"


class TooLarge(HutongError):
    """A body, batch, page or file over its named bound."""

    code, status, title = "too-large", 413, "Too large"


class Unsupported(HutongError):
    """Understood, and not done here."""

    code, status, title = "unsupported", 422, "Unsupported"


class Overloaded(HutongError):
    """A bounded queue is full; the same request may succeed later."""

    code, status, title = "overloaded", 503, "Overloaded"


class DeliveryFailed(HutongError):
    """The receiver did not take a message; it is sent again, a bounded number of times."""

    code, status, title = "delivery-failed", 502, "Delivery failed"


class ReceiverAway(DeliveryFailed):
    """Nobody answered for the receiver, so the message is not to blame: it is sent again until it is too old."""

    code, title = "receiver-away", "Receiver away"


class DeliveryRefused(HutongError):
    """A message can never be delivered as it is; it waits among the dead letters for an operator."""

    code, status, title = "delivery-refused", 502, "Delivery refused"


class StorageFull(HutongError):
    """Nothing can be written until there is space; nothing that was acknowledged is lost."""

    code, status, title = "storage-full", 507, "Storage full"


class IntegrityBroken(HutongError):
    """The ledger and what stands on it disagree."""

    code, status, title = "integrity-broken", 500, "Integrity broken"


class DeclarationFaults(HutongError):
    """A pack or city that cannot be loaded. Carries every fault found, not the first."""

    code, status, title = "declaration-faults", 500, "Faulty declarations"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{len(self.faults)} faults in declarations", fix="run `hutong check` and mend each")

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


def error_of(fault: Fault) -> HutongError:
    """The error that a fault was once told by."""
    kinds = [HutongError]
    for kind in kinds:
        if kind.code == fault.code:
            break
        kinds += kind.__subclasses__()
    else:
        kind = HutongError
    error = kind.__new__(kind)
    error.fault = fault
    error.args = (str(fault),)
    return error
