"""A platform's page, made by its declarations alone: state, map and list, alerts, data."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from hutong.kernel.errors import InvalidInput, NotFound
from hutong.portal import stream
from hutong.portal.assessments import assessments
from hutong.portal.board import Board
from hutong.portal.ports import Platform, ThingType
from hutong.portal.readings import colour, headline
from hutong.portal.things import State, Thing
from hutong.portal.visit import Here, Visit, both, wants_part
from hutong.portal.words import Language

SIZES = (25, 50, 100)
ALERTS_SHOWN = 6


@dataclass(frozen=True)
class Listing:
    """What the reader of a list asked for. `sort` is a column, with `-` before it for descending."""

    kind: str = ""
    q: str = ""
    state: str = ""
    district: str = ""
    sort: str = ""
    page: int = 1
    size: int = SIZES[0]

    def query(self, **changes: Any) -> str:
        """The query string of this listing with changes; what is as it is by default is left out."""
        asked = replace(self, **changes)
        return urlencode({name: value for name, value in vars(asked).items() if value != getattr(Listing(), name)})

    def sorted_by(self, column: str) -> str:
        """What a click on a column's heading asks for."""
        return f"-{column}" if self.sort == column else column


@dataclass(frozen=True)
class Page:
    things: list[Thing]
    found: int
    pages: int


def found_platform(visit: Visit, name: str) -> Platform:
    platform = visit.site.portal.platform(name)
    if platform is None:
        raise NotFound("no such platform", seen=name)
    return platform


def listed(things: list[Thing], asked: Listing, lang: Language, kind: ThingType | None) -> Page:
    """Filter, sort and cut. Without a sort the most urgent come first."""
    wanted = asked.q.strip().casefold()
    found = [
        thing
        for thing in things
        if (not wanted or wanted in thing.name[lang].casefold() or wanted in thing.id.casefold())
        and (not asked.state or thing.state == asked.state)
        and (not asked.district or thing.place.startswith(asked.district))
    ]
    column = asked.sort.removeprefix("-")
    found.sort(key=lambda thing: (thing.name[lang], thing.id))
    found.sort(key=_order(column, kind, lang), reverse=asked.sort.startswith("-"))
    if column:  # what has no value comes last, either way
        found.sort(key=lambda thing: _missing(thing, column))
    pages = max(1, -(-len(found) // asked.size))
    start = (min(asked.page, pages) - 1) * asked.size
    return Page(found[start : start + asked.size], len(found), pages)


def _order(column: str, kind: ThingType | None, lang: Language) -> Callable[[Thing], Any]:
    urgency = {state: n for n, state in enumerate(State)}
    match column:
        case "" | "state":
            return lambda thing: urgency[thing.state]
        case "name":
            return lambda thing: thing.name[lang]
        case "at":
            return lambda thing: thing.observed_at or 0
        case _ if kind and column in kind.declaration.property:
            numeric = kind.declaration.property[column].type in ("integer", "number")
            return lambda thing: (thing.value(column) or 0) if numeric else str(thing.value(column))
    raise InvalidInput("no such column", where="sort", seen=column)


def _missing(thing: Thing, column: str) -> bool:
    if column in ("name", "state", "at"):
        return column == "at" and thing.observed_at is None
    return thing.state == State.SILENT or thing.value(column) is None


@get(both("/platforms/{name:str}"), include_in_schema=False)
async def platform(
    visit: Here,
    name: FromPath[str],
    chosen: Annotated[str, QueryParameter(name="kind")] = "",
    q: FromQuery[str] = "",
    only: Annotated[str, QueryParameter(name="state")] = "",
    district: FromQuery[str] = "",
    sort: FromQuery[str] = "",
    page: FromQuery[int] = 1,
    size: FromQuery[int] = SIZES[0],
) -> Response[str]:
    shown = found_platform(visit, name)
    board = await visit.board(shown)
    everything = board.things()
    there = {thing.type for thing in everything}
    first = next((one for one in shown.types if one.name in there), next(iter(shown.types), None))
    seen = [one for one in shown.types if visit.site.portal.sense.sees_any(visit.actor, one.name)]
    kind = next((one for one in shown.types if one.name == chosen), first)
    asked = Listing(
        kind.name if kind and kind.name == chosen else "",
        q[:200],
        only if only in set(State) else "",
        district,
        sort,
        max(1, page),
        size if size in SIZES else SIZES[0],
    )
    things = [thing for thing in everything if kind and thing.type == kind.name]
    listing = listed(things, asked, visit.lang, kind)
    context: dict[str, Any] = {
        "platform": shown,
        "kind": kind,
        "asked": asked,
        "listing": listing,
        "sizes": SIZES,
        "readings": _readings(visit, shown),
        "sequence": f"{board.epoch}-{board.sequence}",
    }
    if wants_part(visit.request):
        return visit.page("parts/things.html", **context)
    portal = visit.site.portal
    alerts = board.alerts()
    districts = sorted({thing.place[:6] for thing in things if thing.place[:6] in visit.site.atlas.names})
    return visit.page(
        "platform.html",
        **context,
        summary=board.summary,
        texts=stream.summary(board.summary, visit.lang),
        map=visit.site.atlas.map(things, visit.lang, width=720, colour=lambda thing: colour(thing, shown)),
        tabs=seen,
        kinds=Counter(thing.type for thing in everything),
        districts=districts,
        departments=portal.city.leads(shown.implements),
        alerts=alerts[:ALERTS_SHOWN],
        alerts_count=len(alerts),
        names={thing.id: thing.name[visit.lang] for thing in everything},
        simulated=any(thing.simulated for thing in everything),
        assessments=await assessments(portal, visit.actor, shown, visit.lang),
    )


@get(both("/platforms/{name:str}/alerts"), include_in_schema=False)
async def alerts_part(visit: Here, name: FromPath[str]) -> Response[str]:
    """The panel of alerts, exchanged when alerts change."""
    shown = found_platform(visit, name)
    board = await visit.board(shown)
    alerts = board.alerts()
    return visit.page(
        "parts/alerts.html",
        platform=shown,
        alerts=alerts[:ALERTS_SHOWN],
        alerts_count=len(alerts),
        names={thing.id: thing.name[visit.lang] for thing in board.things()},
    )


@get(both("/platforms/{name:str}/map.json"), include_in_schema=False)
async def map_points(visit: Here, name: FromPath[str], kind: FromQuery[str] = "") -> dict[str, Any]:
    """Things with a place, as the live map takes them: `[id, longitude, latitude, state, colour]`; of one type."""
    shown = found_platform(visit, name)
    board = await visit.board(shown)
    return {
        "things": [
            (thing.id, thing.lon, thing.lat, thing.state, colour(thing, shown))
            for thing in board.things()
            if thing.lon is not None and thing.type == (kind or thing.type)
        ]
    }


@get(both("/platforms/{name:str}/thing.json"), include_in_schema=False)
async def one(visit: Here, name: FromPath[str], thing: FromQuery[str]) -> dict[str, Any]:
    """One thing as streams tell of it: for the card of a point that was picked on the map."""
    board = await visit.board(found_platform(visit, name))
    return stream.changed_thing(visit.site.portal, board, found_thing(board, thing), visit.lang)


def _readings(visit: Visit, shown: Platform) -> Callable[[Thing], Any]:
    kinds = {kind.name: kind for kind in shown.types}
    return lambda thing: headline(thing, kinds[thing.type], shown, visit.lang)


def type_of(shown: Platform, thing: Thing) -> ThingType:
    return next(kind for kind in shown.types if kind.name == thing.type)


def found_thing(board: Board, id: str) -> Thing:
    found = next((thing for thing in board.things() if thing.id == id), None)
    if found is None:
        raise NotFound("no such thing on this platform", seen=id)
    return found
