"""What the kernel itself reads in a pack, and the marks by which engines say what their keys are.

A pack file is a Struct whose fields carry a `Meta(description=…)`; the reference is generated from it. Marks go in
`Meta(extra=NAMED | SHARED)`. These Structs check nothing when they are made: what one key says of another is
checked by the engine's hook.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct, inspect

from hutong.kernel.packs.structs import bare, struct_type

NAMED: dict[str, Any] = {"named": True}
"""People read this: each name in the table (or text in the list) needs a text in text/zh.toml and text/en.toml."""
SHARED: dict[str, Any] = {"shared": True}
"""One name means one thing in the whole city: packs may declare it again, but not differently."""
KEPT: dict[str, Any] = {"kept": True}
"""Stored values depend on it: to change it, or to remove a name from it, takes a `[migration]`."""

NAME = r"^[a-z][a-z0-9_]*$"
"""The form of a pack's or a city's name."""


def marked(kind: inspect.Type, mark: dict[str, Any]) -> bool:
    """Whether a field's type carries the mark."""
    return isinstance(kind, inspect.Metadata) and mark.items() <= (kind.extra or {}).items()


class Bilingual(Struct, forbid_unknown_fields=True, frozen=True):
    """A text in both languages."""

    zh: Annotated[str, Meta(min_length=1, description="in Chinese")]
    en: Annotated[str, Meta(min_length=1, description="in English")]


class PackDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """What the pack is."""

    name: Annotated[str, Meta(pattern=NAME, description="the name of its folder")]
    implements: Annotated[list[str], Meta(description="ids of the mission's platforms that it is; may be empty")]
    sector: Annotated[str, Meta(description="the sector of the mission under which it is listed")]


class MigrationDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """What becomes of stored values when a running city's declarations change."""

    was: Annotated[str, Meta(description="the value before, for a key that changed; left out for one removed")] = ""
    convert: Annotated[
        str,
        Meta(
            description="expression over `value` that gives the new value; without it the state "
            "starts empty and history stays as it was"
        ),
    ] = ""


class PackFile(Struct, forbid_unknown_fields=True, kw_only=True):
    """pack.toml"""

    pack: Annotated[PackDeclaration, Meta(description="what the pack is")]
    migration: Annotated[
        dict[str, MigrationDeclaration],
        Meta(
            description="changes of declarations with stored values, by their address in quotes: "
            '`[migration."entities.toml#entity.Type.property.name.unit"]`'
        ),
    ] = {}


def named(file: Struct) -> Iterator[tuple[str, ...]]:
    """The path of every name in a file that people read, such as `("entity", "OffStreetParking")`."""
    yield from _named(file, ())


def _named(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _named(member, (*path, key))
    elif isinstance(value, Struct):
        for field in struct_type(type(value)).fields:
            member, below = getattr(value, field.name), (*path, field.encode_name)
            if marked(field.type, NAMED) and member:
                yield from ((*below, key) for key in member)
            if isinstance(bare(field.type), inspect.DictType | inspect.StructType):
                yield from _named(member, below)
