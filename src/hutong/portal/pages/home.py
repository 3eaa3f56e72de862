"""The first page: what the city runs and how it is now."""

from dataclasses import dataclass

from litestar import Response, get
from litestar.params import FromQuery

from hutong.kernel import mission
from hutong.portal.board import Summary
from hutong.portal.maps import Map
from hutong.portal.ports import Named, Platform
from hutong.portal.things import Thing
from hutong.portal.visit import Here, Visit, both
from hutong.portal.words import LANGUAGES

FOUND_MAX = 50


@dataclass(frozen=True)
class Card:
    """A platform that runs."""

    platform: Platform
    summary: Summary
    departments: list[Named]


@dataclass(frozen=True)
class Plans:
    """Platforms of one sector that the mission asks for and no pack implements."""

    id: str
    sector: mission.Sector
    platforms: list[mission.Platform]


def plans(visit: Visit) -> list[Plans]:
    portal = visit.site.portal
    running = {asked.id for platform in portal.platforms for asked in platform.implements}
    return [
        Plans(id, sector, missing)
        for id, sector in portal.mission.sectors.items()
        if (
            missing := [
                asked for asked in portal.mission.platforms.values() if asked.sector == id and asked.id not in running
            ]
        )
    ]


async def cards(visit: Visit) -> tuple[list[Card], list[Thing]]:
    """Running platforms with their state, and all their things."""
    found, things = [], []
    for platform in visit.site.portal.platforms:
        board = await visit.board(platform)
        found.append(Card(platform, board.summary, visit.site.portal.city.leads(platform.implements)))
        things += board.things()
    return found, things


def city_map(visit: Visit, things: list[Thing]) -> Map:
    return visit.site.atlas.map(things, visit.lang, width=560, box=visit.site.atlas.box)


@get(["/", *both("")], include_in_schema=False)
async def home(visit: Here) -> Response[str]:
    running, things = await cards(visit)
    portal = visit.site.portal
    implemented = sum(len(card.platform.implements) for card in running)
    sectors = {id: [card for card in running if card.platform.sector == id] for id in portal.mission.sectors}
    return visit.page(
        "home.html",
        sectors={id: found for id, found in sectors.items() if found},
        plans=plans(visit),
        running=running,
        implemented=implemented,
        asked=len(portal.mission.platforms),
        map=city_map(visit, things),
        things=len(things),
        simulated=any(thing.simulated for thing in things),
    )


@get(both("/search"), include_in_schema=False)
async def search(visit: Here, q: FromQuery[str] = "") -> Response[str]:
    """Platforms and things whose names or ids hold the words looked for."""
    wanted = q.strip().casefold()[:200]
    running, planned, things = [], [], []
    if wanted:
        for card in (await cards(visit))[0]:
            platform = card.platform
            names = [platform.text(lang).name for lang in LANGUAGES]
            names += [text for asked in platform.implements for text in (asked.zh, asked.en)]
            if any(wanted in name.casefold() for name in names):
                running.append(card)
            things += [
                (platform, thing)
                for thing in (await visit.board(platform)).things()
                if wanted in thing.id.casefold() or any(wanted in n.casefold() for n in thing.name.values())
            ]
        planned = [
            asked
            for plan in plans(visit)
            for asked in plan.platforms
            if wanted in asked.zh.casefold() or wanted in asked.en.casefold()
        ]
    return visit.page(
        "search.html",
        q=q,
        running=running,
        planned=planned,
        things=things[:FOUND_MAX],
        found=len(running) + len(planned) + len(things),
        more=max(0, len(things) - FOUND_MAX),
    )
