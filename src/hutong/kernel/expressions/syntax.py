"""Text as sqlglot reads it: one scalar expression, or the fault that says why not."""

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import sqlglot
from sqlglot import exp, generator, parser
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import TokenType

from hutong.kernel.expressions.calls import Refused

NODES_MAX: Final = 256
"""Names, values and operators in one expression, as sqlglot counts them."""
DEPTH_MAX: Final = 64
"""Levels of nesting; a sum or `or` of n terms has n."""


class _Language(Dialect):
    """SQL scalar syntax in which each call is a plain call, whose name this package decides about."""

    class Parser(parser.Parser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {"CAST": parser.Parser.FUNCTION_PARSERS["CAST"]}
        NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {"CASE": parser.Parser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}

    class Generator(generator.Generator):
        TYPE_MAPPING: ClassVar[dict[Any, str]] = {
            exp.DataType.Type.DECIMAL: "number",
            exp.DataType.Type.INT: "integer",
            exp.DataType.Type.TEXT: "text",
        }


def written(tree: exp.Expr) -> str:
    """The expression as text, in the language of packs."""
    return tree.sql(dialect=_Language, normalize_functions=False, comments=False)


def parsed(text: str) -> exp.Expr:
    """The one expression that the text is. Raises Refused."""
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=_Language) if tree is not None]
    except ParseError as error:
        first = error.errors[0]
        raise Refused(
            "syntax",
            f"cannot be read at line {first['line']}, column {first['col']}",
            seen=f"{first['start_context'][-30:]}⟦{first['highlight']}⟧{first['end_context'][:30]}",
            fix="put names with blanks or signs into double quotes, texts into single quotes",
        ) from None
    except SqlglotError:
        raise Refused("syntax", "cannot be read", seen=text, fix="close each quote, single ones around texts") from None
    except RecursionError:
        raise Refused(
            "syntax",
            "nested too deeply",
            seen=text,
            allowed=f"{DEPTH_MAX} levels",
            fix="split it into derived properties",
        ) from None
    if len(trees) != 1:
        raise Refused("syntax", "several statements" if trees else "empty", seen=text, fix="write one expression")
    nodes = list(trees[0].walk())
    if len(nodes) > NODES_MAX or max(node.depth for node in nodes) > DEPTH_MAX:
        raise Refused(
            "syntax",
            "too long or too deep",
            seen=text,
            fix="split it into derived properties",
            allowed=f"{NODES_MAX} names, values and operators, {DEPTH_MAX} levels",
        )
    return trees[0]


def conjuncts(tree: exp.Expr) -> Iterator[exp.Expr]:
    """The conditions that must all be true, left to right."""
    inner = tree.unnest()
    if isinstance(inner, exp.And):
        yield from conjuncts(inner.this)
        yield from conjuncts(inner.expression)
    else:
        yield inner


def conditions(text: str, tree: exp.Expr) -> list[tuple[str, exp.Expr]]:
    """The conjuncts, each with its text as the author wrote it where that is one piece."""
    parts, pieces = list(conjuncts(tree)), [text]
    if len(parts) > 1:
        starts, depth, betweens = [0], 0, 0
        for token in sqlglot.tokenize(text, dialect=_Language):
            kind = token.token_type
            depth += (kind in (TokenType.L_PAREN, TokenType.CASE)) - (kind in (TokenType.R_PAREN, TokenType.END))
            if depth == 0 and kind is TokenType.BETWEEN:
                betweens += 1
            elif depth == 0 and kind is TokenType.AND and betweens:
                betweens -= 1
            elif depth == 0 and kind is TokenType.AND:
                starts += [token.start, token.end + 1]
        pieces = [text[begin:end] for begin, end in zip(starts[::2], [*starts[1::2], len(text)], strict=True)]
    if len(pieces) != len(parts):  # some stand in brackets of their own
        pieces = [written(part) for part in parts]
    return [(piece.strip(), part) for piece, part in zip(pieces, parts, strict=True)]
