"""A pack as it was read, and all packs together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import TypeAlias, TypeVar

from msgspec import Struct

from hutong.kernel.packs.declarations import MigrationDeclaration, PackFile
from hutong.kernel.packs.faults import Faults
from hutong.kernel.packs.lines import KeyLines
from hutong.kernel.packs.proofs import ProofDeclaration, ProofsFile
from hutong.kernel.packs.texts import Text, Texts

F = TypeVar("F", bound=Struct)


@dataclass(frozen=True, kw_only=True)
class Pack:
    """One pack as it was read. `files` holds the declarations by file name, proofs among them."""

    name: str
    implements: tuple[str, ...]
    sector: str
    path: Traversable
    files: Mapping[str, Struct]
    texts: Mapping[str, Texts] = field(default_factory=dict)
    lines: Mapping[str, KeyLines] = field(default_factory=dict)

    def where(self, file: str, *path: str | int) -> str:
        """Where a declaration is written, for faults: `street_lights/alerts.toml:12`."""
        return f"{self.name}/{file}:{self.lines[file].line(path)}" if file in self.lines else f"{self.name}/{file}"

    def text(self, language: str, *path: str) -> Text:
        """What people read for a declared name, or for the pack itself without a path. KeyError when undeclared."""
        return self.texts[language][path or ("pack",)]

    @property
    def migrations(self) -> Mapping[str, MigrationDeclaration]:
        """Declared migrations by the address of what changed."""
        file = self.files.get("pack.toml")
        return file.migration if isinstance(file, PackFile) else {}

    def proofs(self) -> Iterator[tuple[str, int, ProofDeclaration]]:
        """Every proof with its file and its position there."""
        for name, file in self.files.items():
            if isinstance(file, ProofsFile):
                yield from ((name, n, proof) for n, proof in enumerate(file.proof))


@dataclass(frozen=True)
class Packs:
    """All packs by name."""

    by_name: Mapping[str, Pack]

    def __iter__(self) -> Iterator[Pack]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def of(self, kind: type[F]) -> Iterator[tuple[Pack, F]]:
        """Each pack that has a file of this kind, with the file: `packs.of(EntitiesFile)`."""
        for pack in self:
            yield from ((pack, file) for file in pack.files.values() if isinstance(file, kind))

    def only(self, names: Sequence[str]) -> "Packs":
        """Those of these names, in this order; unknown names are left out."""
        return Packs({name: self.by_name[name] for name in names if name in self.by_name})


Hook: TypeAlias = Callable[[Packs, Faults], None]
"""An engine's check of what its files say of each other, across packs; it notes faults at `pack.where(...)`."""
