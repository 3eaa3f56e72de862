"""What a reader sees when something is not there, not allowed or broken."""

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from litestar import Request, Response
from litestar.exceptions import HTTPException

from hutong.kernel.access import ANONYMOUS
from hutong.kernel.errors import HutongError
from hutong.portal.visit import Site, Visit
from hutong.portal.words import LANGUAGES, Language, preferred

ErrorPage: TypeAlias = Callable[[Request[Any, Any, Any], Exception], Response[str]]
_log = logging.getLogger(__name__)
_OWN = (400, 401, 403, 404, 503, 507)  # statuses with words of their own


def error_pages(site: Site) -> ErrorPage:
    """The answer to an exception, as a page in the reader's language; the composition root may use it site-wide."""

    def page(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
        status = (
            error.status
            if isinstance(error, HutongError)
            else (error.status_code if isinstance(error, HTTPException) else 500)
        )
        if status >= 500:
            _log.error("%s %s", request.method, request.url.path, exc_info=error)
        fault = error.fault if isinstance(error, HutongError) else None
        key = str(status) if status in _OWN else "500" if status >= 500 else "400"
        visit = Visit(site, request, language(request), ANONYMOUS)  # it may not be known yet who asks
        return visit.page("error.html", status=status, code=status, key=key, fault=fault)

    return page


def language(request: Request[Any, Any, Any]) -> Language:
    """That of the path; otherwise the one the reader's browser asks for."""
    first = request.url.path.strip("/").partition("/")[0]
    return first if first in LANGUAGES else preferred(request.headers.get("accept-language", ""))
