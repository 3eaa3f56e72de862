"""`--context`: @contexts from local files, so that nothing is downloaded."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld.errors import LdContextNotAvailable

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
WHERE = "--context"


class ContextFiles(dict[str, Any]):
    """JSON-LD documents by address, each from a file."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        super().__init__({url: _document(file) for url, file in files.items()})
        self._files = files

    def reload(self, url: str) -> Any:
        """Read one again. Raises LdContextNotAvailable where that fails; the old one stays then."""
        try:
            self[url] = _document(self._files[url])
        except InvalidInput as error:
            raise LdContextNotAvailable("the @context cannot be read again", seen=url, fix=error.fault.what) from error
        return self[url]


def read_contexts(given: Sequence[str]) -> ContextFiles:
    """Documents of `URL=FILE`, or of a folder whose paths are addresses (`example.org/c.jsonld`).

    What is in a folder is known under https and http. Raises InvalidInput for a file that is no @context.
    """
    return ContextFiles({url: file for one in given for url, file in _files(one)})


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
