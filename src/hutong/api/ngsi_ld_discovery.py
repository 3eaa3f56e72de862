"""Types and attributes in use (ETSI GS CIM 009 v1.8.1, clauses 5.7.5 to 5.7.10, 6.25 to 6.28)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from litestar import get
from litestar.handlers import HTTPRouteHandler

from hutong.api import ngsi_ld_messages as http
from hutong.api.app import actor_of
from hutong.api.ngsi_ld_messages import Call, Reply
from hutong.engines.sense.ports import InUse
from hutong.kernel.access import Actor
from hutong.kernel.errors import NotFound
from hutong.standards.ngsi_ld.contexts import Context, Contexts, full_name
from hutong.standards.ngsi_ld.entities import read_attribute_name
from hutong.standards.ngsi_ld.representations import KIND_NAMES

_LOCAL = frozenset(("local",))
_DETAILED = _LOCAL | {"details"}


class Sense(Protocol):
    """The verbs of the sense engine that these routes call."""

    async def types(self, actor: Actor, tenant: str) -> Mapping[str, int]: ...

    async def in_use(self, actor: Actor, tenant: str, type: str = "", attribute: str = "") -> Sequence[InUse]: ...


class Discovery:
    """What types and attributes the entities of a tenant have, as far as the actor may see."""

    def __init__(self, engine: Sense, contexts: Contexts) -> None:
        self._engine = engine
        self._contexts = contexts

    def __deepcopy__(self, memo: object) -> "Discovery":
        return self  # Litestar copies handlers; the engine behind them is one

    def handlers(self) -> list[HTTPRouteHandler]:
        return [
            get("/types", summary="Types of entities in use (5.7.5, 5.7.6)")(self.types),
            get("/types/{name:str}", summary="A type of entity in use (5.7.7)")(self.type),
            get("/attributes", summary="Attributes in use (5.7.8, 5.7.9)")(self.attributes),
            get("/attributes/{name:str}", summary="An attribute in use (5.7.10)")(self.attribute),
        ]

    async def types(self, request: Call) -> Reply:
        answer, context = http.answer(request), http.header_context(request, self._contexts)
        details = http.parameters(request, _DETAILED).flag("details")
        names = sorted(await self._engine.types(actor_of(request), http.tenant(request)))
        if not details:
            return http.reply_json(request, _listed("EntityType", "typeList", names, context), answer, context)
        used = await self._used(request)
        told = [
            {
                "id": full_name(name),
                "type": "EntityType",
                "typeName": context.compact(name),
                "attributeNames": _short((one.attribute for one in used if one.type == name), context),
            }
            for name in names
        ]
        return http.reply_json(request, told, answer, context)

    async def type(self, request: Call) -> Reply:
        http.parameters(request, _LOCAL)
        answer, context = http.answer(request), http.header_context(request, self._contexts)
        name = context.expand(http.segment(request, "name"))
        counted = await self._engine.types(actor_of(request), http.tenant(request))
        if name not in counted:
            raise NotFound("no entity has this type", where="type", seen=context.compact(name))
        used = await self._used(request, type=name)
        told = {
            "id": full_name(name),
            "type": "EntityTypeInfo",
            "typeName": context.compact(name),
            "entityCount": counted[name],
            "attributeDetails": [
                {**_named(one, context), "attributeTypes": _kinds(used, one)}
                for one in dict.fromkeys(use.attribute for use in used)
            ],
        }
        return http.reply_json(request, told, answer, context)

    async def attributes(self, request: Call) -> Reply:
        answer, context = http.answer(request), http.header_context(request, self._contexts)
        details = http.parameters(request, _DETAILED).flag("details")
        used = await self._used(request)
        names = sorted({one.attribute for one in used})
        if not details:
            return http.reply_json(request, _listed("Attribute", "attributeList", names, context), answer, context)
        told = [{**_named(name, context), "typeNames": _types(used, name, context)} for name in names]
        return http.reply_json(request, told, answer, context)

    async def attribute(self, request: Call) -> Reply:
        http.parameters(request, _LOCAL)
        answer, context = http.answer(request), http.header_context(request, self._contexts)
        name = read_attribute_name(http.segment(request, "name"), context)
        used = await self._used(request, attribute=name)
        if not used:
            raise NotFound("no entity has this attribute", where="attribute", seen=context.compact(name))
        told = {
            **_named(name, context),
            "attributeCount": sum(one.count for one in used),
            "attributeTypes": _kinds(used, name),
            "typeNames": _types(used, name, context),
        }
        return http.reply_json(request, told, answer, context)

    async def _used(self, request: Call, **narrowed: str) -> Sequence[InUse]:
        return await self._engine.in_use(actor_of(request), http.tenant(request), **narrowed)


def _listed(what: str, member: str, names: Sequence[str], context: Context) -> dict[str, Any]:
    kind = f"{what}List"
    return {"id": f"urn:ngsi-ld:{kind}:all", "type": kind, member: [context.compact(name) for name in names]}


def _named(name: str, context: Context) -> dict[str, Any]:
    return {"id": full_name(name), "type": "Attribute", "attributeName": context.compact(name)}


def _short(names: Any, context: Context) -> list[str]:
    return sorted({context.compact(name) for name in names})


def _kinds(used: Sequence[InUse], attribute: str) -> list[str]:
    return sorted({KIND_NAMES[one.kind] for one in used if one.attribute == attribute})


def _types(used: Sequence[InUse], attribute: str, context: Context) -> list[str]:
    return _short((one.type for one in used if one.attribute == attribute), context)
