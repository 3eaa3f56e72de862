"""What the commands that read packs are handed: the format of packs, and how to build a Hutong in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

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

    def with_cities(self, folders: Sequence[Path]) -> "Composition":
        """The same with the cities in further folders."""
        return replace(self, city_roots=(*self.city_roots, *folders))


DATA = Path("var/demo")
"""Where a city's data stand unless another folder is named; `./dev run` uses it too."""

cities_option = click.option(
    "--cities",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="A further folder of cities; may be repeated.",
)

packs_option = click.option(
    "--packs",
    "folders",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="A further folder of packs; may be repeated.",
)
