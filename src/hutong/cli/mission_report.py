"""How much of the mission is proved: counted from trials, printed platform by platform, and written as Markdown."""

from collections.abc import Iterator, Sequence

from hutong.cli.proving import Trial
from hutong.kernel.errors import Fault
from hutong.kernel.mission import Function, Mission, Platform
from hutong.kernel.packs import Packs

_INTRODUCTION = """Written by `hutong reference`. A function is proved when its proofs hold, and fail without each
declaration that they rest on. `runs`: software; `tracked`: cables and halls, which the programme follows."""


class MissionReport:
    """The state of every function. A function is proved when it has a proof and all its proofs hold."""

    def __init__(self, mission: Mission, packs: Packs, trials: Sequence[Trial]) -> None:
        self._mission = mission
        self._begun = {platform for pack in packs for platform in pack.implements}
        self._trials: dict[str, list[Trial]] = {}
        for trial in trials:
            self._trials.setdefault(trial.proof.function, []).append(trial)

    def proved(self, function: Function) -> bool:
        trials = self._trials.get(function.id, [])
        return bool(trials) and all(trial.holds for trial in trials)

    def complete(self, platform: Platform) -> bool:
        return all(map(self.proved, platform.functions))

    def faults(self) -> list[Fault]:
        """Proofs that fail, and proofs that hold without what they rest on. An unproved function is no fault."""
        return [fault for trials in self._trials.values() for trial in trials for fault in trial.faults()]

    def summary(self) -> str:
        """The count, honestly from 0 upward."""
        functions = self._mission.functions().values()
        proved = [function.kind for function in functions if self.proved(function)]
        complete = sum(map(self.complete, self._mission.platforms.values()))
        return (
            f"{len(proved)} of {len(functions)} functions proved ({proved.count('runs')} run, "
            f"{proved.count('tracked')} tracked), {complete} of {len(self._mission.platforms)} platforms complete"
        )

    def lines(self) -> Iterator[str]:
        """The report for a terminal; functions are listed where a pack implements their platform."""
        for sector, platforms in self._by_sector():
            yield sector
            for platform in platforms:
                yield f"  {self._share(platform):>7}  {platform.id}  {platform.zh}"
                for function in platform.functions if platform.id in self._begun else ():
                    yield f"           {self._state(function):10}{function.kind:9}{function.id.partition('/')[2]}"
        yield self.summary()

    def markdown(self) -> str:
        """The report as a page of the reference."""
        parts = ["# How much of the mission is proved", "", _INTRODUCTION, "", f"**{self.summary()}**"]
        for sector, platforms in self._by_sector():
            parts += ["", f"## {sector}", "", "| platform | 平台 | functions proved |", "| --- | --- | --- |"]
            parts += [f"| {platform.en} | {platform.zh} | {self._share(platform)} |" for platform in platforms]
            for platform in platforms:
                if platform.id in self._begun:
                    parts += ["", f"### {platform.en} `{platform.id}`", ""]
                    parts += [row for function in platform.functions for row in self._rows(function)]
        return "\n".join(parts) + "\n"

    def _rows(self, function: Function) -> Iterator[str]:
        yield f"- **{self._state(function)}** ({function.kind}) `{function.id.partition('/')[2]}`: {function.text}"
        for trial in self._trials.get(function.id, []):
            yield f"  - {trial.proof.says.zh} {trial.proof.says.en} (pack `{trial.pack}`)"

    def _state(self, function: Function) -> str:
        if self.proved(function):
            return "proved"
        return "failed" if function.id in self._trials else "unproved"

    def _share(self, platform: Platform) -> str:
        return f"{sum(map(self.proved, platform.functions))} of {len(platform.functions)}"

    def _by_sector(self) -> Iterator[tuple[str, list[Platform]]]:
        for id, sector in self._mission.sectors.items():
            platforms = [platform for platform in self._mission.platforms.values() if platform.sector == id]
            yield f"{sector.en} {sector.zh}", platforms
