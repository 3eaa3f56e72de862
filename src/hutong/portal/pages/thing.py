"""A thing's page: its values with their quality, history, alerts, place, and where each comes from."""

from typing import Any
from urllib.parse import unquote

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from hutong.engines.sense.ports import Alert, AlertQuery, HistoryQuery
from hutong.kernel.errors import InvalidInput
from hutong.portal import charts, figures
from hutong.portal.board import Board
from hutong.portal.charts import SPANS, Series, Span
from hutong.portal.maps import Box
from hutong.portal.pages.platform import found_platform, found_thing, type_of
from hutong.portal.ports import Platform
from hutong.portal.readings import all_values
from hutong.portal.things import Thing
from hutong.portal.visit import Here, Visit, both, wants_part

ALERTS_SHOWN = 20
TABLE_ROWS = 200
AROUND_DEGREES = 0.045  # about 5 km to each side


@get(both("/platforms/{name:str}/things/{id:path}"), include_in_schema=False)
async def thing(
    visit: Here, name: FromPath[str], show: FromQuery[str] = "", span: FromQuery[Span] = "24h"
) -> Response[str]:
    shown = found_platform(visit, name)
    board = await visit.board(shown)
    seen = found_thing(board, _id(visit))
    kind = type_of(shown, seen)
    values = all_values(seen, kind, shown, visit.lang)
    charted = [value for value in values if value.numeric]
    chosen = show or next((value.name for value in charted), "")
    if chosen and chosen not in {value.name for value in charted}:
        raise InvalidInput(
            "no such number of this thing",
            where="show",
            seen=chosen,
            allowed=", ".join(value.name for value in charted),
        )
    series = await charts.series(visit.site.portal, visit.actor, seen, kind, chosen, span) if chosen else None
    context = _chart(visit, shown, seen, series) | {
        "platform": shown,
        "thing": seen,
        "kind": kind,
        "charted": charted,
        "chosen": chosen,
        "span": span,
        "spans": SPANS,
    }
    if wants_part(visit.request):
        return visit.page("parts/history.html", **context)
    return visit.page(
        "thing.html",
        **context,
        values=values,
        alerts=await _alerts(visit, shown, seen),
        names={},
        position=await _position(visit, seen),
        map=_around(visit, board, seen),
        sequence=f"{board.epoch}-{board.sequence}",
        live={value.name for value in values if value.name in kind.declaration.headline},
    )


@get(both("/platforms/{name:str}/history.json"), include_in_schema=False)
async def history(
    visit: Here, name: FromPath[str], thing: FromQuery[str], show: FromQuery[str], span: FromQuery[Span] = "24h"
) -> dict[str, Any]:
    """A chart's series: `[ms, value, low, high, suspect]`, value null where a gap begins.

    Milliseconds are those of the city's wall clock: a chart reads the same wherever it is looked at.
    """
    shown = found_platform(visit, name)
    seen = found_thing(await visit.board(shown), thing)
    kind = type_of(shown, seen)
    if show not in kind.declaration.property:
        raise InvalidInput("no such property", where="show", seen=show)
    series = await charts.series(visit.site.portal, visit.actor, seen, kind, show, span)
    alerts = [alert for alert in await _alerts(visit, shown, seen) if alert.firing_since is not None]
    zone = visit.site.portal.city.zone

    def wall(at: int) -> int:
        return figures.wall_ms(at, zone)

    return {
        "label": shown.label(kind.name, show, visit.lang),
        "share": _share(shown, seen, show),
        "begin": wall(series.begin),
        "end": wall(series.end),
        "bucket": series.bucket // 1000,
        "foretold": any(s.foretold for s in series.samples),
        "samples": [[wall(s.at), s.value, s.low, s.high, s.suspect] for s in series.samples],
        "alerts": [
            [
                wall(alert.firing_since or 0),
                alert.resolved_at and wall(alert.resolved_at),
                alert.severity,
                shown.text(visit.lang, "alert", alert.rule).name,
            ]
            for alert in alerts
        ],
    }


def _id(visit: Visit) -> str:
    """The id as it was sent: a path parameter would have lost its slashes' encoding."""
    raw = visit.request.scope.get("raw_path") or visit.request.url.path.encode()
    return unquote(raw.decode("ascii", "replace").partition("?")[0].partition("/things/")[2])


def _share(shown: Platform, seen: Thing, name: str) -> bool:
    declared = type_of(shown, seen).declaration.property[name]
    return declared.type == "number" and declared.unit == "C62"


def _chart(visit: Visit, shown: Platform, seen: Thing, series: Series | None) -> dict[str, Any]:
    if series is None:
        return {"series": None, "drawing": None, "rows": [], "share": False}
    share = _share(shown, seen, series.shown)
    drawing = charts.draw(series, visit.site.portal.city.zone, visit.lang, percent=share)

    def written(value: float | None) -> str:
        return figures.MISSING if value is None else figures.percent(value) if share else figures.number(value)

    rows = [
        (sample.at, written(sample.value), written(sample.low), written(sample.high), sample.suspect)
        for sample in series.observed[::-1][:TABLE_ROWS]
    ]
    return {"series": series, "drawing": drawing, "rows": rows, "share": share}


async def _alerts(visit: Visit, shown: Platform, seen: Thing) -> list[Alert]:
    portal = visit.site.portal
    found = await portal.sense.alerts(
        visit.actor,
        AlertQuery(tenant=portal.tenant, entity=seen.id, states=("pending", "firing", "resolved"), limit=ALERTS_SHOWN),
    )
    return [alert for alert in found if alert.rule in shown.alerts]


async def _position(visit: Visit, seen: Thing) -> str:
    """Lane and number of the ledger row that brought the last observation; empty when nothing is recorded."""
    portal = visit.site.portal
    rows = await portal.sense.history(visit.actor, HistoryQuery(tenant=portal.tenant, entities=(seen.id,), last=1))
    if not rows.height:
        return ""
    lane, number = rows.sort("recorded_at").select("lane", "n").row(-1)
    return f"{lane}:{number}"


def _around(visit: Visit, board: Board, seen: Thing) -> Any:
    if seen.lon is None or seen.lat is None:
        return None
    box: Box = (
        seen.lon - AROUND_DEGREES,
        seen.lat - AROUND_DEGREES * 0.48,
        seen.lon + AROUND_DEGREES,
        seen.lat + AROUND_DEGREES * 0.48,
    )
    return visit.site.atlas.map(board.things(), visit.lang, width=420, box=box)
