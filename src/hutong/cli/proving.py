"""Runs proofs: as they are, and once more without each declaration that they say they rest on."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct

from hutong.cli.expectations import unmet
from hutong.kernel.clock import duration, instant
from hutong.kernel.errors import Fault, HutongError
from hutong.kernel.packs import City, Pack, PackFormat, Packs, read_packs
from hutong.kernel.packs.proofs import HTTP_VERBS, Address, ProofDeclaration, Step, address


class Answer(Struct, frozen=True):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Harness(Protocol):
    """A whole Hutong in memory under a frozen clock, for one proof. What was asked of it has happened on return:
    reactors have run, files that arrived are read, what was due by the clock is done."""

    def request(self, method: str, path: str, *, body: bytes, headers: Mapping[str, str], role: str) -> Answer:
        """Ask over HTTP as an actor of the role; the empty role is nobody known."""

    def drop_file(self, name: str, content: bytes) -> None:
        """Let a file arrive in the folder of incoming files."""

    def advance(self, microseconds: int) -> None:
        """Move the clock on."""

    def close(self) -> None: ...


HarnessFactory: TypeAlias = Callable[[Packs, City | None, int], Harness]
"""Builds a harness with these packs, for this city, at this instant. May raise HutongError."""


class Trial(Struct, frozen=True, kw_only=True):
    """One proof, tried. `failure` is empty when it holds; `without` says for each declaration taken away how the
    proof failed then, and is empty where it held all the same."""

    pack: str
    where: str
    proof: ProofDeclaration
    failure: str
    without: Mapping[str, str]

    @property
    def holds(self) -> bool:
        return not self.failure and all(self.without.values())

    def faults(self) -> list[Fault]:
        """What is wrong with the proof, or with what it proves."""
        if self.failure:
            return [
                Fault(
                    code="proof-failed",
                    what=f"the proof of `{self.proof.function}` fails: {self.failure}",
                    where=self.where,
                )
            ]
        return [
            Fault(
                code="proof-rests-on-nothing",
                where=self.where,
                seen=target,
                what=f"the proof of `{self.proof.function}` holds without a declaration it says it rests on",
                fix="prove what the declaration does, or remove it from `rests_on`",
            )
            for target, how in self.without.items()
            if not how
        ]


class Prover:
    """Tries proofs of packs. Each pack stands alone, as it is complete and deletable."""

    def __init__(
        self, roots: Sequence[Traversable], form: PackFormat, harness: HarnessFactory, city: City | None = None
    ) -> None:
        self._roots = roots
        self._form = form
        self._harness = harness
        self._city = city

    def trials(self, packs: Packs) -> list[Trial]:
        """Every proof of every pack, tried."""
        return [
            self._trial(pack, pack.where(file, "proof", n), proof) for pack in packs for file, n, proof in pack.proofs()
        ]

    def _trial(self, pack: Pack, where: str, proof: ProofDeclaration) -> Trial:
        failure = self._attempt(pack, proof, None)
        without = {} if failure else {target: self._attempt(pack, proof, address(target)) for target in proof.rests_on}
        return Trial(pack=pack.name, where=where, proof=proof, failure=failure, without=without)

    def _attempt(self, pack: Pack, proof: ProofDeclaration, without: Address | None) -> str:
        """How the proof fails, or nothing when it holds. That the pack does not load is a way of failing."""
        packs, faults = read_packs(self._roots, self._form, only=pack.name, without=without)
        for fault in faults:
            return f"the pack does not load: {fault}"
        try:
            harness = self._harness(packs, self._city, instant(proof.at))
        except HutongError as error:
            return f"the pack does not start: {error}"
        try:
            return run_steps(proof, harness)
        finally:
            harness.close()


def run_steps(proof: ProofDeclaration, harness: Harness) -> str:
    """Run the steps of a proof in order. Gives what failed first, in words; nothing when all went as expected."""
    for phase, steps in (("given", proof.given), ("when", proof.when), ("then", proof.then)):
        for number, step in enumerate(steps, 1):
            if failure := _run(step, harness):
                return f"{phase} {number}, {failure}"
    return ""


def _run(step: Step, harness: Harness) -> str:
    if step.advance:
        harness.advance(duration(step.advance))
        return ""
    if step.drop_file:
        harness.drop_file(step.drop_file, step.text.encode())
        return ""
    verb = next(verb for verb in (*HTTP_VERBS, "page") if getattr(step, verb))
    path, is_page = getattr(step, verb), verb == "page"
    headers = {"Accept": "text/html" if is_page else "application/json"}
    body = b""
    if step.body is not None:
        headers["Content-Type"] = "application/json"
        body = msgspec.json.encode(step.body)
    method = "GET" if is_page else verb.upper()
    answer = harness.request(method, path, body=body, headers=headers | step.headers, role=step.role)
    failure = _unexpected(step, answer)
    return f"{method} {path}: {failure}" if failure else ""


def _unexpected(step: Step, answer: Answer) -> str:
    """What in the answer is not as the step expects."""
    text = answer.body.decode(errors="replace")
    right = 200 <= answer.status <= 299 if step.status is None else answer.status == step.status
    if not right:
        return f"status {answer.status}, expected {step.status or '200 to 299'}: {text[:300]}"
    for part in step.contains:
        if part not in text:
            return f"`{part}` does not stand in the answer"
    for part in step.lacks:
        if part in text:
            return f"`{part}` stands in the answer"
    if not step.expect:
        return ""
    try:
        document = msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        return f"the answer is not JSON: {error}"
    return unmet(document, step.expect)
