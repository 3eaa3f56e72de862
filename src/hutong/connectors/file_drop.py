"""Files that arrive in a folder: read once they are whole, taken row by row, and put away with a list of rejects.

    inbox/                       files arrive here, or in inbox/<source>/ to choose the source
    inbox/done/                  files that were read to the end
    inbox/rejects/<file>.ndjson  their rows that could not be taken; beside it the file itself when none could be

Each chunk is a command with a key of its own, so that after a kill the file is read again from the start and nothing
is taken twice.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from hutong.connectors.mapping import ROW, Mapped, Reject, Source
from hutong.connectors.rejects import RejectsFile
from hutong.connectors.tables import FORMATS, Chunk, examine, has_head, is_table, read_table
from hutong.engines.sense.ports import Changed, ChangeEntities
from hutong.kernel.clock import Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import Conflict, HutongError, InvalidInput, Overloaded, StorageFull
from hutong.kernel.packs.faults import listed

ACTOR: Final = "connector:file"
DONE: Final = "done"
REJECTS: Final = "rejects"
LOOK_EVERY_S: Final = 2.0
RETRY_EVERY_S: Final = 0.5
CHUNKS_IN_FLIGHT: Final = 4
FILES_SHOWN_MAX: Final = 200
_UNFINISHED: Final = (".part", ".tmp", ".crdownload")

log = logging.getLogger(__name__)

Submit = Callable[[Request], "Future[Any]"]


class State(StrEnum):
    """How far a file is."""

    GROWING = "growing"  # somebody is still writing it
    READING = "reading"
    HELD = "held"  # cannot be written now: full, or too much waiting; goes on by itself
    DONE = "done"
    REFUSED = "refused"  # nothing of it could be taken


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A file and how far it is. `taken` counts rows, once for each source that reads them; instants as everywhere."""

    file: str
    state: State
    sources: tuple[str, ...] = ()
    size_bytes: int = 0
    read_bytes: int = 0
    taken: int = 0
    rejected: int = 0
    began_at: int = 0
    ended_at: int | None = None
    reason: str = ""


class _Sent(msgspec.Struct):
    """A chunk on its way."""

    request: Request
    future: "Future[Any]"
    chunk: Chunk
    mapped: Mapped


class _Closing(Exception):
    """The connector is being closed: leave everything as it is."""


class FileDrop:
    """Takes the files of a folder. `start` watches it on a thread of its own; `look` and `receive` need none."""

    def __init__(self, inbox: Path, sources: Sequence[Source], submit: Submit, clock: Clock) -> None:
        self._inbox, self._sources, self._submit, self._clock = inbox, tuple(sources), submit, clock
        self._seen: dict[Path, tuple[int, int]] = {}
        self._progress: dict[str, Progress] = {}
        self._reading = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="file drop", daemon=True)
        for folder in (inbox, inbox / DONE, inbox / REJECTS):
            folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop between two chunks; what was read is kept, the rest is read at the next start."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def progress(self) -> Sequence[Progress]:
        """Files since the start of the process, newest first, at most FILES_SHOWN_MAX."""
        return tuple(list(self._progress.values())[::-1])

    def look(self) -> None:
        """Take every file that has not changed since the look before."""
        with self._reading:
            found = dict(self._arrived())
            for path, stamp in found.items():
                if self._stop.is_set():
                    return
                if self._seen.get(path) == stamp:
                    self._take(path)
                else:
                    self._show(
                        Progress(
                            file=self._name(path), state=State.GROWING, size_bytes=stamp[0], began_at=self._clock.now()
                        )
                    )
            self._seen = found

    def receive(self, name: str, content: bytes) -> Progress:
        """Let a whole file arrive and take it at once. Raises InvalidInput for a name that is none, and Conflict."""
        if not name or name != Path(name).name or name.startswith("."):
            raise InvalidInput(
                "not the name of a file", where="name", seen=name, fix="leave out folders and leading dots"
            )
        with self._reading:
            if (self._inbox / name).exists():
                raise Conflict("a file of that name is waiting to be read", where="name", seen=name, fix="rename it")
            part = self._inbox / f"{name}.part"
            part.write_bytes(content)
            self._take(part.replace(self._inbox / name))
        return self._progress[name]

    # --- one file ---

    def _take(self, path: Path) -> None:
        """Read a file to its end, or refuse it, and put it away."""
        name, state, reason = self._name(path), State.DONE, ""
        rejects = RejectsFile(self._inbox / REJECTS, name.replace("/", "-"))
        self._show(Progress(file=name, state=State.READING, began_at=self._clock.now()))
        try:
            stamp = _stamp(path)
            self._change(name, size_bytes=stamp[0])
            try:
                self._read(path, name, self._sources_of(path), rejects)
            except HutongError as error:
                state, reason = State.REFUSED, str(error.fault)
                rejects.add(Reject(0, error.fault), None)
            if _stamp(path) == stamp:
                rejects.keep()
                _move(path, self._inbox / (DONE if state is State.DONE else REJECTS))
            else:  # somebody went on writing it: it is read again
                state = State.GROWING
        except _Closing:
            return
        except OSError as error:  # the next look tries again
            state, reason = State.HELD, str(error)
        except Exception:  # one file must not stop the others, nor come back for ever
            log.exception("%s could not be read", name)
            state, reason = State.REFUSED, "something went wrong inside; it was logged"
            _move(path, self._inbox / REJECTS)
        finally:
            rejects.close()
        self._change(name, state=state, reason=reason, ended_at=self._clock.now())

    def _read(self, path: Path, name: str, sources: Sequence[Source], rejects: RejectsFile) -> None:
        self._change(name, sources=tuple(source.name for source in sources))
        digests = {source.declaration.encoding: "" for source in sources}
        for encoding in digests:
            digests[encoding] = examine(path, encoding)
        for source in sources:
            key = f"file:{digests[source.declaration.encoding]}:{source.name}:{source.digest}"
            sent: deque[_Sent] = deque()
            for n, chunk in enumerate(read_table(path, source.declaration.encoding)):
                if n == 0 and has_head(path.name):
                    source.check_columns([column for column in chunk.frame.columns if column != ROW])
                sent.append(self._send(source, chunk, key))
                if len(sent) == CHUNKS_IN_FLIGHT:
                    self._settle(name, sent.popleft(), rejects)
            while sent:
                self._settle(name, sent.popleft(), rejects)

    def _send(self, source: Source, chunk: Chunk, key: str) -> _Sent:
        mapped = source.map(chunk.frame)
        command = ChangeEntities(changes=mapped.changes(), source=source.name)
        rows = chunk.frame[ROW].to_list()
        request = Request(command=command, actor=ACTOR, key=f"{key}:{rows[:1]}-{rows[-1:]}")
        return _Sent(request, self._attempt(request), chunk, mapped)

    def _settle(self, name: str, sent: _Sent, rejects: RejectsFile) -> None:
        """Count a chunk that is durable, and keep what was rejected of it."""
        outcomes = self._outcomes(name, sent)
        refused = list(_refused(sent.mapped, outcomes))
        rejects.add_rows([*sent.mapped.rejects, *refused], sent.chunk.frame)
        for reject, original in sent.chunk.rejects:
            rejects.add(reject, original)
        before = self._progress[name]
        self._change(
            name,
            state=State.READING,
            reason="",
            read_bytes=sent.chunk.bytes_read,
            taken=before.taken + len(outcomes) - len({reject.row for reject in refused}),
            rejected=rejects.rows,
        )

    def _outcomes(self, name: str, sent: _Sent) -> Sequence[Changed]:
        """Wait until a chunk is durable, however long there is no room for it."""
        while not self._stop.is_set():
            try:
                outcomes: Sequence[Changed] = sent.future.result()
            except (Overloaded, StorageFull) as error:
                self._change(name, state=State.HELD, reason=str(error.fault))
                self._stop.wait(RETRY_EVERY_S)
                sent.future = self._attempt(sent.request)
            else:
                return outcomes
        raise _Closing

    def _attempt(self, request: Request) -> "Future[Any]":
        """Submit; a full queue is told by the future. What changes nothing is done."""
        future: Future[Any] = Future()
        if not request.command.changes:
            future.set_result([])
            return future
        try:
            return self._submit(request)
        except Overloaded as error:
            future.set_exception(error)
            return future

    def _sources_of(self, path: Path) -> Sequence[Source]:
        """The sources that a file is for. Raises InvalidInput when there is none."""
        folder = path.parent.name if path.parent != self._inbox else ""
        chosen = [source for source in self._sources if folder in (source.name, source.name.partition(".")[2])]
        if folder and not chosen:
            raise InvalidInput(
                "no source of files has the name of this folder",
                where=folder,
                seen=folder,
                allowed=listed([source.name for source in self._sources]) or "none is declared",
                fix="move the file into a folder named after a source, or straight into the inbox",
            )
        found = chosen or [source for source in self._sources if source.matches(path.name)]
        if not is_table(path.name):
            raise InvalidInput(
                "not a file of a known format",
                where=path.name,
                seen=path.suffix,
                allowed=FORMATS,
                fix="save it in one of these, and name it so",
            )
        if not found:
            patterns = [
                f"{pattern} ({source.name})" for source in self._sources for pattern in source.declaration.files
            ]
            raise InvalidInput(
                "no source reads files of this name",
                where=path.name,
                seen=path.name,
                allowed=listed(patterns, 30) or "no source of files is declared",
                fix="rename it, put it into a folder named after its source, or declare a source",
            )
        return found

    # --- the folder ---

    def _arrived(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        """Files in the inbox and its folders, oldest first, with size and time of change."""
        paths = [path for path in self._inbox.iterdir() if path.is_file()]
        for folder in self._inbox.iterdir():
            if folder.is_dir() and folder.name not in (DONE, REJECTS):
                paths += [path for path in folder.iterdir() if path.is_file()]
        stamped = [
            (path, _stamp(path))
            for path in paths
            if not path.name.startswith(".") and not path.name.endswith(_UNFINISHED)
        ]
        yield from sorted(stamped, key=lambda found: (found[1][1], found[0]))

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception:  # the next look tries again; one bad file must not stop the others for ever
                log.exception("looking at %s failed", self._inbox)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._inbox).as_posix()

    def _show(self, progress: Progress) -> None:
        self._progress.pop(progress.file, None)
        self._progress[progress.file] = progress
        while len(self._progress) > FILES_SHOWN_MAX:
            del self._progress[next(iter(self._progress))]

    def _change(self, name: str, **parts: Any) -> None:
        self._progress[name] = msgspec.structs.replace(self._progress[name], **parts)


def _refused(mapped: Mapped, outcomes: Sequence[Changed]) -> Iterator[Reject]:
    """What the engine did not take, by row."""
    for row, outcome in zip(mapped.rows, outcomes, strict=True):
        refused: Mapping[str, HutongError] = {"": outcome.error} if outcome.error is not None else outcome.refused
        for error in refused.values():
            yield Reject(row, error.fault)


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _move(path: Path, folder: Path) -> None:
    """Move a file into a folder; one of the same name that is there already stays."""
    target, n = folder / path.name, 1
    while target.exists():
        n += 1
        target = folder / f"{path.name}~{n}"
    path.replace(target)
