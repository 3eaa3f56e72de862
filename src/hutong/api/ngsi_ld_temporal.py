"""The temporal part of NGSI-LD over HTTP (ETSI GS CIM 009 v1.8.1, clauses 6.18 to 6.24): histories of entities."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import polars as pl
from litestar import Router, get, post

from hutong.api import ngsi_ld_messages as http
from hutong.api.app import actor_of
from hutong.api.ngsi_ld_messages import Call, Reply
from hutong.engines.sense.ports import Aggregation, Entity, EntityQuery, HistoryQuery
from hutong.kernel.access import Actor
from hutong.kernel.clock import Clock
from hutong.kernel.errors import NotFound
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.headers import Answer
from hutong.standards.ngsi_ld.query import LIMIT_MAX
from hutong.standards.ngsi_ld.temporal import (
    TemporalQuery,
    read_temporal_query,
    read_temporal_query_body,
    read_temporal_retrieval,
    write_aggregated,
    write_temporal,
)


class Sense(Protocol):
    """The verbs of the sense engine that these routes call."""

    def entity(self, actor: Actor, tenant: str, id: str, /) -> Entity: ...

    async def find(self, actor: Actor, query: EntityQuery) -> list[Entity]: ...

    async def count(self, actor: Actor, query: EntityQuery) -> int: ...

    async def history(self, actor: Actor, query: HistoryQuery) -> pl.DataFrame: ...

    async def aggregate(self, actor: Actor, query: HistoryQuery, how: Aggregation) -> pl.DataFrame: ...


class NgsiLdTemporal:
    """Thin routes over the verbs of the sense engine that read history."""

    def __init__(self, engine: Sense, contexts: Contexts, clock: Clock) -> None:
        self._engine = engine
        self._contexts = contexts
        self._clock = clock

    def __deepcopy__(self, memo: object) -> "NgsiLdTemporal":
        return self  # Litestar copies routers with their handlers; the engine behind them is one

    def router(self) -> Router:
        """All routes, with errors as NGSI-LD tells them."""
        handlers = [
            get("/temporal/entities", summary="Query histories (5.7.4)")(self.query),
            get("/temporal/entities/{entity_id:str}", summary="Retrieve a history (5.7.3)")(self.retrieve),
            post("/temporal/entityOperations/query", status_code=200, summary="Query histories (5.7.4)")(
                self.query_by_body
            ),
        ]
        return http.router(handlers)

    async def retrieve(self, request: Call) -> Reply:
        answer = http.answer(request)
        context = http.header_context(request, self._contexts)
        asked = read_temporal_retrieval(http.given(request), context)
        entity = self._engine.entity(actor_of(request), http.tenant(request), http.entity_id(request))
        told = await self._histories(request, [entity], asked, context)
        if not told and (asked.shape.attributes or asked.shape.pick):
            raise NotFound("the entity has no history of these attributes", where="attrs")
        one = told[0] if told else {"id": entity.id, "type": [context.compact(name) for name in entity.types]}
        return http.reply_json(request, one, answer, context)

    async def query(self, request: Call) -> Reply:
        answer = http.answer(request)
        context = http.header_context(request, self._contexts)
        asked = read_temporal_query(http.given(request), context, tenant=http.tenant(request))
        return await self._found_histories(request, asked, answer, context)

    async def query_by_body(self, request: Call) -> Reply:
        answer = http.answer(request)
        raw, context = await http.query_body(request, self._contexts)
        asked = read_temporal_query_body(raw, http.given(request), context, tenant=http.tenant(request))
        return await self._found_histories(request, asked, answer, context)

    async def _found_histories(self, request: Call, asked: TemporalQuery, answer: Answer, context: Context) -> Reply:
        assert asked.entities is not None
        actor, query = actor_of(request), asked.entities
        ahead = msgspec.structs.replace(query, limit=min(query.limit + 1, LIMIT_MAX))
        found = await self._engine.find(actor, ahead) if query.limit else []
        told = await self._histories(request, found[: query.limit], asked, context)
        links = http.neighbours(request, query.limit, query.offset, len(found) > query.limit, answer)
        reply = http.reply_json(request, told, answer, context, *links)
        if asked.count:
            reply.headers["NGSILD-Results-Count"] = str(await self._engine.count(actor, query))
        return reply

    async def _histories(
        self, request: Call, entities: Sequence[Entity], asked: TemporalQuery, context: Context
    ) -> list[dict[str, Any]]:
        if not entities:
            return []
        actor = actor_of(request)
        query = asked.history(http.tenant(request), [entity.id for entity in entities])
        if asked.aggregation is None:
            return write_temporal(await self._engine.history(actor, query), entities, context, asked)
        frame = await self._engine.aggregate(actor, query, asked.aggregation)
        return write_aggregated(frame, entities, context, asked, self._clock.now())
