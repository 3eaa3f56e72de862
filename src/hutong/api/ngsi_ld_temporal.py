"""The temporal part of NGSI-LD over HTTP (ETSI GS CIM 009 v1.8.1, clauses 6.18 to 6.24): histories of entities.

An answer that would hold too many instances ends at a moment that it tells: 206 with Content-Range (clause 6.3.10).
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from litestar import Response, Router, delete, get, patch, post

from hutong.api import ngsi_ld_messages as http
from hutong.api.app import actor_of
from hutong.api.ngsi_ld_messages import PATH, Call, Empty, Reply
from hutong.engines.sense.chronicle import Chronicle, within
from hutong.engines.sense.history import Past
from hutong.kernel.clock import Clock
from hutong.kernel.errors import InvalidInput, NotFound
from hutong.standards.ngsi_ld.attributes import dataset_key
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.entities import read_attribute_name
from hutong.standards.ngsi_ld.headers import JSON, Answer
from hutong.standards.ngsi_ld.histories import content_range, write_aggregated, write_deleted, write_temporal
from hutong.standards.ngsi_ld.temporal import (
    TemporalQuery,
    read_history,
    read_instance,
    read_temporal_query,
    read_temporal_query_body,
    read_temporal_retrieval,
)
from hutong.standards.ngsi_ld.uris import read_uri

_LOCAL = frozenset(("local",))


class NgsiLdTemporal:
    """Thin routes over the verbs about history; an answer holds about `instances` of them."""

    def __init__(self, chronicle: Chronicle, contexts: Contexts, clock: Clock, instances: int) -> None:
        self._chronicle = chronicle
        self._contexts = contexts
        self._clock = clock
        self._instances = instances

    def __deepcopy__(self, memo: object) -> "NgsiLdTemporal":
        return self  # Litestar copies routers with their handlers; the engine behind them is one

    def router(self) -> Router:
        """All routes, with errors as NGSI-LD tells them."""
        entities = "/temporal/entities"
        entity = entities + "/{entity_id:str}"
        attribute = entity + "/attrs/{name:str}"
        instance = attribute + "/{instance_id:str}"
        handlers = [
            post(entities, summary="Create or add to a history (5.6.11)")(self.create),
            get(entities, summary="Query histories (5.7.4)")(self.query),
            get(entity, summary="Retrieve a history (5.7.3)")(self.retrieve),
            delete(entity, status_code=204, summary="Delete a history (5.6.16)")(self.delete),
            post(entity + "/attrs", status_code=204, summary="Add instances of attributes (5.6.12)")(self.append),
            delete(attribute, status_code=204, summary="Delete an attribute's history (5.6.13)")(self.delete_attribute),
            patch(instance, status_code=204, summary="Change an instance (5.6.14)")(self.change_instance),
            delete(instance, status_code=204, summary="Delete an instance (5.6.15)")(self.delete_instance),
            post("/temporal/entityOperations/query", status_code=200, summary="Query histories (5.7.4)")(
                self.query_by_body
            ),
        ]
        return http.router(handlers)

    # --- amending ---

    async def create(self, request: Call) -> Reply:
        http.parameters(request, _LOCAL)
        context = http.body_context(request, self._contexts)
        told = read_history(await http.body(request), self._contexts, context)
        created = await self._chronicle.write(
            actor_of(request),
            http.tenant(request),
            told.id,
            told.instances,
            types=told.types,
            scopes=told.scopes,
            upsert=True,
        )
        reply: Reply = http.empty(request)
        if created:
            headers = reply.headers | {"Location": f"{PATH}/temporal/entities/{quote(told.id, safe=':')}"}
            reply = Response(b"", status_code=201, media_type=JSON, headers=headers)
        return reply

    async def append(self, request: Call) -> Empty:
        http.parameters(request, _LOCAL)
        context = http.body_context(request, self._contexts)
        told = read_history(await http.body(request), self._contexts, context, entity_id=http.entity_id(request))
        await self._chronicle.write(
            actor_of(request), http.tenant(request), told.id, told.instances, types=told.types, scopes=told.scopes
        )
        return http.empty(request)

    async def delete(self, request: Call) -> Empty:
        http.parameters(request, _LOCAL)
        await self._chronicle.delete(actor_of(request), http.tenant(request), http.entity_id(request))
        return http.empty(request)

    async def delete_attribute(self, request: Call) -> Empty:
        parameters = http.parameters(request, frozenset(("datasetId", "deleteAll", "local")))
        entity_id, key = http.entity_id(request), self._name(request)
        if dataset := parameters.text("datasetId"):
            key = dataset_key(key, dataset)
        every = parameters.flag("deleteAll") or False
        if every and dataset:
            raise InvalidInput("all instances and those of one datasetId", where="deleteAll", fix="leave one out")
        await self._chronicle.delete_attribute(actor_of(request), http.tenant(request), entity_id, key, datasets=every)
        return http.empty(request)

    async def change_instance(self, request: Call) -> Empty:
        http.parameters(request, _LOCAL)
        context = http.body_context(request, self._contexts, patch=True)
        entity_id, instance = http.entity_id(request), _instance_id(request)
        name, change = read_instance(
            await http.body(request),
            self._contexts,
            context,
            entity_id=entity_id,
            name=http.segment(request, "name"),
        )
        await self._chronicle.change_instance(
            actor_of(request), http.tenant(request), entity_id, name, instance, change
        )
        return http.empty(request)

    async def delete_instance(self, request: Call) -> Empty:
        http.parameters(request, _LOCAL)
        entity_id, instance = http.entity_id(request), _instance_id(request)
        await self._chronicle.delete_instance(
            actor_of(request), http.tenant(request), entity_id, self._name(request), instance
        )
        return http.empty(request)

    # --- reading ---

    async def retrieve(self, request: Call) -> Reply:
        answer = http.answer(request)
        context = http.header_context(request, self._contexts)
        asked = read_temporal_retrieval(http.given(request), context)
        entity = await self._chronicle.entity(actor_of(request), http.tenant(request), http.entity_id(request))
        told, partial = await self._histories(request, [entity], asked, context)
        shape = asked.shape
        if told:
            return _partial(http.reply_json(request, told[0], answer, context), partial)
        if shape.attributes or shape.pick or shape.omit:
            raise NotFound("the entity has no history of these attributes", where="attrs")
        types = [context.compact(name) for name in entity.types]
        one = {"id": entity.id, "type": types[0] if len(types) == 1 else types}
        return http.reply_json(request, one, answer, context)

    async def query(self, request: Call) -> Reply:
        answer = http.answer(request)
        context = http.header_context(request, self._contexts)
        asked = read_temporal_query(http.given(request), context, tenant=http.tenant(request))
        return await self._found(request, asked, answer, context)

    async def query_by_body(self, request: Call) -> Reply:
        answer = http.answer(request)
        raw, context = await http.query_body(request, self._contexts)
        asked = read_temporal_query_body(raw, http.given(request), context, tenant=http.tenant(request))
        return await self._found(request, asked, answer, context)

    async def _found(self, request: Call, asked: TemporalQuery, answer: Answer, context: Context) -> Reply:
        assert asked.entities is not None
        query = asked.entities
        span = asked.history(query.tenant, ())
        found = await self._chronicle.find(actor_of(request), query, span, deleted=asked.deleted, count=asked.count)
        told, partial = await self._histories(request, found.entities, asked, context)
        links = http.neighbours(request, query.limit, query.offset, found.more and query.limit > 0, answer)
        reply = http.reply_json(request, told, answer, context, *links)
        if asked.count:
            reply.headers["NGSILD-Results-Count"] = str(found.count)
        return _partial(reply, partial)

    async def _histories(
        self, request: Call, entities: Sequence[Past], asked: TemporalQuery, context: Context
    ) -> tuple[list[dict[str, Any]], str]:
        """Representations of those entities that have something to show, and the range they cover if not all."""
        if not entities:
            return [], ""
        actor, tenant = actor_of(request), http.tenant(request)
        query = asked.history(tenant, [entity.id for entity in entities])
        if asked.deleted:
            deletions = [
                one for one in await self._chronicle.deletions(actor, tenant, entities) if within(one.at, query)
            ]
            return write_deleted(deletions, entities, context, asked), ""
        if asked.aggregation is not None:
            frame = await self._chronicle.aggregate(actor, query, asked.aggregation, entities)
            return write_aggregated(frame, entities, context, asked, self._clock.now()), ""
        page = await self._chronicle.page(actor, query, self._instances, entities)
        return write_temporal(page, entities, context, asked), content_range(page, asked)

    def _name(self, request: Call) -> str:
        """The stored name of the attribute in the address."""
        return read_attribute_name(http.segment(request, "name"), http.header_context(request, self._contexts))


def _instance_id(request: Call) -> str:
    return read_uri(http.segment(request, "instance_id"), "the instance of the address")


def _partial(reply: Reply, covered: str) -> Reply:
    if covered:
        reply.status_code = 206
        reply.headers["Content-Range"] = covered
    return reply
