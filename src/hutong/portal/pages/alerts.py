"""The inbox of alerts: see, acknowledge, silence."""

from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, FromQuery, QueryParameter
from litestar.response import Redirect

from hutong.engines.sense.ports import Alert, AlertQuery
from hutong.kernel.clock import HOUR
from hutong.portal.ports import Platform
from hutong.portal.visit import Here, both

PAGE = 50
NOTE_MAX = 500
HOURS = (1, 4, 24, 72)  # how long silence may last, as the form offers it
Tab = Literal["firing", "pending", "resolved"]
TABS: tuple[Tab, ...] = ("firing", "pending", "resolved")


@dataclass
class Acknowledgement:
    note: str = ""


@dataclass
class Silence:
    hours: int
    note: str = ""


@dataclass(frozen=True)
class Row:
    alert: Alert
    platform: Platform
    name: str


@get(both("/alerts"), include_in_schema=False)
async def alerts(
    visit: Here,
    tab: Annotated[Tab, QueryParameter(name="state")] = "firing",
    platform: FromQuery[str] = "",
    severity: FromQuery[str] = "",
    page: FromQuery[int] = 1,
    done: FromQuery[str] = "",
) -> Response[str]:
    portal = visit.site.portal
    shown = {kind.name: one for one in portal.platforms if platform in ("", one.name) for kind in one.types}
    counts: dict[str, int] = dict.fromkeys(TABS, 0)
    names: dict[str, str] = {}
    for one in {one.name: one for one in shown.values()}.values():
        board = await visit.board(one)
        names |= {thing.id: thing.name[visit.lang] for thing in board.things()}
        for alert in board.alerts():
            counts[alert.state] += 1
    found = await portal.sense.alerts(
        visit.actor,
        AlertQuery(
            tenant=portal.tenant,
            states=(tab,),
            types=tuple(shown),
            severity=severity,
            limit=PAGE + 1,
            offset=(max(page, 1) - 1) * PAGE,
        ),
    )
    rows = [Row(alert, shown[alert.type], names.get(alert.entity, alert.entity)) for alert in found]
    order = ("critical", "warning", "info")
    rows.sort(key=lambda row: (order.index(row.alert.severity) if tab != "resolved" else 0, -row.alert.pending_since))
    query = {"platform": platform, "severity": severity}
    return visit.page(
        "alerts.html",
        rows=rows[:PAGE],
        more=len(rows) > PAGE,
        number=max(page, 1),
        state=tab,
        counts=counts,
        chosen=platform,
        severity=severity,
        hours=HOURS,
        done=done,
        tabs=TABS,
        query=lambda **changes: urlencode({k: v for k, v in (query | changes).items() if v}),
    )


@post(both("/alerts/{id:str}/acknowledge"), include_in_schema=False)
async def acknowledge(
    visit: Here, id: FromPath[str], data: Annotated[Acknowledgement, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    await visit.site.portal.sense.acknowledge(visit.actor, id, data.note[:NOTE_MAX])
    return Redirect(f"/{visit.lang}/alerts?done=acknowledged", status_code=303)


@post(both("/alerts/{id:str}/silence"), include_in_schema=False)
async def silence(
    visit: Here, id: FromPath[str], data: Annotated[Silence, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    hours = data.hours if data.hours in HOURS else HOURS[0]
    await visit.site.portal.sense.silence(visit.actor, id, visit.now + hours * HOUR, data.note[:NOTE_MAX])
    return Redirect(f"/{visit.lang}/alerts?done=silenced", status_code=303)
