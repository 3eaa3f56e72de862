"""`--context`: @contexts from local files, so that nothing is downloaded."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hutong.kernel.errors import InvalidInput

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
WHERE = "--context"


def read_contexts(given: Sequence[str]) -> dict[str, Any]:
    """JSON-LD documents by address, of `URL=FILE` or of a folder whose paths are addresses (`example.org/c.jsonld`).

    What is in a folder is known under https and http. Raises InvalidInput for a file that is no @context.
    """
    return {url: _document(file) for one in given for url, file in _files(one)}


def _files(given: str) -> Iterator[tuple[str, Path]]:
    folder = Path(given)
    if folder.is_dir():
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            address = file.relative_to(folder).as_posix()
            yield from ((f"{scheme}://{address}", file) for scheme in ("https", "http"))
        return
    url, _, name = given.rpartition("=")
    if not url.startswith(("http://", "https://")):
        raise InvalidInput("no @context", where=WHERE, seen=given, allowed="URL=FILE, or a folder")
    yield url, Path(name)


def _document(file: Path) -> Any:
    try:
        if file.stat().st_size > DOCUMENT_BYTES_MAX:
            raise InvalidInput(
                "too large an @context", where=WHERE, seen=str(file), allowed=f"{DOCUMENT_BYTES_MAX} bytes"
            )
        document = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput("this file cannot be read as JSON", where=WHERE, seen=str(file), fix=str(error)) from None
    if not isinstance(document, dict) or "@context" not in document:
        raise InvalidInput(
            "no @context in this file", where=WHERE, seen=str(file), allowed="a JSON object with a member @context"
        )
    return document
