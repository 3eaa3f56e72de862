"""Relations: how engines are read. Named, typed tables that each engine publishes and that know who may see what."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import polars as pl

from hutong.kernel.access import Actor
from hutong.kernel.errors import AlreadyExists, NotFound
from hutong.kernel.expressions import Expression, Schema

ROWS_MAX = 1_000_000


class Relation(msgspec.Struct, frozen=True, kw_only=True):
    """A table that an engine publishes, such as `sense.OffStreetParking`.

    `rows(actor, columns, limit)` gives only what the actor may see, one column for each name asked, in that order.
    """

    name: str
    schema: Schema
    rows: Callable[[Actor, Sequence[str], int], pl.DataFrame]


class Relations:
    """All relations of a running city."""

    def __init__(self) -> None:
        self._relations: dict[str, Relation] = {}

    def publish(self, relation: Relation) -> None:
        """Add a relation. Raises AlreadyExists when the name is taken."""
        if relation.name in self._relations:
            raise AlreadyExists("two relations have the same name", seen=relation.name)
        self._relations[relation.name] = relation

    def schemas(self) -> Mapping[str, Schema]:
        return {name: relation.schema for name, relation in self._relations.items()}

    def read(
        self,
        actor: Actor,
        name: str,
        columns: Sequence[str] = (),
        where: Expression | None = None,
        limit: int = ROWS_MAX,
    ) -> pl.DataFrame:
        """Rows that meet the condition, at most `limit`; all columns when none are named. Raises NotFound."""
        relation = self._relations.get(name)
        if relation is None:
            raise NotFound("there is no such relation", seen=name, allowed=", ".join(sorted(self._relations)))
        wanted = tuple(columns) or tuple(relation.schema)
        for column in wanted:
            if column not in relation.schema:
                raise NotFound(f"{name} has no such column", seen=column, allowed=", ".join(relation.schema))
        read = tuple(dict.fromkeys((*wanted, *sorted(where.columns if where else ()))))
        frame = relation.rows(actor, read, ROWS_MAX if where else min(limit, ROWS_MAX))
        if where is not None:
            frame = frame.filter(where.evaluate(frame).fill_null(False))
        return frame.select(wanted).head(limit)
