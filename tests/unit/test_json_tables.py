"""Tables in JSON documents: lists of objects, objects with one such list, and features of GeoJSON."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hutong.connectors.tables import is_table, read_table
from hutong.kernel.errors import MalformedBody


def rows(path: Path, document: Any, per_chunk: int = 100) -> list[dict[str, Any]]:
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return [row for chunk in read_table(path, rows=per_chunk) for row in chunk.frame.to_dicts()]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_list_of_objects_is_a_table(tmp_path: Path, name: str) -> None:
    assert is_table(name)
    assert rows(tmp_path / name, [{"id": 1, "m": {"ph": 7.5}}, {"id": "二", "none": None}], 1) == [
        {"#": 1, "id": "1", "m": '{"ph":7.5}', "m.ph": "7.5"},
        {"#": 2, "id": "二"},
    ]


def test_the_one_list_of_objects_in_a_document_is_its_table(tmp_path: Path) -> None:
    document = {"at": "now", "kinds": ["a", "b"], "places": [{"id": 1}, {"id": 2}]}
    assert [row["id"] for row in rows(tmp_path / "a.json", document)] == ["1", "2"]


def test_features_are_rows_of_their_properties(tmp_path: Path) -> None:
    point = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [120.1, 30.2]},
        "properties": {"aqi": "-;"},
    }
    nowhere = {"type": "Feature", "geometry": None, "properties": {"aqi": 3}}
    found = rows(tmp_path / "a.geojson", {"type": "FeatureCollection", "features": [point, nowhere]})
    assert [(row["aqi"], row["longitude"], row["latitude"]) for row in found] == [
        ("-;", "120.1", "30.2"),
        ("3", None, None),
    ]
    assert json.loads(found[0]["geometry"])["type"] == "Point"


@pytest.mark.parametrize("document", ["<html>", "{", '{"a": 1}', '{"a": [{}], "b": [{}]}', "[1, 2]", "[]"])
def test_what_is_no_table_is_told(tmp_path: Path, document: str) -> None:
    with pytest.raises(MalformedBody):
        rows(tmp_path / "a.json", document)
