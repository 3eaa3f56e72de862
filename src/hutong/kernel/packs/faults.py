"""A list that gathers everything wrong with declarations, so that all of it is told at once."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping

import msgspec

from hutong.kernel.errors import DeclarationFaults, Fault, HutongError, shown


class Faults:
    """Faults found so far; reading goes on after each."""

    def __init__(self) -> None:
        self._found: list[Fault] = []

    def add(
        self, code: str, what: str, *, where: str = "", seen: object = "", allowed: str = "", fix: str = ""
    ) -> None:
        """Note a fault. `where` is `pack/file.toml:12`; `code` is stable; CODES lists the kernel's."""
        self._found.append(Fault(code=code, what=what, where=where, seen=shown(seen), allowed=allowed, fix=fix))

    def take(self, error: HutongError, where: str = "") -> None:
        """Note the fault an error carries, at `where` when given."""
        self._found.append(msgspec.structs.replace(error.fault, where=where) if where else error.fault)

    def take_all(self, error: DeclarationFaults) -> None:
        """Note every fault that an error carries."""
        self._found += error.faults

    def extend(self, faults: "Faults", without: Collection[str] = ()) -> None:
        """Take over the faults of another list, except those whose `where` is in `without`."""
        self._found += [fault for fault in faults if fault.where not in without]

    def check(self) -> None:
        """Raise DeclarationFaults when there are any."""
        if self._found:
            raise DeclarationFaults(tuple(self))

    def __iter__(self) -> Iterator[Fault]:
        """Sorted by file and line."""
        return iter(
            sorted(
                self._found,
                key=lambda fault: [
                    int(part) if part.isdecimal() else part for part in re.split(r":(\d+)$", fault.where)
                ],
            )
        )

    def __len__(self) -> int:
        return len(self._found)


def nearest(seen: str, known: Collection[str]) -> str:
    """The known name that looks most like the one seen, or nothing when none does."""
    return next(iter(difflib.get_close_matches(seen, known, n=1)), "")


def meant(seen: str, known: Collection[str]) -> str:
    """`did you mean …?` when a known name is near, else nothing."""
    near = nearest(seen, known)
    return f"did you mean `{near}`?" if near else ""


def listed(names: Collection[str], longest: int = 12) -> str:
    """Names separated by commas, cut after `longest` of them."""
    ordered = sorted(names)
    return ", ".join(ordered[:longest]) + (f" and {len(ordered) - longest} more" if len(ordered) > longest else "")


CODES: Mapping[str, str] = {
    "declared-twice": "two packs declare differently what has one name in the whole city",
    "empty-text": "a text is there and says nothing",
    "invalid-input": "a text that cannot be read as what it stands for, such as an instant or an address",
    "migration-needed": "a running city keeps values by a declaration that has changed or gone",
    "missing-file": "a file that every pack or city has is not there, or is empty",
    "missing-folder": "a folder of packs is not there",
    "missing-key": "a key that must be there is not",
    "missing-text": "a declared name has no text in one of the languages",
    "name-differs": "a pack or city calls itself otherwise than its folder",
    "not-implemented": "a proof is for a platform that its pack does not implement",
    "not-utf8": "a file is not UTF-8",
    "out-of-range": "a number is outside its range, or not finite",
    "pack-twice": "two packs have one name",
    "pattern-not-met": "a text does not have the form it must have",
    "proof-failed": "a proof does not hold",
    "proof-rests-on-nothing": "a proof holds without a declaration that it says it rests on",
    "step-verb": "a step of a proof does nothing, or several things",
    "text-without-declaration": "a text is for a name that nothing declares",
    "too-large": "a file is larger than a declaration can be",
    "toml-syntax": "a file is not TOML",
    "unknown-declaration": "a proof rests on a declaration that the pack does not have",
    "unknown-file": "a file that nothing reads",
    "unknown-function": "a proof is for a function that the mission does not have",
    "unknown-key": "a key that nothing reads",
    "unknown-pack": "a city switches on a pack that there is not",
    "unknown-platform": "a pack implements a platform that the mission does not have",
    "unknown-sector": "a pack is in a sector that the mission does not have",
    "unknown-timezone": "a city's time zone is not an IANA time zone",
    "value-not-allowed": "a value is not one of those allowed",
    "wrong-length": "a text or list is too short or too long",
    "wrong-type": "a value is of another type",
}
"""The codes of faults that the kernel and `hutong check` find, and what each means. Engines have codes of their own."""
