"""The page of every key of packs and cities, written from the declarations themselves."""

import inspect as python_inspect
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, inspect

from hutong.kernel.expressions import scales
from hutong.kernel.expressions.scales import ScalesFile
from hutong.kernel.packs import KEPT, NAMED, SHARED, CityFile, proofs, texts
from hutong.kernel.packs.declarations import PackFile, marked
from hutong.kernel.packs.proofs import ProofsFile
from hutong.kernel.packs.structs import bare, default, described, note, struct_type

_INTRODUCTION = """Written by `hutong reference` from the declarations. `<name>` stands for a name that the author
gives, `[ ]` for each item of a list. `hutong check` lists every fault of a pack at once;
[errors.md](errors.md) says what each code means."""
_MARKS = (
    (NAMED, "Each name in it needs a text in `text/zh.toml` and `text/en.toml`."),
    (SHARED, "A name means one thing in the whole city: packs that declare it declare it alike."),
    (KEPT, "Stored values depend on it: to change it, or to remove a name, takes a `[migration]` in `pack.toml`."),
)

_LAYOUTS = {ProofsFile: proofs.__doc__, ScalesFile: scales.__doc__}


def pack_keys(files: Mapping[str, type[Struct]]) -> str:
    """Every key of every file of packs and cities as Markdown, each with a heading of its own."""
    parts = ["# Keys of packs and cities", "", _INTRODUCTION]
    kinds = {"pack.toml": PackFile, **files, "proofs/*.toml": ProofsFile, "city.toml": CityFile}
    for file, kind in kinds.items():
        parts += ["", f"## {file}", *_section(struct_type(kind), "")]
        if kind in _LAYOUTS:
            parts += ["", _layout(_LAYOUTS[kind] or "")]
    parts += ["", "## text/zh.toml, text/en.toml", "", _layout(texts.__doc__ or "")]
    parts += ["", "## README.md", "", "What the pack is for, where its values come from and what it cannot do."]
    return "\n".join(parts) + "\n"


def _section(table: inspect.StructType, above: str) -> Iterator[str]:
    for field in table.fields:
        path = f"{above}{field.encode_name}"
        yield from ("", f"### `{path}`", "", _capital(note(field.type)) + ".", "", _form(field))
        yield from (f"{text}" for mark, text in _MARKS if marked(field.type, mark))
        inner = bare(field.type)
        if isinstance(inner, inspect.DictType):
            path, inner = f"{path}.<name>", bare(inner.value_type)
        elif isinstance(inner, inspect.ListType):
            path, inner = f"{path}[ ]", bare(inner.item_type)
        for kind in inner.types if isinstance(inner, inspect.UnionType) else (inner,):
            if isinstance(kind, inspect.StructType):
                yield from _section(kind, f"{path}.")


def _form(field: inspect.Field) -> str:
    """Type and default in a line."""
    value = default(field)
    if field.required:
        rest = "Must be there."
    elif value in (None, "", [], {}):
        rest = "May be left out."
    else:
        rest = f"`{_toml(value)}` when left out."
    return f"{_capital(described(field.type))}. {rest}"


def _toml(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _layout(docstring: str) -> str:
    """A module's docstring without its first line, its example as a block of TOML."""
    blocks = python_inspect.cleandoc(docstring).split("\n\n")
    shown, example = [], []
    for block in blocks:
        if block.startswith("    "):
            example.append("\n".join(line[4:] for line in block.split("\n")))
            continue
        if example:
            shown.append("```toml\n" + "\n\n".join(example) + "\n```")
            example = []
        shown.append(block)
    return "\n\n".join(shown)
