"""What must hold of a proof before it is run: its function, its declarations, its clock and its steps exist."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from hutong.kernel.clock import instant
from hutong.kernel.errors import HutongError
from hutong.kernel.mission import Mission
from hutong.kernel.packs.faults import Faults, listed, meant
from hutong.kernel.packs.pack import Pack
from hutong.kernel.packs.proofs import VERBS, ProofDeclaration, Step, address

T = TypeVar("T")


@dataclass(frozen=True)
class ProofChecks:
    """Notes the faults of a pack's proofs. `targets` are the files whose declarations a proof may rest on. Files that
    are `unread`, and `doubtful` places where a value was faulty, have been told of already."""

    pack: Pack
    mission: Mission
    targets: Collection[str]
    unread: Collection[str]
    doubtful: Collection[str]
    faults: Faults

    def run(self) -> None:
        for file, n, proof in self.pack.proofs():
            at = ("proof", n)
            if proof.function:
                self._function(proof, self.pack.where(file, *at, "function"))
            for m, text in enumerate(proof.rests_on):
                if text:
                    self._rests_on(text, self.pack.where(file, *at, "rests_on", m))
            if proof.at:
                self._read(instant, proof.at, self.pack.where(file, *at, "at"))
            for phase, steps in (("given", proof.given), ("when", proof.when), ("then", proof.then)):
                for m, step in enumerate(steps):
                    self._step(step, self.pack.where(file, *at, phase, m))

    def _function(self, proof: ProofDeclaration, where: str) -> None:
        platform, functions = proof.function.partition("/")[0], self.mission.functions()
        if proof.function not in functions:
            known = (
                [function.id for function in self.mission.platforms[platform].functions]
                if platform in self.mission.platforms
                else []
            )
            self.faults.add(
                "unknown-function",
                "the mission has no such function",
                where=where,
                seen=proof.function,
                allowed=listed(known, 30),
                fix=meant(proof.function, functions),
            )
        elif platform not in self.pack.implements:
            self.faults.add(
                "not-implemented",
                "a proof for a platform that the pack does not implement",
                where=where,
                seen=proof.function,
                allowed=listed(self.pack.implements),
                fix=f"add `{platform}` to `implements` in pack.toml",
            )

    def _rests_on(self, text: str, where: str) -> None:
        target = self._read(address, text, where)
        if target is None or target.file in self.unread:
            return
        if target.file in self.targets and target.path in self.pack.lines.get(target.file, ()):
            return
        files = [file for file in self.targets if file in self.pack.lines]
        self.faults.add(
            "unknown-declaration",
            "there is no such declaration in the pack",
            where=where,
            seen=text,
            allowed=f"a key in {listed(files)}",
            fix=meant(target.file, files),
        )

    def _step(self, step: Step, where: str) -> None:
        verbs = step.verbs()
        if len(verbs) != 1 and where not in self.doubtful:
            self.faults.add(
                "step-verb",
                "a step does exactly one thing",
                where=where,
                seen=", ".join(verbs) or "none",
                allowed=f"one of {', '.join(VERBS)}",
            )

    def _read(self, read: Callable[[str], T], text: str, where: str) -> T | None:
        """What `read` makes of a text, or None with the fault noted at its place."""
        try:
            return read(text)
        except HutongError as error:
            self.faults.take(error, where)
            return None
