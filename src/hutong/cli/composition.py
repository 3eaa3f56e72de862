"""What the commands that read packs are handed: the format of packs, and how to build a Hutong in memory."""

from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable

from hutong.cli.proving import HarnessFactory
from hutong.kernel.packs import PackFormat


def _packaged(folder: str) -> tuple[Traversable, ...]:
    return (resources.files("hutong") / folder,)


@dataclass(frozen=True)
class Composition:
    """The composition root's gift to `hutong check`, `hutong reference` and `hutong new-pack` (click's `obj`)."""

    form: PackFormat
    harness: HarnessFactory
    pack_roots: tuple[Traversable, ...] = field(default_factory=lambda: _packaged("packs"))
    city_roots: tuple[Traversable, ...] = field(default_factory=lambda: _packaged("cities"))
