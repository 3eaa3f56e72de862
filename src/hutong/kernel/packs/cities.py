"""Reads the folders of cities: cities/<city>/city.toml, and districts.geojson where the city has districts."""

import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Annotated

from msgspec import Meta, Struct

from hutong.kernel.packs.declarations import NAME
from hutong.kernel.packs.documents import read_document
from hutong.kernel.packs.faults import Faults, listed, meant
from hutong.kernel.packs.lines import KeyLines
from hutong.kernel.packs.pack import Packs
from hutong.kernel.packs.structs import StructReader

CITY_FILE, DISTRICTS_FILE = "city.toml", "districts.geojson"


class CityDeclaration(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What the city is."""

    name: Annotated[str, Meta(pattern=NAME, description="the name of its folder")]
    zh: Annotated[str, Meta(min_length=1, description="its name in Chinese")]
    en: Annotated[str, Meta(min_length=1, description="its name in English")]
    code: Annotated[str, Meta(pattern=r"^\d{6}$", description="its administrative code of six digits (GB/T 2260)")]
    timezone: Annotated[str, Meta(description="IANA time zone in which its days begin")]
    packs: Annotated[list[str], Meta(description="the packs that are on, in the order in which they are listed")]
    demo: Annotated[bool, Meta(description="whether it is a demonstration: simulations run, and pages say so")] = False


class DepartmentDeclaration(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A department of the city."""

    zh: Annotated[str, Meta(min_length=1, description="its short name in Chinese; the mission names leads by the same")]
    en: Annotated[str, Meta(min_length=1, description="its name in English")]


class CityFile(Struct, forbid_unknown_fields=True, kw_only=True):
    """city.toml"""

    city: Annotated[CityDeclaration, Meta(description="what the city is")]
    department: Annotated[
        dict[Annotated[str, Meta(pattern=NAME)], DepartmentDeclaration], Meta(description="its departments by id")
    ] = {}


@dataclass(frozen=True, kw_only=True)
class City:
    """One city as it was read."""

    declared: CityDeclaration
    departments: Mapping[str, DepartmentDeclaration]
    path: Traversable

    @property
    def name(self) -> str:
        return self.declared.name

    def districts(self) -> bytes | None:
        """The GeoJSON of its districts (WGS 84), None when it has none."""
        file = self.path / DISTRICTS_FILE
        return file.read_bytes() if file.is_file() else None


def read_cities(roots: Sequence[Traversable], packs: Packs) -> tuple[dict[str, City], Faults]:
    """Read every folder in the roots, and note every fault in them; a root may be absent."""
    faults = Faults()
    cities: dict[str, City] = {}
    for root in roots:
        for folder in sorted(root.iterdir(), key=lambda entry: entry.name) if root.is_dir() else ():
            if folder.name[0] in "._" or not folder.is_dir():
                continue
            where = f"{folder.name}/{CITY_FILE}"
            if not (folder / CITY_FILE).is_file():
                faults.add("missing-file", f"`{CITY_FILE}` is missing", where=where, fix="write it")
            elif (document := read_document(folder / CITY_FILE, where, faults)) is not None:
                file = StructReader(where, document.lines, faults).read(document.table, CityFile)
                cities[folder.name] = City(declared=file.city, departments=file.department, path=folder)
                _check(cities[folder.name], packs, document.lines, faults)
    return cities, faults


def _check(city: City, packs: Packs, lines: KeyLines, faults: Faults) -> None:
    folder, declared = city.path.name, city.declared

    def place(*path: str | int) -> str:
        return f"{folder}/{CITY_FILE}:{lines.line(('city', *path))}"

    if declared.name and declared.name != folder:
        faults.add(
            "name-differs",
            "the city's name is not that of its folder",
            where=place("name"),
            seen=declared.name,
            allowed=folder,
            fix="rename one of them",
        )
    for n, pack in enumerate(declared.packs):
        if pack and pack not in packs.by_name:
            faults.add(
                "unknown-pack",
                "there is no such pack",
                where=place("packs", n),
                seen=pack,
                allowed=listed(packs.by_name),
                fix=meant(pack, packs.by_name),
            )
    zones = zoneinfo.available_timezones()
    if declared.timezone and declared.timezone not in zones:
        faults.add(
            "unknown-timezone",
            "no IANA time zone",
            where=place("timezone"),
            seen=declared.timezone,
            allowed="a name such as Asia/Shanghai",
            fix=meant(declared.timezone, zones),
        )
    known = (CITY_FILE, DISTRICTS_FILE, "README.md")
    for entry in sorted(city.path.iterdir(), key=lambda each: each.name):
        if entry.name not in known and not entry.name.startswith("."):
            faults.add(
                "unknown-file",
                "a file that nothing reads",
                where=f"{folder}/{entry.name}",
                seen=entry.name,
                allowed=", ".join(known),
                fix=meant(entry.name, known) or "remove it",
            )
