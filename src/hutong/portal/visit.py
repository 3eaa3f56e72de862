"""One request to a page: who asks, in which language, and how the answer is written."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.template.base import csrf_token

from hutong.engines.sense.ports import Alert
from hutong.kernel.access import Actor
from hutong.kernel.clock import moment
from hutong.portal import figures
from hutong.portal.assets import built
from hutong.portal.board import Board, Boards
from hutong.portal.maps import Atlas
from hutong.portal.ports import Platform, Portal
from hutong.portal.readings import evidence
from hutong.portal.stream import Streams
from hutong.portal.things import State
from hutong.portal.words import LANGUAGES, TAGS, Language, other, words

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), camera=(), microphone=()",
}


ORDER = (State.GOOD, State.WATCH, State.ALARM, State.SUSPECT, State.SILENT)  # as bars and legends show them


class Site:
    """What all visits share."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.boards = Boards(portal)
        self.streams = Streams(portal)
        self.atlas = Atlas(portal.city.districts)
        self.templates = Environment(
            loader=PackageLoader("hutong.portal"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals.update(
            figures=figures, State=State, ORDER=ORDER, entry=lambda name: built().entry(name), quote=quote
        )


@dataclass(frozen=True)
class Visit:
    """`path` is that of the page without its language, so that the same page can be had in the other one."""

    site: Site
    request: Request[Any, Any, Any]
    lang: Language
    actor: Actor

    @cached_property
    def now(self) -> int:
        return self.site.portal.clock.now()

    @property
    def path(self) -> str:
        path = self.request.url.path
        return path.removeprefix(f"/{self.lang}") if path.startswith(f"/{self.lang}") else ""

    def in_other_language(self) -> str:
        query = self.request.url.query
        return f"/{other(self.lang)}{quote(self.path, safe='/:')}" + (f"?{query}" if query else "")

    async def board(self, platform: Platform) -> Board:
        return await self.site.boards.of(platform, self.actor)

    def when(self, at: int) -> str:
        return figures.when(at, self.site.portal.city.zone, self.lang)

    def short(self, at: int) -> str:
        return figures.short(at, self.now, self.site.portal.city.zone, self.lang)

    def day(self, at: int) -> str:
        return figures.day(moment(at).astimezone(self.site.portal.city.zone), self.lang)

    def ago(self, at: int) -> str:
        return figures.ago(at, self.now, self.lang)

    def lasted(self, microseconds: int) -> str:
        return figures.duration(microseconds, self.lang)

    def held(self, alert: Alert, platform: Platform) -> int:
        """How long an alert has lasted; one of history played back, up to its last move in its own time."""
        rule = platform.alerts.get(alert.rule)
        by_the_clock = alert.live or (rule and rule.silent_for)
        end = alert.resolved_at if alert.resolved_at is not None else self.now if by_the_clock else alert.at
        return max(0, end - alert.pending_since)

    def evidence(self, alert: Alert, platform: Platform) -> str:
        """What made the alert, in one line: `Occupancy 97%`."""
        kind = next(kind for kind in platform.types if kind.name == alert.type)
        comma = words(self.lang)("site.comma")
        return comma.join(f"{label} {text}" for label, text in evidence(alert, kind, platform, self.lang))

    def page(self, template: str, status: int = 200, **context: Any) -> Response[str]:
        """A page, or a part of one, as HTML."""
        headers = HEADERS | {
            "Content-Language": TAGS[self.lang],
            "Cache-Control": "no-cache",
            "Vary": "Accept-Language, Cookie, HX-Request",
        }
        return Response(self.write(template, **context), media_type=MediaType.HTML, status_code=status, headers=headers)

    def write(self, template: str, **context: Any) -> str:
        portal = self.site.portal
        shared: dict[str, Any] = {
            "visit": self,
            "lang": self.lang,
            "tag": TAGS[self.lang],
            "t": words(self.lang),
            "portal": portal,
            "city": portal.city,
            "base": f"/{self.lang}",
            "atlas": self.site.atlas,
            "other": other(self.lang),
            "other_tag": TAGS[other(self.lang)],
            "csrf": csrf_token({"request": self.request}),
            "may_handle": portal.may_handle(self.actor),
            "may_operate": portal.deliveries.may(self.actor),
        }
        return self.site.templates.get_template(template).render({**shared, **context})


Here: TypeAlias = NamedDependency[Visit]


def both(path: str) -> list[str]:
    """The path under each language."""
    return [f"/{lang}{path}" for lang in LANGUAGES]


def wants_part(request: Request[Any, Any, Any]) -> bool:
    """Whether the request comes from htmx, which exchanges a part of the page."""
    return request.headers.get("hx-request") == "true"
