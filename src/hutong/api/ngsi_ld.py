"""NGSI-LD over HTTP (ETSI GS CIM 009 v1.8.1, clause 6): thin routes over the verbs of the sense engine.

`NgsiLd(engine, contexts).router()` gives the routes under /ngsi-ld/v1. Ids and names that are URLs hold slashes,
which a client encodes; `ngsi_ld_messages.keep_encoded_slashes` around the application lets them arrive as one segment.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from litestar import Router, delete, get, patch, post, put

from hutong.api import ngsi_ld_messages as http
from hutong.api.app import actor_of
from hutong.api.ngsi_ld_discovery import Discovery
from hutong.api.ngsi_ld_messages import PATH, Call, Empty, Reply
from hutong.api.short_way import Handler, Route
from hutong.engines.sense.ports import (
    Attribute,
    Change,
    Changed,
    ChangeEntities,
    Entity,
    EntityQuery,
    InUse,
    Verb,
)
from hutong.kernel.access import Actor
from hutong.kernel.errors import HutongError, InvalidInput, NotFound, Unsupported
from hutong.standards.ngsi_ld.attributes import dataset_key, split_key
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.entities import (
    Refused,
    read_attribute,
    read_attribute_name,
    read_batch,
    read_change,
    read_ids,
)
from hutong.standards.ngsi_ld.errors import InvalidRequest
from hutong.standards.ngsi_ld.headers import Answer
from hutong.standards.ngsi_ld.linked import Join, Linked
from hutong.standards.ngsi_ld.parameters import Parameters
from hutong.standards.ngsi_ld.query import LIMIT_MAX, Query, read_query, read_query_body, read_retrieval, read_types
from hutong.standards.ngsi_ld.representations import (
    Shape,
    as_collection,
    write_entities,
    write_features,
    write_retrieved,
)
from hutong.standards.ngsi_ld.uris import NULL

_SIMPLIFIED = ("simplified", "keyValues")
_LOCAL = frozenset(("local",))  # everything here is local, whatever it says
_TYPED = _LOCAL | {"type"}


class Sense(Protocol):
    """The verbs of the sense engine that these routes call."""

    async def change(self, actor: Actor, command: ChangeEntities) -> list[Changed]: ...

    def entity(self, actor: Actor, tenant: str, id: str, /) -> Entity: ...

    async def find(self, actor: Actor, query: EntityQuery) -> list[Entity]: ...

    async def count(self, actor: Actor, query: EntityQuery) -> int: ...

    async def types(self, actor: Actor, tenant: str) -> Mapping[str, int]: ...

    async def in_use(self, actor: Actor, tenant: str, type: str = "", attribute: str = "") -> Sequence[InUse]: ...


class NgsiLd:
    """The operations of the core: entities, their attributes, batches and queries."""

    def __init__(self, engine: Sense, contexts: Contexts) -> None:
        self._engine = engine
        self._contexts = contexts

    def __deepcopy__(self, memo: object) -> "NgsiLd":
        return self  # Litestar copies routers with their handlers; the engine behind them is one

    def router(self) -> Router:
        """All routes, with errors as NGSI-LD tells them."""
        entity, attributes = "/entities/{entity_id:str}", "/entities/{entity_id:str}/attrs"
        attribute = attributes + "/{name:str}"
        handlers = [
            post("/entities", summary="Create an entity (5.6.1)")(self.create),
            get("/entities", summary="Query entities (5.7.2)")(self.query),
            get(entity, summary="Retrieve an entity (5.7.1)")(self.retrieve),
            put(entity, summary="Replace an entity (5.6.18)")(self.replace),
            patch(entity, summary="Merge into an entity (5.6.17)")(self.merge),
            delete(entity, status_code=204, summary="Delete an entity (5.6.6)")(self.delete),
            post(attributes, summary="Append attributes (5.6.3)")(self.append_attributes),
            patch(attributes, summary="Update attributes (5.6.2)")(self.update_attributes),
            patch(attribute, status_code=204, summary="Update part of an attribute (5.6.4)")(self.update_attribute),
            put(attribute, status_code=204, summary="Replace an attribute (5.6.19)")(self.replace_attribute),
            delete(attribute, status_code=204, summary="Delete an attribute (5.6.5)")(self.delete_attribute),
            post("/entityOperations/create", summary="Create a batch (5.6.7)")(self.batch_create),
            post("/entityOperations/upsert", summary="Create or update a batch (5.6.8)")(self.batch_upsert),
            post("/entityOperations/update", summary="Update a batch (5.6.9)")(self.batch_update),
            post("/entityOperations/merge", summary="Merge a batch (5.6.20)")(self.batch_merge),
            post("/entityOperations/delete", summary="Delete a batch (5.6.10)")(self.batch_delete),
            post("/entityOperations/query", status_code=200, summary="Query entities (5.7.2)")(self.query_by_body),
            *Discovery(self._engine, self._contexts).handlers(),
        ]
        return http.router(handlers)

    def short_routes(self) -> dict[Route, Handler]:
        """Of these routes those that come most often, for `short_way`."""
        entities = f"{PATH}/entities/"
        return {
            ("GET", entities, ""): self.retrieve,
            ("PATCH", entities, "/attrs"): self.update_attributes,
            ("POST", entities, "/attrs"): self.append_attributes,
        }

    # --- entities ---

    async def create(self, request: Call) -> Reply:
        http.parameters(request, _LOCAL)
        context = http.body_context(request, self._contexts)
        change = read_change(await http.body(request), Verb.CREATE, self._contexts, context)
        return http.created(request, await self._one(request, change))

    async def retrieve(self, request: Call) -> Reply:
        answer = http.answer(request, geojson=True)
        context = http.header_context(request, self._contexts)
        asked = read_retrieval(http.given(request), context, geojson=answer.geojson)
        entity = self._entity(request, asked.types)
        if asked.join is not None:
            told = await self._joined(request, [entity], asked.shape, asked.join, answer, context)
            return self._tell(request, told[0] if len(told) == 1 else told, answer, context)
        content = write_retrieved(
            entity, context, asked.shape, geojson=answer.geojson, with_context=answer.context_in_body
        )
        return http.reply(request, content, answer, context)

    async def replace(self, request: Call) -> Reply:
        change = await self._fragment(request, Verb.REPLACE)
        return http.updated(request, await self._one(request, change))

    async def merge(self, request: Call) -> Reply:
        parameters = http.parameters(request, frozenset(("type", "options", "format", "lang", "observedAt", "local")))
        for name in ("lang", "observedAt"):
            if name in parameters:
                raise Unsupported(
                    "a value for all attributes at once is not merged here",
                    where=name,
                    fix="give it with each attribute",
                )
        form = parameters.one_of("format", _SIMPLIFIED)
        options = parameters.items("options")
        if any(option not in _SIMPLIFIED for option in options):
            allowed = ", ".join(_SIMPLIFIED)
            raise InvalidRequest("no such option", where="options", seen=",".join(options), allowed=allowed)
        change = await self._fragment(request, Verb.MERGE, parameters, simplified=bool(form or options), patch=True)
        return http.updated(request, await self._one(request, self._settled(request, change)))

    async def delete(self, request: Call) -> Empty:
        self._check_type(request, http.parameters(request, _TYPED))
        return http.done(request, await self._one(request, Change(verb=Verb.DELETE, id=http.entity_id(request))))

    # --- attributes ---

    async def append_attributes(self, request: Call) -> Reply:
        parameters = http.parameters(request, frozenset(("type", "options", "local")))
        change = await self._fragment(request, Verb.APPEND, parameters, overwrite=not _no_overwrite(parameters))
        return http.updated(request, await self._one(request, change))

    async def update_attributes(self, request: Call) -> Reply:
        change = await self._fragment(request, Verb.APPEND, nulls=True, patch=True)
        if change.scopes and not self._entity(request).scopes:  # a scope is changed here, not added
            outcome = await self._one(request, msgspec.structs.replace(change, scopes=None))
            refused = {**outcome.refused, "scope": NotFound("the entity has no scope", fix="append it")}
            return http.updated(request, msgspec.structs.replace(outcome, refused=refused))
        return http.updated(request, await self._one(request, change))

    async def update_attribute(self, request: Call) -> Empty:
        change = await self._attribute_fragment(request, Verb.PATCH)
        current = self._entity(request)
        for key, attribute in change.attributes.items():
            old = current.attributes.get(key)
            if old is not None and attribute.kind not in ("", old.kind) and attribute.value not in (None, NULL):
                raise InvalidInput(
                    "the type of an attribute cannot be changed so",
                    where="type",
                    seen=attribute.kind,
                    allowed=old.kind,
                    fix="replace the attribute",
                )
        return http.done(request, await self._one(request, self._settled(request, change)))

    async def replace_attribute(self, request: Call) -> Empty:
        return http.done(request, await self._one(request, await self._attribute_fragment(request, Verb.UPDATE)))

    async def delete_attribute(self, request: Call) -> Empty:
        parameters = http.parameters(request, frozenset(("type", "datasetId", "deleteAll", "local")))
        self._check_type(request, parameters)
        context = http.header_context(request, self._contexts)
        entity_id, name = http.entity_id(request), http.segment(request, "name")
        if name == "scope":
            change = Change(verb=Verb.APPEND, id=entity_id, scopes=())
        else:
            key = read_attribute_name(name, context)
            if dataset := parameters.text("datasetId"):
                key = dataset_key(key, dataset)
            change = Change(
                verb=Verb.DELETE_ATTRIBUTES,
                id=entity_id,
                attributes={key: Attribute()},
                all_datasets=parameters.flag("deleteAll") or False,
            )
        return http.done(request, await self._one(request, change))

    # --- batches ---

    async def batch_create(self, request: Call) -> Reply:
        http.parameters(request, _LOCAL)
        return await self._batch(request, Verb.CREATE)

    async def batch_upsert(self, request: Call) -> Reply:
        options = http.parameters(request, frozenset(("options", "local"))).items("options")
        if options not in ((), ("replace",), ("update",)):
            raise InvalidRequest("no such option", where="options", seen=",".join(options), allowed="replace, update")
        update = options == ("update",)
        return await self._batch(request, Verb.APPEND if update else Verb.REPLACE, upsert=True, nulls=update)

    async def batch_update(self, request: Call) -> Reply:
        parameters = http.parameters(request, frozenset(("options", "local")))
        return await self._batch(request, Verb.APPEND, overwrite=not _no_overwrite(parameters))

    async def batch_merge(self, request: Call) -> Reply:
        http.parameters(request, _LOCAL)
        return await self._batch(request, Verb.MERGE)

    async def batch_delete(self, request: Call) -> Reply:
        http.parameters(request, _LOCAL)
        http.body_context(request, self._contexts)  # its media type counts, names it has none
        return await self._apply(request, Verb.DELETE, read_ids(await http.body(request)))

    async def _batch(self, request: Call, verb: Verb, **how: bool) -> Reply:
        context = http.body_context(request, self._contexts)
        return await self._apply(
            request, verb, read_batch(await http.body(request), verb, self._contexts, context, **how)
        )

    async def _apply(self, request: Call, verb: Verb, items: Sequence[Change | Refused]) -> Reply:
        """Apply what could be read, in order, and tell what became of each item."""
        errors = [(item.id, item.error) for item in items if isinstance(item, Refused)]
        changes: list[Change] = []
        for item in items:
            if isinstance(item, Change):
                try:
                    changes.append(self._settled(request, item) if verb is Verb.MERGE else item)
                except HutongError as error:
                    errors.append((item.id, error))
        outcomes: list[Changed] = []
        if changes:
            command = ChangeEntities(changes=changes, tenant=http.tenant(request))
            outcomes = await self._engine.change(actor_of(request), command)
        return http.batch_done(request, verb, outcomes, errors)

    # --- questions ---

    async def query(self, request: Call) -> Reply:
        answer = http.answer(request, geojson=True)
        context = http.header_context(request, self._contexts)
        asked = read_query(http.given(request), context, tenant=http.tenant(request), geojson=answer.geojson)
        return await self._found(request, asked, answer, context)

    async def query_by_body(self, request: Call) -> Reply:
        answer = http.answer(request, geojson=True)
        raw, context = await http.query_body(request, self._contexts)
        asked = read_query_body(raw, http.given(request), context, tenant=http.tenant(request), geojson=answer.geojson)
        return await self._found(request, asked, answer, context)

    async def _found(self, request: Call, asked: Query, answer: Answer, context: Context) -> Reply:
        actor, query = actor_of(request), asked.entities
        ahead = min(query.limit + 1, LIMIT_MAX)  # one more tells whether there is another page
        found = await self._engine.find(actor, msgspec.structs.replace(query, limit=ahead)) if query.limit else []
        more = len(found) > query.limit or query.limit == len(found) == LIMIT_MAX
        links = http.neighbours(request, query.limit, query.offset, more, answer)
        if asked.join is not None:
            told = await self._joined(request, found[: query.limit], asked.shape, asked.join, answer, context)
            reply = self._tell(request, told, answer, context, *links)
        else:
            write: Callable[..., bytes] = write_features if answer.geojson else write_entities
            content = write(found[: query.limit], context, asked.shape, with_context=answer.context_in_body)
            reply = http.reply(request, content, answer, context, *links)
        if asked.count:
            reply.headers["NGSILD-Results-Count"] = str(await self._engine.count(actor, query))
        return reply

    async def _joined(
        self, request: Call, roots: Sequence[Entity], shape: Shape, join: Join, answer: Answer, context: Context
    ) -> list[dict[str, Any]]:
        """Entities as they are shown together with those that they are linked to."""

        async def find(ids: tuple[str, ...]) -> list[Entity]:
            query = EntityQuery(tenant=http.tenant(request), ids=ids, limit=len(ids))
            return await self._engine.find(actor_of(request), query)

        linked = await Linked.of(roots, shape, join, context, find)
        return linked.write(roots, shape, geojson=answer.geojson)

    @staticmethod
    def _tell(request: Call, told: Any, answer: Answer, context: Context, *links: str) -> Reply:
        if answer.geojson and isinstance(told, list):
            content = as_collection(told, context, with_context=answer.context_in_body)
            return http.reply(request, content, answer, context, *links)
        return http.reply_json(request, told, answer, context, *links)

    # --- steps that operations share ---

    async def _fragment(
        self, request: Call, verb: Verb, parameters: Parameters | None = None, *, patch: bool = False, **how: bool
    ) -> Change:
        self._check_type(request, parameters or http.parameters(request, _TYPED))
        context = http.body_context(request, self._contexts, patch=patch)
        body = await http.body(request)
        return read_change(body, verb, self._contexts, context, entity_id=http.entity_id(request), **how)

    async def _attribute_fragment(self, request: Call, verb: Verb) -> Change:
        self._check_type(request, http.parameters(request, _TYPED))
        context = http.body_context(request, self._contexts, patch=verb is Verb.PATCH)
        return read_attribute(
            await http.body(request),
            verb,
            self._contexts,
            context,
            entity_id=http.entity_id(request),
            name=http.segment(request, "name"),
        )

    def _entity(self, request: Call, types: Sequence[Sequence[str]] = ()) -> Entity:
        """The entity of the address. Raises NotFound, also where it is of none of these types."""
        entity = self._engine.entity(actor_of(request), http.tenant(request), http.entity_id(request))
        if types and not any(set(all_of) <= set(entity.types) for all_of in types):
            raise NotFound("there is no such entity of this type", where="type", seen=entity.id)
        return entity

    def _check_type(self, request: Call, parameters: Parameters) -> None:
        if "type" in parameters:
            self._entity(request, read_types(parameters, http.header_context(request, self._contexts)))

    def _settled(self, request: Call, change: Change) -> Change:
        """Give kinds to attributes that leave theirs open. Raises InvalidInput for a new one without a value."""
        if all(attribute.kind and attribute.value is not None for attribute in change.attributes.values()):
            return change
        try:
            current = self._engine.entity(actor_of(request), http.tenant(request), change.id).attributes
        except NotFound:
            return change  # which the engine will say of this change
        for key, attribute in change.attributes.items():
            old = current.get(key)
            if old is None and attribute.value is None and change.verb is Verb.MERGE:
                raise InvalidInput(
                    "value is missing", where=split_key(key)[0], fix="the attribute is new: give its value"
                )
            attribute.kind = attribute.kind or (old.kind if old is not None else "P")
        return change

    async def _one(self, request: Call, change: Change) -> Changed:
        [outcome] = await self._engine.change(
            actor_of(request), ChangeEntities(changes=[change], tenant=http.tenant(request))
        )
        return outcome


def _no_overwrite(parameters: Parameters) -> bool:
    options = parameters.items("options")
    if options not in ((), ("noOverwrite",)):
        raise InvalidRequest("no such option", where="options", seen=",".join(options), allowed="noOverwrite")
    return bool(options)
