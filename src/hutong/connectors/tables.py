"""Tables in files: CSV, NDJSON, JSON, GeoJSON and Parquet, all but the last with gzip or without, in chunks of text.

A JSON document is a list of objects, or an object with one such list in it. Of a feature of GeoJSON the properties
are columns, besides `geometry`, and of a point `longitude` and `latitude`.

A chunk is what mapping takes: the column ROW holds the line of the file at which a row begins (in Parquet the number
of the row), from 1; all others are texts, missing where the file has nothing.
"""

import codecs
import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from hutong.connectors.mapping import ROW, Reject
from hutong.kernel.errors import HutongError, InvalidInput, MalformedBody, TooLarge, shown

Encoding = Literal["utf-8", "gb18030"]

ROWS_PER_CHUNK: Final = 2_000
FILE_BYTES_MAX: Final = 64 << 30  # after gzip
DOCUMENT_BYTES_MAX: Final = 256 << 20  # a JSON document is read as a whole
SUFFIXES: Final = (".csv", ".tsv", ".ndjson", ".jsonl", ".json", ".geojson", ".parquet")
FORMATS: Final = "CSV, NDJSON, JSON, GeoJSON or Parquet; .csv.gz, .ndjson.gz, .json.gz and .geojson.gz too"

_NAMES: Final = {"utf-8": "UTF-8", "gb18030": "GB 18030"}
_DELIMITERS: Final = ",;\t|"
_BLOCK = 1 << 20
_PARQUET_TIME = {True: "%Y-%m-%dT%H:%M:%S%.6fZ", False: "%Y-%m-%dT%H:%M:%S%.6f"}


class Chunk(msgspec.Struct, frozen=True):
    """Rows of a file. `bytes_read` counts those of the file (compressed as it is) up to here."""

    frame: pl.DataFrame
    rejects: list[tuple[Reject, str]]  # rows that are none, and what stands there
    bytes_read: int


def is_table(name: str) -> bool:
    """Whether a file is in one of the formats, by its name."""
    return name.lower().removesuffix(".gz").endswith(SUFFIXES) and not name.lower().endswith(".parquet.gz")


def has_head(name: str) -> bool:
    """Whether files of such a name tell all their columns before the first row."""
    return not name.lower().removesuffix(".gz").endswith((".ndjson", ".jsonl", ".json", ".geojson"))


def examine(path: Path, encoding: Encoding) -> str:
    """Read a file once from end to end and give its SHA-256.

    Raises MalformedBody for a damaged file, and one that is not in the encoding it should be in; TooLarge.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if path.name.lower().endswith(".parquet"):
        with _damage(path):
            pq.ParquetFile(path).close()
        return digest
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = size = 0
    with _damage(path), _opened(path)[1] as content:
        while block := content.read(_BLOCK):
            size += len(block)
            if size > FILE_BYTES_MAX:
                raise TooLarge(
                    "the file is too large",
                    where=path.name,
                    seen=f"more than {size} bytes",
                    allowed=f"{FILE_BYTES_MAX} bytes",
                    fix="split it",
                )
            _decode(decoder, block, encoding, lines)
            lines += block.count(b"\n")
        _decode(decoder, b"", encoding, lines)
    return digest


def read_table(path: Path, encoding: Encoding = "utf-8", rows: int = ROWS_PER_CHUNK) -> Iterator[Chunk]:
    """The file in chunks of at most so many rows; the first may be empty and tells the columns.

    Raises MalformedBody when it cannot be read as a table at all.
    """
    name = path.name.lower().removesuffix(".gz")
    with _damage(path):
        if name.endswith(".parquet"):
            yield from _parquet(path, rows)
            return
        raw, content = _opened(path)
        if name.endswith((".json", ".geojson")):
            with content:
                yield from _document(content, path.name, rows, raw.tell)
            return
        with content, io.TextIOWrapper(content, encoding=encoding, newline="") as text:
            first = text.readline().removeprefix("\ufeff")
            read = csv_chunks if name.endswith((".csv", ".tsv")) else _ndjson
            yield from read(first, text, rows, raw.tell)


# --- CSV ---


def csv_chunks(first: str, text: Iterable[str], rows: int, tell: Callable[[], int]) -> Iterator[Chunk]:
    """A text with a head in chunks; `tell` says how far it was read. Raises MalformedBody when it is no table."""
    if not first.strip():
        raise MalformedBody("the file is empty, or its first line is", allowed="a line with the names of the columns")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(_chained(first, text), delimiter=delimiter)
    header = [name.strip() for name in next(reader)]
    repeated = {name for name in header if header.count(name) > 1 and name}
    if repeated:
        raise MalformedBody("two columns have one name", where=f"line 1, {min(repeated)}", fix="rename one of them")
    yield Chunk(_frame(header, [], []), [], tell())
    numbers: list[int] = []
    cells: list[list[str]] = []
    rejects: list[tuple[Reject, str]] = []
    for number, row in _rows(reader):
        if isinstance(row, csv.Error):
            rejects.append(
                (
                    _reject(
                        number, f"cannot be read as CSV: {row}", f"up to line {reader.line_num}", "", "close each quote"
                    ),
                    "",
                )
            )
        elif len(row) == len(header):
            numbers.append(number)
            cells.append(row)
        elif row:
            fix = "put texts with separators into double quotes" if len(row) > len(header) else ""
            rejects.append(
                (
                    _reject(
                        number, "has another number of columns than the head", str(len(row)), str(len(header)), fix
                    ),
                    delimiter.join(row),
                )
            )
        if len(numbers) + len(rejects) == rows:
            yield Chunk(_frame(header, cells, numbers), rejects, tell())
            numbers, cells, rejects = [], [], []
    yield Chunk(_frame(header, cells, numbers), rejects, tell())


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _rows(reader: Any) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Rows with the line at which each begins."""
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except csv.Error as error:
            yield number, error
        except StopIteration:
            return


def _frame(header: list[str], cells: list[list[str]], numbers: list[int]) -> pl.DataFrame:
    columns = zip(*cells, strict=True) if cells else ([] for _ in header)
    named = {name: list(column) for name, column in zip(header, columns, strict=True) if name}
    return pl.DataFrame({ROW: numbers, **named}, schema={ROW: pl.Int64, **dict.fromkeys(named, pl.String)})


# --- NDJSON ---


def _ndjson(first: str, text: Iterable[str], rows: int, tell: Callable[[], int]) -> Iterator[Chunk]:
    numbers: list[int] = []
    found: list[dict[str, str]] = []
    rejects: list[tuple[Reject, str]] = []
    for number, line in enumerate(_chained(first, text), 1):
        if line.strip():
            try:
                found.append(flat(line))
                numbers.append(number)
            except HutongError as error:
                rejects.append((Reject(number, error.fault), shown(line.strip(), 1000)))
        if len(numbers) + len(rejects) == rows:
            yield Chunk(joined(found, numbers), rejects, tell())
            numbers, found, rejects = [], [], []
    yield Chunk(joined(found, numbers), rejects, tell())


def flat(line: str) -> dict[str, str]:
    """A JSON object as texts by name. Raises MalformedBody."""
    try:
        decoded = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedBody(f"not JSON: {error}", seen=line.strip(), allowed="a JSON object in each line") from None
    if not isinstance(decoded, dict):
        raise MalformedBody("not a JSON object", seen=line.strip(), allowed="a JSON object in each line")
    return dict(members(decoded, ""))


def members(value: dict[str, Any], above: str) -> Iterator[tuple[str, str]]:
    """`{"a": {"b": 1}}` as `a.b` = `1`."""
    for key, one in value.items():
        if isinstance(one, dict):
            yield from members(one, f"{above}{key}.")
        if one is not None:
            yield f"{above}{key}", one if isinstance(one, str) else msgspec.json.encode(one).decode()


def joined(found: Sequence[Mapping[str, str | None]], numbers: Sequence[int]) -> pl.DataFrame:
    """Rows of texts by name as a frame; what a row lacks is missing."""
    names = dict.fromkeys(name for row in found for name in row if name != ROW)
    return pl.DataFrame(
        {ROW: numbers, **{name: [row.get(name) for row in found] for name in names}},
        schema={ROW: pl.Int64, **dict.fromkeys(names, pl.String)},
    )


# --- JSON ---


def _document(content: IO[bytes], name: str, rows: int, tell: Callable[[], int]) -> Iterator[Chunk]:
    read = content.read(DOCUMENT_BYTES_MAX + 1)
    if len(read) > DOCUMENT_BYTES_MAX:
        raise TooLarge(
            "the document is too large", where=name, allowed=f"{DOCUMENT_BYTES_MAX} bytes", fix="save it as NDJSON"
        )
    try:
        decoded = msgspec.json.decode(read)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedBody(f"not JSON: {error}", where=name, allowed="a JSON document") from None
    lists = [decoded] if isinstance(decoded, list) else decoded.values() if isinstance(decoded, dict) else []
    tables = [one for one in lists if isinstance(one, list) and one and all(isinstance(row, dict) for row in one)]
    if len(tables) != 1:
        raise MalformedBody(
            "not one table", where=name, seen=f"{len(tables)} lists of objects", allowed="one list of objects in it"
        )
    found = [dict(members(_feature(row), "")) for row in tables[0]]
    for n in range(0, len(found), rows):
        some = found[n : n + rows]
        yield Chunk(joined(some, list(range(n + 1, n + 1 + len(some)))), [], tell())


def _feature(row: dict[str, Any]) -> dict[str, Any]:
    """A feature of GeoJSON as a flat row; any other object as it is."""
    geometry, properties = row.get("geometry"), row.get("properties")
    if row.get("type") != "Feature" or not isinstance(properties, dict):
        return row
    flat = {**properties, "geometry": msgspec.json.encode(geometry).decode() if geometry else None}
    match geometry:
        case {"type": "Point", "coordinates": [lon, lat, *_]}:
            flat |= {"longitude": lon, "latitude": lat}
    return flat


# --- Parquet ---


def _parquet(path: Path, rows: int) -> Iterator[Chunk]:
    size, number = path.stat().st_size, 0
    with pq.ParquetFile(path) as file:
        total = max(1, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=rows):
            frame = pl.DataFrame(pl.from_arrow(batch))
            texts = [text for name in frame.columns for text in _texts(frame[name])]
            numbers = pl.Series(ROW, range(number + 1, number + 1 + frame.height), dtype=pl.Int64)
            number += frame.height
            yield Chunk(pl.DataFrame([numbers, *texts]), [], size * number // total)


def _texts(column: pl.Series) -> Iterator[pl.Series]:
    """A column as text; a struct as its members; what has no text is left out."""
    match column.dtype:
        case pl.Struct():
            for name in column.struct.fields:
                yield from _texts(column.struct.field(name).alias(f"{column.name}.{name}"))
        case pl.Datetime(time_zone=zone):
            moments = column.dt.convert_time_zone("UTC") if zone else column
            yield moments.dt.strftime(_PARQUET_TIME[zone is not None])
        case pl.List() | pl.Array() | pl.Binary() | pl.Object():
            return
        case _:
            yield column.cast(pl.String)


# --- files that cannot be read ---


def _opened(path: Path) -> tuple[IO[bytes], IO[bytes]]:
    """The file as it is, and what is in it once unpacked."""
    raw = path.open("rb")
    if path.name.lower().endswith(".gz"):
        return raw, io.BufferedReader(_Unpacked(raw))
    return raw, raw


class _Unpacked(gzip.GzipFile):
    """A gzip file that closes what it reads from."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._raw = raw

    def close(self) -> None:
        super().close()
        self._raw.close()


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Tell of a damaged file as such."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MalformedBody(
            f"the gzip file is damaged or cut off: {error}", where=path.name, fix="send it again, whole"
        ) from error
    except (pa.ArrowInvalid, pl.exceptions.PolarsError) as error:
        raise MalformedBody(
            f"the file cannot be read as Parquet: {error}", where=path.name, fix="send it again, whole"
        ) from error


def _decode(decoder: Any, block: bytes, encoding: Encoding, lines: int) -> None:
    try:
        decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        line = lines + error.object.count(b"\n", 0, error.start) + 1
        other: Encoding = "gb18030" if encoding == "utf-8" else "utf-8"
        fix = f"save it as {_NAMES[encoding]}"
        if _decodes(error.object, other):
            fix += f', or declare encoding = "{other}" at its source: it reads as {_NAMES[other]}'
        raise MalformedBody(
            f"the file is not {_NAMES[encoding]}",
            where=f"line {line}",
            allowed=_NAMES[encoding],
            seen=repr(error.object[error.start : error.start + 8]),
            fix=fix,
        ) from None


def _decodes(content: bytes, encoding: Encoding) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return False
    return True


def _reject(row: int, what: str, seen: str, allowed: str, fix: str) -> Reject:
    return Reject(row, InvalidInput(what, where=f"line {row}", seen=seen, allowed=allowed, fix=fix).fault)
