"""Line numbers of TOML keys."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hutong.kernel.packs.lines import KeyLines, KeyPath

HERE = Path(__file__).parent

TRICKY = '''# a comment with [brackets] and "quotes
top = 1
dotted . key."with.dot" = 'a # b'  # c

[ table . "quoted \\u00e9" ]
long = """
[not.a.table]
x = 1 \\""" still
""""
literal = \'\'\'
y = 2\'\'\'\'
list = [ # one
  1, "]",
  { a = 1, b.c = [2,
    3] },
]
empty = {}

[[row]]
n = 1
[row.inner]
deep = true
[[row.child]]
name = "first"
[[row]]
[[row.child]]
name = 1979-05-27T07:32:00Z
'''


def paths(value: Any, at: KeyPath = ()) -> Iterator[KeyPath]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*at, key)
        yield from paths(member, (*at, key))


def test_lines_of_keys_in_a_tricky_file() -> None:
    lines = KeyLines(TRICKY)
    assert [path for path in paths(tomllib.loads(TRICKY)) if path not in lines] == []
    wanted: dict[KeyPath, int] = {
        ("top",): 2,
        ("dotted", "key", "with.dot"): 3,
        ("table", "quoted é"): 5,
        ("table", "quoted é", "literal"): 10,
        ("table", "quoted é", "list", 1): 13,
        ("table", "quoted é", "list", 2, "b", "c", 1): 15,
        ("table", "quoted é", "empty"): 17,
        ("row", 0, "inner", "deep"): 22,
        ("row", 0, "child", 0, "name"): 24,
        ("row", 1, "child", 0, "name"): 27,
        ("row", 1, "child", 0, "gone"): 26,
    }
    assert {path: lines.line(path) for path in wanted} == wanted


def test_lines_of_keys_in_every_file_there_is() -> None:
    files = [*(HERE.parents[1] / "src").rglob("*.toml"), HERE.parents[1] / "pyproject.toml"]
    assert len(files) > 20
    for file in files:
        text = file.read_text(encoding="utf-8")
        lines = KeyLines(text)
        rows = text.splitlines()
        for path in paths(tomllib.loads(text)):
            assert path in lines, f"{file.name}: {path}"
            if isinstance(path[-1], str):
                assert path[-1] in rows[lines.line(path) - 1], f"{file.name}: {path}"
