"""Changes of a board as server-sent events (HTML Living Standard, 9.2)."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec
from litestar.response import ServerSentEventMessage

from hutong.kernel.errors import Overloaded
from hutong.portal import figures
from hutong.portal.board import Board, Summary
from hutong.portal.ports import Portal
from hutong.portal.readings import colour, headline, raw, share_text
from hutong.portal.things import State, Thing
from hutong.portal.words import Language, words

STREAMS_MAX = 2_000  # open at once; the next is refused with 503
HEARTBEAT_S = 15.0  # shorter than the idle timeout of common proxies


class Streams:
    """Gives each client what it has not seen, and keeps their number bounded."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._open = 0

    async def follow(self, board: Board, lang: Language, seen: str) -> AsyncGenerator[ServerSentEventMessage, None]:
        """Messages from after `seen` (`epoch-sequence`) on; a `reset` first when that is of another epoch."""
        if self._open >= STREAMS_MAX:
            raise Overloaded("too many open streams", allowed=f"{STREAMS_MAX} at once", fix="try again later")
        self._open += 1
        board.watchers += 1
        try:
            async for message in self._messages(board, lang, seen):
                yield message
        finally:
            self._open -= 1
            board.watchers -= 1

    async def _messages(self, board: Board, lang: Language, seen: str) -> AsyncGenerator[ServerSentEventMessage, None]:
        epoch, _, last = seen.rpartition("-")
        sequence = int(last) if last.isdecimal() and len(last) < 20 else board.sequence
        if seen and epoch != board.epoch:
            yield ServerSentEventMessage(event="reset", data="{}", id=f"{board.epoch}-{board.sequence}")
            epoch, sequence = board.epoch, board.sequence
        yield ServerSentEventMessage(retry=3_000, comment="hutong")
        while board.alive:
            if not await board.news(sequence, HEARTBEAT_S):
                yield ServerSentEventMessage(comment="still here")
                continue
            if epoch and epoch != board.epoch:
                return  # the client comes back and is told to start anew
            epoch = board.epoch
            sequence, changed, gone = board.changes(sequence)
            yield ServerSentEventMessage(
                event="change",
                id=f"{epoch}-{sequence}",
                data=msgspec.json.encode(message(self._portal, board, changed, gone, lang)).decode(),
            )


def message(portal: Portal, board: Board, changed: list[Thing], gone: list[str], lang: Language) -> dict[str, Any]:
    return {
        "at": figures.when(portal.clock.now(), portal.city.zone, lang),
        "things": [changed_thing(portal, board, thing, lang) for thing in changed],
        "gone": gone,
        "summary": summary(board.summary, lang),
    }


def changed_thing(portal: Portal, board: Board, thing: Thing, lang: Language) -> dict[str, Any]:
    kind = next(kind for kind in board.platform.types if kind.name == thing.type)
    return {
        "id": thing.id,
        "type": thing.type,
        "name": thing.name[lang],
        "state": thing.state,
        "colour": colour(thing, board.platform),
        "word": words(lang)(f"state.{thing.state}"),
        "at": thing.observed_at and figures.wall_ms(thing.observed_at, portal.city.zone),
        "time": figures.short(thing.observed_at, portal.clock.now(), portal.city.zone, lang)
        if thing.observed_at
        else "",
        "point": None if thing.lon is None else [thing.lon, thing.lat],
        "values": raw(thing, kind),
        "texts": {
            value.name: {
                "text": value.text,
                "symbol": value.symbol,
                "share": value.share,
                "suspect": value.suspect,
                "missing": value.missing,
                "colour": value.colour,
            }
            for value in headline(thing, kind, board.platform, lang)
        },
    }


def summary(seen: Summary, lang: Language) -> Mapping[str, str]:
    """Texts by the names under which pages show them."""
    texts = {
        "things": figures.number(seen.things),
        "reporting": figures.number(seen.reporting),
        "firing": figures.number(seen.firing),
    }
    texts |= {f"state-{state}": figures.number(seen.states[state]) for state in State}
    for name, figure in seen.figures.items():
        texts[f"figure-{name}"] = figures.MISSING if figure.total is None else figures.large(figure.total, lang)
        if figure.of and figure.total is not None:
            texts[f"share-{name}"] = share_text(figure.total, figure.of)
    return texts
