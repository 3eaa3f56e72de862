"""Declared simulations, checked."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from hutong.engines.sense.declarations import (
    EntityDeclaration,
    Fixed,
    SimulateFile,
    SimulationDeclaration,
    SpreadDeclaration,
)
from hutong.kernel.clock import duration
from hutong.kernel.errors import DeclarationFaults
from hutong.kernel.expressions import Column, Expression, ValueType, compile_expression
from hutong.kernel.packs import Pack, Packs
from hutong.kernel.packs.faults import Faults, listed, meant

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_TYPES: Final = {"integer": ValueType.INTEGER, "number": ValueType.NUMBER}
_FITTING: Final[Mapping[str, tuple[type, ...]]] = {
    "integer": (int, SpreadDeclaration),
    "number": (int, float, SpreadDeclaration),
    "text": (str,),
    "boolean": (bool,),
    "datetime": (str,),
}
_SPELLED: Final = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    SpreadDeclaration: "{ low = …, high = … }",
}


class Plan:
    """A declared simulation, checked. Raises DeclarationFaults with everything that is wrong with it."""

    def __init__(
        self, pack: Pack, file: str, name: str, declaration: SimulationDeclaration, entity: EntityDeclaration
    ) -> None:
        self.name, self.declaration, self.entity = f"{pack.name}.{name}", declaration, entity
        self.digest = hashlib.sha256(msgspec.json.encode(declaration)).hexdigest()[:16]
        self.every, self.past = duration(declaration.every), duration(declaration.past)
        self._faults = Faults()
        self._where = partial(pack.where, file, "simulate", name)
        self._template(declaration.id, ("number", "code"), "id")
        if "{number}" not in declaration.id:
            self._faults.add(
                "no-template",
                "ids need the number, to differ",
                where=self._where("id"),
                seen=declaration.id,
                fix="write it as urn:ngsi-ld:Type:{number}",
            )
        numbers = {
            key: Column(type=_TYPES[one.type])
            for key in declaration.fixed
            if (one := entity.property.get(key)) and one.type in _TYPES
        }
        for key, value in declaration.fixed.items():
            self._fitting(key, value)
            if isinstance(value, str):
                self._template(value, ("number", "district"), "fixed", key)
        self.bounds: dict[str, tuple[Expression, Expression]] = {}
        for key, series in declaration.series.items():
            if key in entity.property and entity.property[key].type not in _TYPES:
                self._faults.add(
                    "wrong-type",
                    f"{key} is no number, and cannot move",
                    where=self._where("series", key),
                    seen=entity.property[key].type,
                    allowed="integer, number",
                    fix="set it in `fixed`",
                )
            low, high = (
                self._bound(value, numbers, self._where("series", key, side))
                for side, value in (("low", series.low), ("high", series.high))
            )
            if low is not None and high is not None:
                self.bounds[key] = low, high
        self._faults.check()

    def _fitting(self, key: str, value: Fixed) -> None:
        """Note a fixed value that its property cannot have."""
        if key not in self.entity.property:
            return  # told by the engine
        kind = self.entity.property[key].type
        wanted = _FITTING.get(kind, ())
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, wanted) or (isinstance(one, bool) and kind != "boolean"):
                self._faults.add(
                    "wrong-type",
                    f"{key} is of type {kind}",
                    where=self._where("fixed", key),
                    seen=one,
                    allowed=" or ".join(_SPELLED[each] for each in wanted) or "nothing: it cannot be made up",
                    fix="write such a value, or remove it",
                )

    def _template(self, text: str, names: Sequence[str], *path: str) -> None:
        for name in PLACEHOLDER.findall(text):
            if name not in names:
                self._faults.add(
                    "no-template",
                    "a template cannot name this",
                    where=self._where(*path),
                    seen=name,
                    allowed=listed(names),
                    fix=meant(name, names),
                )

    def _bound(self, value: float | str, schema: Mapping[str, Column], where: str) -> Expression | None:
        try:
            return compile_expression(str(value), schema, where=where, wants=ValueType.NUMBER)
        except DeclarationFaults as error:
            self._faults.take_all(error)
            return None


def compile_simulations(packs: Packs, declared: Mapping[str, EntityDeclaration], faults: Faults) -> tuple[Plan, ...]:
    """Every simulation that the packs declare. What is wrong is noted, and that one left out."""
    found = []
    for pack, content in packs.of(SimulateFile):
        file = next(name for name, one in pack.files.items() if one is content)
        for name, declaration in content.simulate.items():
            if declaration.entity in declared:
                try:
                    found.append(Plan(pack, file, name, declaration, declared[declaration.entity]))
                except DeclarationFaults as error:
                    faults.take_all(error)
    return tuple(found)
