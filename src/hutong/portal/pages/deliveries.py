"""What operators see of messages: which channels fare badly, what could not be delivered, and sending it again."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, FromQuery, QueryParameter
from litestar.response import Redirect

from hutong.kernel.deliveries import content
from hutong.portal.visit import Here, Visit, both
from hutong.portal.words import words

PAGE = 50
SHOWN_MAX = 20_000  # characters of a message; the API tells it whole
Tab = Literal["", "closed", "failing", "paused", "active"]
TABS: tuple[Tab, ...] = ("", "closed", "failing", "paused", "active")
MARKS = {"closed": "alarm", "failing": "watch", "paused": "silent", "active": "good"}
PATH = "/operations/deliveries"
# Reasons are kept in English; these are told in the reader's language, others as they are.
REASONS = {
    "too_old": r"too old: (?P<rest>.*)",
    "too_many_wait": r"(?P<count>\d+) messages wait, (?P<most>\d+) is the most.*",
    "too_many_dead": r"(?P<count>\d+) messages could not be delivered, (?P<most>\d+) is the most.*",
    "redirects": r"answered (?P<status>3\d\d): redirects are not followed",
    "answered": r"answered (?P<status>\d+)",
    "no_answer": r"no answer within (?P<seconds>[\d.]+) s",
    "hung_up": r"it hung up .*",
    "unreachable": r"it cannot be reached: (?P<rest>.*)",
    "unknown_name": r"nobody knows the name (?P<name>\S+)",
    "own_network": r".* ?points (into this machine's own network|at this machine itself): (?P<address>\S+)",
    "certificate": r"its certificate does not hold: (?P<rest>.*)",
    "no_http": r"no answer in HTTP: (?P<rest>.*)",
    "fault": r"a fault inside; it was logged",
}


@dataclass
class Channel:
    channel: str


@dataclass
class Letter:
    channel: str
    parcel: int = 0


@get(both(PATH), include_in_schema=False)
async def deliveries(
    visit: Here,
    tab: Annotated[Tab, QueryParameter(name="state")] = "",
    channel: FromQuery[str] = "",
    page: FromQuery[int] = 1,
    letters: FromQuery[int] = 1,
    done: FromQuery[str] = "",
    n: FromQuery[int] = 0,
) -> Response[str]:
    verbs, actor = visit.site.portal.deliveries, visit.actor
    page, letters = max(page, 1), max(letters, 1)
    channels = await verbs.channels(actor, tab, PAGE + 1, (page - 1) * PAGE)
    counts = {name: await verbs.count_channels(actor, name) for name in TABS}
    dead = await verbs.dead(actor, channel, PAGE + 1, (letters - 1) * PAGE)
    query = {"state": tab, "channel": channel}
    return visit.page(
        "deliveries.html",
        channels=channels[:PAGE],
        more=len(channels) > PAGE,
        number=page,
        state=tab,
        tabs=TABS,
        counts=counts,
        marks=MARKS,
        dead=dead[:PAGE],
        dead_count=await verbs.count_dead(actor, channel),
        more_dead=len(dead) > PAGE,
        letters=letters,
        chosen=channel,
        done=done if done in ("resent", "dropped", "paused", "resumed") else "",
        n=n,
        reason=lambda text: reason(visit, text),
        path=f"/{visit.lang}{PATH}",
        query=lambda **changes: urlencode({k: v for k, v in (query | changes).items() if v}),
    )


@get(both(PATH + "/{n:int}"), include_in_schema=False)
async def letter(visit: Here, n: FromPath[int]) -> Response[str]:
    """What a dead letter says, to those who are cleared for it."""
    found = await visit.site.portal.deliveries.dead_letter(visit.actor, min(n, 2**63 - 1))
    text, form = content(found.parcel.body)
    return visit.page(
        "delivery.html",
        letter=found,
        text=text[:SHOWN_MAX],
        cut=len(text) > SHOWN_MAX,
        form=form,
        reason=lambda text: reason(visit, text),
        path=f"/{visit.lang}{PATH}",
    )


@post(both(PATH + "/resend"), include_in_schema=False)
async def resend(visit: Here, data: Annotated[Letter, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> Redirect:
    parcels = (data.parcel,) if data.parcel else ()
    return _back(visit, "resent", await visit.site.portal.deliveries.resend(visit.actor, data.channel, parcels))


@post(both(PATH + "/drop"), include_in_schema=False)
async def drop(visit: Here, data: Annotated[Letter, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> Redirect:
    parcels = (data.parcel,) if data.parcel else ()
    return _back(visit, "dropped", await visit.site.portal.deliveries.drop(visit.actor, data.channel, parcels))


@post(both(PATH + "/pause"), include_in_schema=False)
async def pause(visit: Here, data: Annotated[Channel, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> Redirect:
    await visit.site.portal.deliveries.pause(visit.actor, data.channel)
    return _back(visit, "paused", 1)


@post(both(PATH + "/resume"), include_in_schema=False)
async def resume(visit: Here, data: Annotated[Channel, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> Redirect:
    await visit.site.portal.deliveries.resume(visit.actor, data.channel)
    return _back(visit, "resumed", 1)


def _back(visit: Visit, done: str, count: int) -> Redirect:
    return Redirect(f"/{visit.lang}{PATH}?{urlencode({'done': done, 'n': count})}", status_code=303)


def reason(visit: Visit, text: str) -> str:
    """Why something could not be delivered, in the reader's language."""
    t = words(visit.lang)
    for key, pattern in REASONS.items():
        if found := re.fullmatch(pattern, text):
            told = {name: reason(visit, part) if name == "rest" else part for name, part in found.groupdict().items()}
            return t(f"deliveries.reason.{key}", **told)
    return text
