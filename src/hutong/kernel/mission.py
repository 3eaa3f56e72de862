"""What the plans ask a city for: platforms and their functions, read from `hutong/mission/<sector>.toml`."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

FunctionKind = Literal["runs", "tracked"]
PlatformKind = Literal["software", "database", "service", "network", "infrastructure", "mechanism"]
EngineName = Literal["sense", "cases", "exchange", "trace", "match", "benefits", "programme"]
_Id = Annotated[str, Meta(pattern=r"^[a-z0-9_]+$")]


class Function(Struct, frozen=True):
    """One thing a platform must make possible. `runs`: software; `tracked`: cables and halls, which can be followed."""

    id: str  # <platform>/<function>, never renamed
    text: str
    kind: FunctionKind


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a plan asks for a platform. `lead` is empty where the plan names nobody.

    `named` is False where the plan speaks of an area, a rule or a mechanism and not of a system.
    """

    city: str
    ref: str
    lead: tuple[str, ...]
    named: bool = True


class Platform(Struct, frozen=True):
    """A platform that the plans ask for. `also_needs` names what it takes beyond the engines."""

    id: str
    sector: str
    zh: str
    en: str
    kind: PlatformKind
    engines: tuple[EngineName, ...]
    also_needs: tuple[str, ...]
    functions: tuple[Function, ...]
    asked: tuple[Asked, ...]


class Sector(Struct, frozen=True, forbid_unknown_fields=True):
    """A field of the city's life, in Chinese and English."""

    zh: str
    en: str


class Mission(Struct, frozen=True):
    """All platforms by id, in the order of their sectors, and the sectors by id."""

    sectors: Mapping[str, Sector]
    platforms: Mapping[str, Platform]

    def functions(self) -> Mapping[str, Function]:
        """Every function by its full name, `<platform>/<function>`."""
        return {function.id: function for platform in self.platforms.values() for function in platform.functions}


class _PlatformRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    zh: str
    en: str
    kind: PlatformKind
    engines: tuple[EngineName, ...]
    also_needs: tuple[str, ...] = ()
    runs: Mapping[_Id, str] = {}
    tracked: Mapping[_Id, str] = {}
    asked: tuple[Asked, ...]


class _SectorFile(Struct, frozen=True, forbid_unknown_fields=True):
    sector: Sector
    platform: Mapping[_Id, _PlatformRow]


def packaged_mission() -> Traversable:
    """The folder of mission files that Hutong carries."""
    return resources.files("hutong") / "mission"


def read_mission(folder: Traversable | None = None) -> Mission:
    """Read every sector file of a folder, the packaged one by default.

    Raises msgspec.ValidationError or tomllib.TOMLDecodeError: these files are Hutong's own and tested.
    """
    sectors: dict[str, Sector] = {}
    platforms: dict[str, Platform] = {}
    for path in sorted((folder or packaged_mission()).iterdir(), key=lambda entry: entry.name):
        if not path.name.endswith(".toml"):
            continue
        sector = path.name.removesuffix(".toml")
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _SectorFile)
        sectors[sector] = file.sector
        platforms.update((id, _platform(id, sector, row)) for id, row in file.platform.items())
    return Mission(MappingProxyType(sectors), MappingProxyType(platforms))


def _platform(id: str, sector: str, row: _PlatformRow) -> Platform:
    kinds: tuple[tuple[FunctionKind, Mapping[str, str]], ...] = (("runs", row.runs), ("tracked", row.tracked))
    functions = tuple(Function(f"{id}/{name}", text, kind) for kind, texts in kinds for name, text in texts.items())
    return Platform(id, sector, row.zh, row.en, row.kind, row.engines, row.also_needs, functions, row.asked)
