"""What a changed pack does to a city that already keeps values by the old one."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, inspect

from hutong.kernel.errors import Fault, shown
from hutong.kernel.packs.declarations import KEPT, marked
from hutong.kernel.packs.pack import Pack
from hutong.kernel.packs.proofs import Address, ProofsFile
from hutong.kernel.packs.structs import bare, default, struct_type


def remembered(pack: Pack) -> dict[str, Any]:
    """A pack's declarations as plain JSON by file, for a city to keep and to hand to `changes` at the next start."""
    return {
        name: msgspec.to_builtins(file)
        for name, file in pack.files.items()
        if not isinstance(file, ProofsFile) and name != "pack.toml"
    }


def changes(old: Mapping[str, Any], new: Pack, files: Mapping[str, type[Struct]]) -> list[Fault]:
    """The changes that stored values do not survive and that pack.toml declares no migration for.

    `old` is what `remembered` gave of the pack before. Additions are no changes; a key that Hutong has learned since
    counts with its default.
    """
    found: list[Fault] = []
    now = remembered(new)
    for name in old:
        kind = files.get(name)
        if kind is not None:
            _compare(old[name], now.get(name), struct_type(kind), Address(name, ()), new, found)
    return found


def _compare(old: Any, new: Any, kind: inspect.Type, at: Address, pack: Pack, found: list[Fault]) -> None:
    kind = bare(kind)
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            key = field.encode_name
            before, after = (each.get(key, default(field)) if each else None for each in (old, new))
            below = Address(at.file, (*at.path, key))
            if isinstance(bare(field.type), inspect.StructType | inspect.DictType):
                _members(before or {}, after or {}, field.type, below, pack, found)
            elif marked(field.type, KEPT) and before != after:
                _need(below, pack, found, f"changed from {shown(before)} to {shown(after)}", before)


def _members(old: Any, new: Any, kind: inspect.Type, at: Address, pack: Pack, found: list[Fault]) -> None:
    inner = bare(kind)
    if isinstance(inner, inspect.StructType):
        _compare(old, new, inner, at, pack, found)
    elif isinstance(inner, inspect.DictType):
        for name, before in old.items():
            below = Address(at.file, (*at.path, name))
            if name in new:
                _compare(before, new[name], inner.value_type, below, pack, found)
            elif marked(kind, KEPT):
                _need(below, pack, found, "was removed", None)


def _need(at: Address, pack: Pack, found: list[Fault], what: str, before: Any) -> None:
    declared = pack.migrations.get(str(at))
    was = "" if before is None else str(before)
    if declared is not None and declared.was == was:
        return
    found.append(
        Fault(
            code="migration-needed",
            what=f"`{'.'.join(at.path)}` {what}, and values are stored by it",
            where=pack.where(at.file, *at.path),
            seen=was,
            allowed="the declaration as it was, or a migration",
            fix=f'declare [migration."{at}"]' + (f' with was = "{was}"' if was else "") + " in pack.toml",
        )
    )
