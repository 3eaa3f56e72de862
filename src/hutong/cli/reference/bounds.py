"""The page of named bounds: every queue, page, body, retry and cache has one, and a name."""

import ast
import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

_BOUND = re.compile(r"[A-Za-z]\w*?_(max|min|default|every|kept|s)(_s)?", re.IGNORECASE)
_INTRODUCTION = """Written by `hutong reference` from the source. These are constants, not settings: a name that ends in
`_S` counts seconds, instants and durations are in microseconds otherwise, sizes in bytes where the name says so. What
lies over a bound is refused with an error that names it.

程序中所有队列、页面、请求体、重试与缓存的上限。它们是常量而非设置；超出时返回写明上限的错误。"""


class Bound(NamedTuple):
    """A named bound: its value as it is written, and what its comment says."""

    name: str
    value: str
    note: str


def bounds() -> str:
    """Every named bound as Markdown, by module."""
    parts = ["# Named bounds 上限", "", _INTRODUCTION]
    for name, module in _modules(resources.files("hutong"), ""):
        source = module.read_text(encoding="utf-8")
        tree = ast.parse(source)
        found = list(_bounds(tree, source))
        if found:
            about = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
            parts += ["", f"## {name}", "", about, "", "| bound | value | note |", "| --- | --- | --- |"]
            parts += [f"| `{bound.name}` | `{bound.value}` | {bound.note} |" for bound in found]
    return "\n".join(parts) + "\n"


def _modules(folder: Traversable, above: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir() and entry.name not in ("packs", "cities", "static"):
            yield from _modules(entry, f"{above}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield above + entry.name.removesuffix(".py"), entry


def _bounds(tree: ast.Module, source: str) -> Iterator[Bound]:
    lines = source.splitlines()
    scopes = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for statement in (each for scope in scopes for each in scope):
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=(ast.Constant() | ast.BinOp() | ast.Name()) as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=(ast.Constant() | ast.BinOp() | ast.Name()) as value)
            ) if _BOUND.fullmatch(name) and ast.unparse(value) != "None":
                note = lines[statement.lineno - 1][value.end_col_offset or 0 :].partition("#")[2].strip()
                yield Bound(name, ast.get_source_segment(source, value) or "", note)
