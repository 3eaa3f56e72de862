"""Linked entities (clauses 4.5.23, 5.7.1): what Relationships lead to, beside an entity (flat) or in it (inline)."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from hutong.engines.sense.ports import Entity
from hutong.standards.ngsi_ld.attributes import split_key
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.errors import TooManyResults
from hutong.standards.ngsi_ld.representations import Shape, chosen, write_entity, write_feature

LINKED_MAX = 1_000  # entities followed for one answer
INLINE_MAX = 10_000  # times that an entity stands inside another in one answer

Find = Callable[[tuple[str, ...]], Awaitable[Sequence[Entity]]]


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """How Relationships are followed, and how far; entities in `contained_by` are not fetched."""

    how: Literal["flat", "inline"]
    level: int = 1
    contained_by: frozenset[str] = frozenset()


class Linked:
    """The entities that others lead to, each with the shape in which it is first met."""

    def __init__(self, join: Join, found: dict[str, tuple[Entity, Shape]], context: Context) -> None:
        self._join, self._found, self._context = join, found, context
        self._embedded = 0

    @classmethod
    async def of(cls, roots: Sequence[Entity], shape: Shape, join: Join, context: Context, find: Find) -> "Linked":
        """Follow the Relationships that are shown, level by level. Raises TooManyResults."""
        found = {one.id: (one, shape) for one in roots}
        front = list(found.values())
        for _ in range(join.level):
            met: dict[str, Shape] = {}
            for entity, how in front:
                for name, ids in _relationships(entity, how):
                    met |= {id_: how.inside(name) for id_ in ids if id_ not in met}
            unknown = tuple(id_ for id_ in met if id_ not in found and id_ not in join.contained_by)
            if len(found) + len(unknown) > len(roots) + LINKED_MAX:
                fix = "ask for fewer entities, or a lower joinLevel"
                raise TooManyResults("too many linked entities", where="join", allowed=f"{LINKED_MAX}", fix=fix)
            new = {one.id: (one, met[one.id]) for one in (await find(unknown) if unknown else ())}
            found |= new
            front = list(new.values())
        return cls(join, found, context)

    def write(self, roots: Sequence[Entity], shape: Shape, *, geojson: bool = False) -> list[dict[str, Any]]:
        """The entities as they are shown; where the join is flat, what they lead to follows them."""
        if self._join.how == "inline":
            return [self._write(one, shape, self._join.level, (one.id,), geojson) for one in roots]
        form = write_feature if geojson else write_entity
        return [form(one, self._context, how) for one, how in self._found.values()]

    def _write(
        self, entity: Entity, shape: Shape, level: int, path: tuple[str, ...], geojson: bool = False
    ) -> dict[str, Any]:
        told = (write_feature if geojson else write_entity)(entity, self._context, shape)
        if level:
            members = told["properties"] if geojson else told
            for name, _ in _relationships(entity, shape):
                short = self._context.compact(name)
                members[short] = self._fill(members[short], shape.inside(name), level - 1, path)
        return told

    def _fill(self, member: Any, shape: Shape, level: int, path: tuple[str, ...]) -> Any:
        """A Relationship as it is told, with what it leads to inside it, or in its place where it is simplified."""
        if isinstance(member, str):
            return self._embed(member, shape, level, path)
        if isinstance(member, list):
            return [self._fill(one, shape, level, path) for one in member]
        if "dataset" in member:
            told = {key: self._fill(one, shape, level, path) for key, one in member["dataset"].items()}
            return {"dataset": told}
        for object_, inside in (("object", "entity"), ("objectList", "entityList")):
            if object_ in member and inside not in member:
                several = isinstance(member[object_], list)
                objects = member[object_] if several else [member[object_]]
                ids = [one if isinstance(one, str) else one["object"] for one in objects]
                embedded = [self._embed(id_, shape, level, path) for id_ in ids]
                if entities := [one for one in embedded if isinstance(one, dict)]:
                    return {**member, inside: entities if several else entities[0]}
        return member

    def _embed(self, id_: str, shape: Shape, level: int, path: tuple[str, ...]) -> Any:
        """The entity of this id; the id itself where it is not there, or would stand inside itself."""
        if id_ not in self._found or id_ in path or id_ in self._join.contained_by:
            return id_
        self._embedded += 1
        if self._embedded > INLINE_MAX:
            raise TooManyResults("too many entities inside others", where="join", allowed=f"{INLINE_MAX}", fix="flat")
        return self._write(self._found[id_][0], shape, level, (*path, id_)) or id_


def _relationships(entity: Entity, shape: Shape) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names of the Relationships that are shown, each once, and the ids that their instances lead to."""
    ids: dict[str, tuple[str, ...]] = {}
    for key, attribute in chosen(entity.attributes, shape).items():
        if attribute.kind in ("R", "S"):
            name = split_key(key)[0]
            value = attribute.value
            ids[name] = (*ids.get(name, ()), *(value if isinstance(value, list) else [value]))
    yield from ids.items()
