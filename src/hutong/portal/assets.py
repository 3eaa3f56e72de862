"""The files that Vite builds, read once and served from memory with names that change with their content."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.params import FromPath

from hutong.kernel.errors import NotFound

_TYPES = {
    "js": "text/javascript",
    "mjs": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
    "png": "image/png",
}
_YEAR = "public, max-age=31536000, immutable"


class _Chunk(msgspec.Struct):
    file: str
    css: list[str] = []
    imports: list[str] = []


@dataclass(frozen=True)
class Entry:
    """What a page must load for one entry: a module script, style sheets, and modules worth fetching early."""

    script: str
    styles: tuple[str, ...]
    preloads: tuple[str, ...]


class Assets:
    """Reads a folder that Vite built. Raises NotFound when it was not built."""

    def __init__(self, folder: Traversable) -> None:
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            raise NotFound(
                "the pages' scripts and styles are not built",
                where=str(folder),
                fix="run `npm ci && npm run build` in web/, as `./dev run` does",
            )
        self._chunks = msgspec.json.decode(manifest.read_bytes(), type=dict[str, _Chunk])
        self._files = dict(_read(folder))

    def entry(self, name: str) -> Entry:
        """The entry `src/<name>.ts`."""
        first, *below = self._with_imports(f"src/{name}.ts", {}).values()
        return Entry(
            f"/static/{first.file}",
            tuple(f"/static/{css}" for part in (first, *below) for css in part.css),
            tuple(f"/static/{part.file}" for part in below),
        )

    def _with_imports(self, key: str, found: dict[str, _Chunk]) -> dict[str, _Chunk]:
        if key not in found:
            found[key] = self._chunks[key]
            for below in found[key].imports:
                self._with_imports(below, found)
        return found

    def file(self, path: str) -> tuple[bytes, bytes | None]:
        """A built file and the same compressed, where that is smaller. Raises NotFound."""
        if path not in self._files:
            raise NotFound("no such file", seen=path)
        return self._files[path]


def _read(folder: Traversable, prefix: str = "") -> Mapping[str, tuple[bytes, bytes | None]]:
    found: dict[str, tuple[bytes, bytes | None]] = {}
    for item in folder.iterdir():
        if item.is_dir():
            found |= _read(item, f"{prefix}{item.name}/")
        else:
            plain = item.read_bytes()
            packed = gzip.compress(plain, 6, mtime=0)
            found[prefix + item.name] = plain, packed if len(packed) < len(plain) else None
    return found


@cache
def built() -> Assets:
    return Assets(files("hutong.portal") / "static")


@get("/static/{path:path}", include_in_schema=False, sync_to_thread=False)
def static_file(path: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    name = path.lstrip("/")
    plain, packed = built().file(name)
    sent = {
        "Cache-Control": _YEAR if "-" in name else "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if packed and "gzip" in request.headers.get("accept-encoding", ""):
        sent["Content-Encoding"] = "gzip"
        plain = packed
    return Response(plain, headers=sent, media_type=_TYPES.get(name.rpartition(".")[2], "application/octet-stream"))
