"""Messages and answers of others: JSON, CSV, GeoJSON, NGSI-LD, Prometheus, a number or a text, as rows of texts."""

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from hutong.connectors.mapping import ROW, Source
from hutong.connectors.tables import ROWS_PER_CHUNK, Chunk, csv_chunks, joined, members
from hutong.engines.sense.declarations import Payload
from hutong.kernel.errors import InvalidInput, MalformedBody

Row = dict[str, str]

_VALUES: Final = ("value", "object", "languageMap", "vocab", "json", "valueList", "objectList")  # of NGSI-LD attributes
_OPENMETRICS: Final = "# EOF"


def payload_of(source: Source) -> Payload:
    """How what the source gives is written."""
    declared = source.declaration
    return "prometheus" if declared.connector == "prometheus" else declared.payload


def read_rows(source: Source, content: bytes) -> list[Row]:
    """The rows of a message. Raises MalformedBody with what is wrong with it."""
    payload, text = payload_of(source), _text(source, content)
    match payload:
        case "number" | "text":
            return [{"value": text.strip()}]
        case "csv":
            rows: list[Row] = []
            for chunk in _csv(text):
                for _, seen in chunk.rejects:
                    raise MalformedBody("a line of another number of columns than the head", seen=seen)
                rows += chunk.frame.drop(ROW).to_dicts()
            return rows
        case "prometheus":
            return _metrics(text, source.columns)
    decoded = _json(text)
    match payload:
        case "geojson":
            return list(_features(decoded))
        case "ngsi-ld":
            return [_entity(one) for one in (decoded if isinstance(decoded, list) else [decoded])]
    return list(_rows(decoded, source.declaration.rows.split(".") if source.declaration.rows else [], {}))


def read_chunks(source: Source, content: bytes) -> Iterator[Chunk]:
    """An answer in chunks. Raises MalformedBody, and InvalidInput when it has not the columns that the source reads."""
    if payload_of(source) == "csv":
        for n, chunk in enumerate(_csv(_text(source, content))):
            if n == 0:
                source.check_columns(chunk.frame.columns)
            yield chunk
        return
    rows = read_rows(source, content)
    if rows:
        source.check_members(list({name: None for row in rows for name in row}))
    for at in range(0, len(rows), ROWS_PER_CHUNK):
        some = rows[at : at + ROWS_PER_CHUNK]
        yield Chunk(joined(some, range(at + 1, at + 1 + len(some))), [], 0)


def _text(source: Source, content: bytes) -> str:
    encoding = source.declaration.encoding
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise MalformedBody(
            f"not {encoding}", seen=repr(content[error.start : error.start + 8]), fix="declare its `encoding`"
        ) from None


def _csv(text: str) -> Iterator[Chunk]:
    stream = io.StringIO(text, newline="")
    return csv_chunks(stream.readline(), stream, ROWS_PER_CHUNK, lambda: 0)


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedBody(f"not JSON: {error}", seen=text.strip(), allowed="JSON") from None


def _rows(value: Any, path: Sequence[str], outer: Row) -> Iterator[Row]:
    """Objects at the end of a path, each with what stands beside it on the way."""
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            raise MalformedBody("not a JSON object", seen=one, allowed="an object, or a list of objects")
        if not path:
            yield {**outer, **dict(members(one, ""))} if outer else dict(members(one, ""))
        elif path[0] not in one:
            raise InvalidInput(
                "the rows are not where they should be", where=path[0], seen=", ".join(list(one)[:20]), fix="see `rows`"
            )
        else:
            beside = {key: inner for key, inner in one.items() if key != path[0] and not isinstance(inner, list)}
            yield from _rows(one[path[0]], path[1:], {**outer, **dict(members(beside, ""))})


def _features(decoded: Any) -> Iterator[Row]:
    found = decoded.get("features", [decoded]) if isinstance(decoded, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) and "geometry" in one for one in found):
        raise MalformedBody("not GeoJSON", seen=decoded, allowed="a Feature, or a FeatureCollection")
    for one in found:
        row = dict(members(one.get("properties") or {}, ""))
        if "id" in one:
            row.setdefault("id", str(one["id"]))
        geometry = one["geometry"]
        if isinstance(geometry, dict):
            row["geometry"] = msgspec.json.encode(geometry).decode()
            position = geometry.get("coordinates")
            if geometry.get("type") == "Point" and isinstance(position, list) and len(position) >= 2:
                row["longitude"], row["latitude"] = str(position[0]), str(position[1])
        yield row


def _entity(one: Any) -> Row:
    """An entity of NGSI-LD, normalized, concise or simplified: values by name, and what is said of them."""
    if not isinstance(one, dict) or "id" not in one:
        raise MalformedBody("not an entity of NGSI-LD", seen=one, allowed="objects with `id` and `type`")
    plain: dict[str, Any] = {}
    for name, value in one.items():
        kept = next((key for key in _VALUES if isinstance(value, dict) and key in value), "")
        if kept:
            plain[name] = value[kept]
            plain |= {f"{name}.{key}": value[key] for key in ("observedAt", "unitCode") if key in value}
        elif name != "@context":
            plain[name] = value
    return dict(members(plain, ""))


def _metrics(text: str, wanted: Sequence[str]) -> list[Row]:
    """A row for each set of labels: these and the metrics wanted are columns, `timestamp` too if there is one."""
    parse = openmetrics if text.rstrip().endswith(_OPENMETRICS) else prometheus
    rows: dict[tuple[tuple[str, str], ...], Row] = {}
    try:
        for family in parse(text):
            for sample in family.samples:
                if sample.name in wanted:
                    labels: Mapping[str, str] = sample.labels
                    row = rows.setdefault(tuple(sorted(labels.items())), dict(labels))
                    row[sample.name] = repr(float(sample.value))
                    if sample.timestamp is not None:
                        row["timestamp"] = datetime.fromtimestamp(float(sample.timestamp), UTC).isoformat()
    except ValueError as error:
        raise MalformedBody(f"not the text format of Prometheus: {error}", seen=text.strip()) from None
    return list(rows.values())
