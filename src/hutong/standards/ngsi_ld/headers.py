"""Media types and the @context of requests and answers (clauses 6.3.4 to 6.3.6)."""

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld.contexts import Context, Contexts
from hutong.standards.ngsi_ld.errors import NotAcceptable, UnsupportedMediaType
from hutong.standards.ngsi_ld.uris import is_uri

JSON = "application/json"
LD_JSON = "application/ld+json"
GEO_JSON = "application/geo+json"
MERGE_PATCH = "application/merge-patch+json"
CONTEXT_REL = "http://www.w3.org/ns/json-ld#context"
HEADER_LENGTH_MAX = 4096
TENANT_LENGTH_MAX = 64
ANSWERS_KEPT_MAX = 256

# What repeats gives nothing back (`*+`): a header that does not match is found out in linear time.
_link = re.compile(r"\s*<([^>]*)>((?:\s*;\s*[^\s=;,]+\s*=\s*+(?:\"[^\"]*\"|[^\",;]*+))*+)\s*(?:,|$)").match
_parameter = re.compile(r";\s*([^\s=;,]+)\s*=\s*(?:\"([^\"]*)\"|([^\",;]*))").findall
_tenant = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*").fullmatch


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer is sent: its media type, and whether the @context stands in its body or in a Link header."""

    media_type: str
    context_in_body: bool

    @property
    def geojson(self) -> bool:
        return self.media_type == GEO_JSON

    def link(self, context: Context) -> str:
        """The Link header that tells the @context; "" where the body does, or where it has no address."""
        if self.context_in_body:
            return ""
        return context_header(context.url)


def context_header(url: str) -> str:
    """A Link header that tells the address of an @context; "" for none."""
    return f'<{url}>; rel="{CONTEXT_REL}"; type="{LD_JSON}"' if url else ""


def context_of_body(content_type: str, link: str, contexts: Contexts, *, patch: bool = False) -> Context | None:
    """The @context for a body sent as `content_type`; None when the body itself must bring it.

    Raises UnsupportedMediaType, InvalidInput where header and body would both name it, LdContextNotAvailable.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == LD_JSON:
        if context_link(link):
            raise InvalidInput(
                "the @context stands in the body, not in a Link header too",
                where="Link",
                seen=link,
                fix="leave the Link header out, or send the body as application/json",
            )
        return None
    if media_type != JSON and not (patch and media_type == MERGE_PATCH):
        raise UnsupportedMediaType(
            "bodies of this media type are not read",
            where="Content-Type",
            seen=content_type,
            allowed=f"{JSON}, {LD_JSON}" + (f", {MERGE_PATCH}" if patch else ""),
        )
    return context_of_header(link, contexts)


def context_of_header(link: str, contexts: Contexts) -> Context:
    """The @context that a Link header names; the core alone without one."""
    return contexts.resolve(context_link(link) or None)


def context_link(header: str) -> str:
    """The address of the @context in a Link header, "" when there is none. Raises InvalidInput for two, or no URI."""
    if len(header) > HEADER_LENGTH_MAX:
        raise InvalidInput("the Link header is too long", where="Link", allowed=f"at most {HEADER_LENGTH_MAX}")
    targets: list[str] = []
    at = 0
    while at < len(header):
        found = _link(header, at)
        if found is None:
            raise InvalidInput("no Link header", where="Link", seen=header, allowed='<URL>; rel="..."; type="..."')
        if any(name == "rel" and CONTEXT_REL in (quoted or bare) for name, quoted, bare in _parameter(found[2])):
            targets.append(found[1])
        at = found.end()
    if len(targets) > 1 or (targets and not is_uri(targets[0])):
        raise InvalidInput("not one @context", where="Link", seen=", ".join(targets), allowed="one absolute URL")
    return targets[0] if targets else ""


@lru_cache(ANSWERS_KEPT_MAX)
def answer_to(accept: str, prefer: str = "", *, geojson: bool = False) -> Answer:
    """What to answer with. `geojson`: the operation has such a representation. Raises NotAcceptable (RFC 9110, 12.5.1).

    Of equally welcome types the first of the list of clause 6.3.4 is taken.
    """
    offered = (JSON, LD_JSON, GEO_JSON) if geojson else (JSON, LD_JSON)
    chosen = _choose(accept, offered) if accept.strip() else JSON
    if chosen is None:
        raise NotAcceptable(
            "none of the media types you accept is on offer", where="Accept", seen=accept, allowed=", ".join(offered)
        )
    return Answer(
        media_type=chosen,
        context_in_body=chosen == LD_JSON
        or (chosen == GEO_JSON and "body=json" not in prefer.replace(" ", "").lower().split(",")),
    )


def _choose(accept: str, offered: Sequence[str]) -> str | None:
    weights: dict[str, float] = {}
    for part in accept[:HEADER_LENGTH_MAX].split(","):
        media_range, *parameters = (item.strip().lower() for item in part.split(";"))
        quality = next((item[2:] for item in parameters if item.startswith("q=")), "1")
        try:
            weights[media_range] = min(max(float(quality), 0.0), 1.0)
        except ValueError:
            weights[media_range] = 0.0
    best, best_weight = None, 0.0
    for media_type in offered:
        weight = next((weights[r] for r in (media_type, "application/*", "*/*") if r in weights), 0.0)
        if weight > best_weight:
            best, best_weight = media_type, weight
    return best


def read_tenant(header: str) -> str:
    """The tenant of the NGSILD-Tenant header, "" for the default one (clause 6.3.14)."""
    if header and (len(header) > TENANT_LENGTH_MAX or _tenant(header) is None):
        raise InvalidInput(
            "no name of a tenant",
            where="NGSILD-Tenant",
            seen=header,
            allowed=f"up to {TENANT_LENGTH_MAX} letters, digits and _ . -",
        )
    return header


def page_links(
    path: str, query: Sequence[tuple[str, str]], limit: int, offset: int, *, more: bool, media_type: str
) -> list[str]:
    """Links to the next and previous page, where there are any (clause 6.3.10). `query`: encoded, without paging."""

    def link(at: int, relation: str) -> str:
        pairs = "&".join(f"{name}={value}" for name, value in [*query, ("limit", str(limit)), ("offset", str(at))])
        return f'<{path}?{pairs}>; rel="{relation}"; type="{media_type}"'

    links = [link(offset + limit, "next")] if more and limit else []
    return links + ([link(max(offset - limit, 0), "prev")] if offset and limit else [])
