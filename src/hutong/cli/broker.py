"""A client of the standard API: batches of changes to a Hutong, or any other NGSI-LD broker."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from hutong.engines.sense.ports import Change, Entity
from hutong.kernel.clock import SECOND, Clock
from hutong.kernel.errors import AccessDenied, Fault, HutongError, InvalidInput, NotAuthenticated, NotFound, Overloaded
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT
from hutong.standards.ngsi_ld.representations import write_entities

UPSERT: Final = "/ngsi-ld/v1/entityOperations/upsert"
PATIENCE_S: Final = 600
WAIT_S_MAX: Final = 15.0
TIMEOUT_S: Final = 60.0
_LATER: Final = (429, 502, 503, 504, 507)
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Broker:
    """Sends changes to an address. While it is away or has no room they are sent again, for up to PATIENCE_S.

    `told` hears why it waits, and nothing once it goes on.
    """

    def __init__(
        self,
        address: str,
        token: str,
        clock: Clock,
        wait: Callable[[float], None],
        told: Callable[[str], None],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._address, self._clock, self._wait, self._told = address.rstrip("/"), clock, wait, told
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        away = _host(address) not in _LOOPBACK  # no proxy leads to this machine
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=away, transport=transport)

    def close(self) -> None:
        self._client.close()

    def upsert(self, changes: Sequence[Change]) -> list[tuple[int, Fault]]:
        """Create or update; gives the position of each change that was not taken, and why.

        Ids must differ. Raises NotAuthenticated, AccessDenied, NotFound, Overloaded, or InvalidInput for the rest.
        """
        entities = [Entity(id=change.id, types=change.types, attributes=change.attributes) for change in changes]
        answer = self._post(UPSERT + "?options=update", write_entities(entities, CORE_CONTEXT))
        if answer.status_code != 207:
            return []
        positions = {change.id: i for i, change in enumerate(changes)}
        errors = msgspec.json.decode(answer.content).get("errors", [])
        return [(positions[one["entityId"]], _fault(one["error"])) for one in errors if one["entityId"] in positions]

    def _post(self, path: str, body: bytes) -> httpx.Response:
        began, pause_s = self._clock.now(), 0.25
        while True:
            answer, reason = self._attempt(path, body)
            if answer is not None:
                break
            if self._clock.now() - began > PATIENCE_S * SECOND:
                allowed = f"{PATIENCE_S} s of waiting"
                raise Overloaded(
                    f"{self._address} takes nothing: {reason}", allowed=allowed, fix="see to it, and go on"
                )
            self._told(reason)
            self._wait(pause_s)
            pause_s = min(WAIT_S_MAX, 2 * pause_s)
        self._told("")
        self._check(answer)
        return answer

    def _attempt(self, path: str, body: bytes) -> tuple[httpx.Response | None, str]:
        """The answer; None, and why, where it is worth trying again."""
        try:
            answer = self._client.post(self._address + path, content=body)
        except httpx.TransportError as error:
            return None, f"it cannot be reached: {error}"
        if answer.status_code in _LATER:
            return None, f"it answers {answer.status_code}: {_detail(answer)}"
        return answer, ""

    def _check(self, answer: httpx.Response) -> None:
        """Raise what the answer means when it is no success."""
        if answer.is_success:
            return
        where, detail = str(answer.url), _detail(answer)
        if answer.status_code == 401:
            raise NotAuthenticated(
                detail, where=where, fix="give --token, or set HUTONG_TOKEN; `hutong token create` makes one"
            )
        if answer.status_code == 403:
            raise AccessDenied(detail, where=where, fix="use a token whose role may write these types")
        if answer.status_code == 404:
            raise NotFound("no NGSI-LD API at this address", where=where, fix="give the address of a Hutong: --to")
        raise InvalidInput(f"the server refuses the batch: {detail}", where=where, seen=str(answer.status_code))


def _host(address: str) -> str:
    """The host that an address names. Raises InvalidInput for what is no address of a server."""
    try:
        parts = urlsplit(address)
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        raise InvalidInput("no address of a server", where="--to", seen=address, allowed="http://host:port")
    return host


def _detail(answer: httpx.Response) -> str:
    """What an answer says of itself."""
    try:
        told = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return answer.text[:200] or answer.reason_phrase
    return str(told.get("detail") or told.get("title") or answer.reason_phrase) if isinstance(told, dict) else str(told)


def _fault(problem: Any) -> Fault:
    """A problem of NGSI-LD as a fault."""
    if not isinstance(problem, dict):
        return Fault(code=HutongError.code, what=str(problem))
    code = problem.get("code") or str(problem.get("type", "")).rpartition("/")[2]
    return Fault(code=code, what=str(problem.get("detail") or problem.get("title", "")), where=problem.get("where", ""))
