"""How sources fare, for operators."""

from litestar import Response, get

from hutong.portal.visit import Here, both

ORDER = ("failing", "unset", "starting", "running")


@get(both("/operations/sources"), include_in_schema=False)
async def sources(visit: Here) -> Response[str]:
    """Those in trouble first."""
    found = visit.site.portal.sources(visit.actor)
    rows = sorted(found, key=lambda one: (ORDER.index(one.state), one.source))
    return visit.page("sources.html", rows=rows)
