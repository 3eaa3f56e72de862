"""What a platform shows, for taking away: CSV, JSON, GeoJSON. Each row says whether it is simulated or suspect."""

import csv
import io
from typing import Any, Literal

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from hutong.engines.sense.ports import Mark
from hutong.kernel.clock import iso
from hutong.portal.pages.platform import found_platform
from hutong.portal.ports import ThingType
from hutong.portal.things import Thing
from hutong.portal.visit import HEADERS, Here, both
from hutong.portal.words import Language

Format = Literal["csv", "json", "geojson"]
_MEDIA = {"csv": "text/csv", "json": "application/json", "geojson": "application/geo+json"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@get(both("/platforms/{name:str}/download/{format:str}"), include_in_schema=False)
async def download(visit: Here, name: FromPath[str], format: FromPath[Format]) -> Response[bytes]:
    platform = found_platform(visit, name)
    board = await visit.board(platform)
    kinds = {kind.name: kind for kind in platform.types}
    things = sorted(board.things(), key=lambda thing: thing.id)
    rows = [row(thing, kinds[thing.type], visit.lang) for thing in things]
    return Response(
        written(rows, format),
        media_type=_MEDIA[format],
        headers=HEADERS
        | {"Content-Disposition": f'attachment; filename="{name}.{format}"', "Cache-Control": "no-cache"},
    )


def written(rows: list[dict[str, Any]], format: Format) -> bytes:
    match format:
        case "csv":
            return as_csv(rows)
        case "json":
            return msgspec.json.encode(rows)
        case "geojson":
            return msgspec.json.encode({"type": "FeatureCollection", "features": [feature(row) for row in rows]})


def row(thing: Thing, kind: ThingType, lang: Language) -> dict[str, Any]:
    """One thing, flat. `suspect` lists the properties whose values are outside their range."""
    values = {
        name: attribute.value
        for name, attribute in thing.attributes.items()
        if kind.declaration.property[name].type not in ("point", "geometry") and name != kind.declaration.name
    }
    return {
        "id": thing.id,
        "type": thing.type,
        "name": thing.name[lang],
        "state": str(thing.state),
        "observed_at": iso(thing.observed_at) if thing.observed_at is not None else None,
        "longitude": thing.lon,
        "latitude": thing.lat,
        "place": thing.place,
        **values,
        "suspect": ",".join(n for n, a in thing.attributes.items() if a.marks & Mark.SUSPECT),
        "simulated": thing.simulated,
        "source": thing.source,
    }


def feature(properties: dict[str, Any]) -> dict[str, Any]:
    """A GeoJSON feature (RFC 7946); without a place its geometry is null."""
    lon, lat = properties["longitude"], properties["latitude"]
    return {
        "type": "Feature",
        "id": properties["id"],
        "geometry": None if lon is None else {"type": "Point", "coordinates": [lon, lat]},
        "properties": properties,
    }


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """UTF-8 with a byte order mark, which spreadsheets need to read Chinese (RFC 4180 otherwise)."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for values in rows:
        writer.writerow([_cell(values.get(name)) for name in columns])
    return text.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if isinstance(value, dict | list):
        value = msgspec.json.encode(value).decode()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
