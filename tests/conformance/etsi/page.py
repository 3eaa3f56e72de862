"""The page of the reference that tells what the suite found."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tests.conformance.etsi.cases import Case

LINE_END = "\n"
SPOKEN = (1, 8, 1)  # the version of the standard that is spoken here
UNTAGGED, TAGGED, LATER = "no tag of a version", "tagged up to 1.8.1", "tagged later"
SUITE = "the public ETSI NGSI-LD test suite, copy `marek-mraz/ngsi-ld-test-suite`, commit `5da9091e`"


def class_of(case: Case) -> str:
    if not case.since:
        return UNTAGGED
    return TAGGED if case.since <= SPOKEN else LATER


class Count(msgspec.Struct):
    """How many cases there were, and how many passed."""

    passed: int = 0
    all: int = 0

    def __str__(self) -> str:
        return f"{self.passed} of {self.all}" if self.all else ""

    @property
    def share(self) -> str:
        return f"{self.passed / self.all:.1%}" if self.all else ""


def counts(cases: Iterable[Case]) -> dict[str, dict[str, Count]]:
    """By group and class; the group "" holds the sums."""
    found: dict[str, dict[str, Count]] = {}
    for case in cases:
        for group in (case.group, ""):
            one = found.setdefault(group, {}).setdefault(class_of(case), Count())
            one.all += 1
            one.passed += case.passed
    return found


def page(cases: Sequence[Case], known: Mapping[str, str], day: str) -> str:
    """The page, in Markdown. `known`: what is to be said of cases that fail, by their ids."""
    failing = [case for case in cases if not case.passed]
    return f"""# NGSI-LD against the public test suite

Written by `./dev etsi FOLDER` on {day}. The suite is {SUITE}, in Robot Framework; nothing of it is kept here. All its
cases run against one server on an empty data folder, one after the other, except those tagged `dist-ops`, which need
several brokers. The @contexts that the suite names are read from its own files; one that it names and does not hold
(easy-global-market) is answered with its compound one. Where it would start Mosquitto in a
container, a keyword of ours starts a local one with the suite's own settings; no other line of the suite is changed.

Hutong speaks version 1.8.1 of ETSI GS CIM 009. A case tells by a tag from which version on it holds; the last column
counts what belongs to versions after 1.8.1 and is no promise.

## Counts

{_table(counts(cases))}
## Failing cases

{_failures([case for case in failing if class_of(case) != LATER], known)}
## Failing cases of later versions

{_failures([case for case in failing if class_of(case) == LATER], known)}"""


def _table(found: Mapping[str, Mapping[str, Count]]) -> str:
    classes = (UNTAGGED, TAGGED, LATER)
    rows = [
        f"| {group or '**all**'} | " + " | ".join(str(found[group].get(one, "")) for one in classes) + " |"
        for group in sorted(found, key=lambda group: (not group, group))
    ]
    shares = " | ".join(found.get("", {}).get(one, Count()).share for one in classes)
    return f"""| folder | {" | ".join(classes)} |
| --- | ---: | ---: | ---: |
{LINE_END.join(rows)}
| share | {shares} |
"""


def _failures(cases: Sequence[Case], known: Mapping[str, str]) -> str:
    if not cases:
        return "None.\n"
    rows = [f"| `{case.id}` {case.name} | {case.folder} | {_cell(case, known)} |" for case in cases]
    return f"""| case | folder | why |
| --- | --- | --- |
{LINE_END.join(rows)}
"""


def _cell(case: Case, known: Mapping[str, str]) -> str:
    said = case.reason.replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
    return f"{known[case.id]} ({said})" if case.id in known else said
