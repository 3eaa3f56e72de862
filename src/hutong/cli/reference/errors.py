"""The page of errors over HTTP and of faults in declarations, by code."""

import inspect
from collections.abc import Iterator

from hutong.cli.reference.fault_codes import FAULT_CODES
from hutong.kernel.errors import HutongError
from hutong.standards.ngsi_ld.errors import problem

_INTRODUCTION = """Written by `hutong reference`. Over HTTP an error is a problem document (RFC 9457) with `code`,
`detail` (what is wrong) and, where they are known, `where`, `seen`, `allowed` and `fix`. Codes are stable. Under
`/ngsi-ld/v1` the `type` is the standard's own, given here too. What the router itself refuses has the code `http-` and
the status, such as `http-405`; what nobody foresaw is `internal`, 500, and the server's log has the rest.

通过 HTTP 返回的错误采用 RFC 9457 格式，`code` 保持稳定，并尽量给出位置、所见值、允许值和修正办法。"""
_FAULTS = """What `hutong check` finds in packs and cities, and what reading a file may reject. Each fault is told with
its place, the value seen, the values allowed and the fix."""


def errors() -> str:
    """Every error and every code of a fault as Markdown, each with a heading of its own."""
    parts = ["# Errors 错误", "", _INTRODUCTION, "", "## Errors of requests and commands"]
    for kind in sorted(error_classes(), key=lambda one: (one.status, one.code)):
        parts += [
            "",
            f"### `{kind.code}`",
            "",
            f"{kind.status} {kind.title}. {' '.join((inspect.getdoc(kind) or '').split())}",
        ]
        parts += ["", f"NGSI-LD type: `{problem(kind(''))['type']}`."]
    parts += ["", "## Faults in declarations and files", "", _FAULTS]
    for code, meaning in sorted(FAULT_CODES.items()):
        parts += ["", f"### `{code}`", "", f"{meaning[:1].upper()}{meaning[1:]}."]
    return "\n".join(parts) + "\n"


def error_classes(above: type[HutongError] = HutongError) -> Iterator[type[HutongError]]:
    """Every class of error below one, of all modules loaded."""
    for kind in above.__subclasses__():
        yield kind
        yield from error_classes(kind)
