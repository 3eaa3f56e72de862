"""What sensing does by itself: let time pass for rules, move history to the lake, let it expire, seal the ledger."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from hutong.engines.sense.amend import AMENDED, Amendment
from hutong.engines.sense.documents import DocumentStore
from hutong.engines.sense.handler import ACTOR
from hutong.engines.sense.history import HistoryStore, PastStore
from hutong.engines.sense.observations import CHANGED, Block
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.ports import AlertStore, EntityStore, Tick
from hutong.engines.sense.rebuild import KINDS, write_checkpoint
from hutong.engines.sense.subscriptions import Subscriptions
from hutong.kernel.clock import DAY, HOUR, MINUTE, SECOND, Clock
from hutong.kernel.commands import Request
from hutong.kernel.errors import HutongError
from hutong.kernel.housekeeping import CursorStore, MoveCursor, Note, Seal
from hutong.kernel.ledger import LedgerStore, Position, Row, Sealed
from hutong.kernel.writer import Writer

TICK_EVERY = 5 * SECOND
REMIND_EVERY = SECOND
COMPACT_EVERY = 60 * SECOND
AMEND_EVERY = 5 * MINUTE
OPTIMISE_EVERY = 6 * HOUR
RETAIN_EVERY = DAY
CHECKPOINT_BYTES = 512 * 1024 * 1024
CHECKPOINTS_KEPT = 2
COMMITTED = "history.committed"
LAKE = "lake"

log = logging.getLogger(__name__)


class LakeFile(msgspec.Struct, frozen=True):
    """A file of the lake as the ledger remembers it."""

    path: str
    sha256: bytes


class LakeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of a `history.committed` event: one commit of the lake."""

    version: int
    purpose: str
    added: tuple[LakeFile, ...] = ()
    removed: tuple[str, ...] = ()
    dropped: int = 0


class Lake(HistoryStore, Protocol):
    """History that keeps its older part in files."""

    @property
    def compaction_due(self) -> bool:
        """Whether so much is recent that a compaction should not wait."""

    def watermarks(self, lanes: Sequence[str]) -> Mapping[str, int]: ...

    def compact(self, upto: Mapping[str, int]) -> object: ...

    def amended(self, lanes: Sequence[str]) -> Mapping[str, int]:
        """Up to which row of each lane amendments are in the files."""

    def unamended(self) -> Mapping[str, int]:
        """The first row of each lane whose amendment is not."""

    def amend(self) -> object:
        """Take into the files what amendments strike."""

    def optimise(self) -> object: ...

    def retain(self, type: str, before: int) -> object: ...

    def records(self, after: int = -1) -> Sequence[Any]:
        """Commits of versions later than `after`: Structs with at least the fields of LakeRecord."""


class Upkeep:
    """Everything periodic of the sense engine; `pulse` does what is due and is called often."""

    def __init__(
        self,
        overlays: Mapping[str, Overlay],
        lake: Lake,
        entities: EntityStore,
        alerts: AlertStore,
        documents: DocumentStore,
        past: PastStore,
        subscriptions: Subscriptions,
        ledger: LedgerStore,
        cursors: CursorStore,
        writer: Writer,
        clock: Clock,
        checkpoints: Path,
        snapshot: Callable[[], AbstractContextManager[None]],
        size: Callable[[], int],
    ) -> None:
        self._overlays, self._lake = overlays, lake
        self._entities, self._alerts, self._documents, self._past = entities, alerts, documents, past
        self._subscriptions = subscriptions
        self._ledger, self._cursors, self._writer, self._clock = ledger, cursors, writer, clock
        self._folder, self._snapshot, self._size = checkpoints, snapshot, size
        now = clock.now()
        self._telling = threading.Lock()
        self._due: dict[Callable[[], object], int] = {
            self.tick: now,
            self.remind: now,
            self.compact: now + COMPACT_EVERY,
            self.checkpoint: now,
            self.amend: now + AMEND_EVERY,
            self.optimise: now + OPTIMISE_EVERY,
            self.retain: now + RETAIN_EVERY,
        }
        self._every: dict[Callable[[], object], int] = {
            self.tick: TICK_EVERY,
            self.remind: REMIND_EVERY,
            self.compact: COMPACT_EVERY,
            self.checkpoint: COMPACT_EVERY,
            self.amend: AMEND_EVERY,
            self.optimise: OPTIMISE_EVERY,
            self.retain: RETAIN_EVERY,
        }
        self._sealed_size = size()
        self._noted = -1

    def recover(self) -> int:
        """Give the lake what the ledger holds beyond it, and note what it compacted before a crash. Counts rows."""
        rows = 0
        lanes = self._ledger.lanes()
        for lane, after in self._lake.amended(tuple(lanes)).items():
            for row, payload in self._entries(lane, after, (AMENDED,)):
                self._lake.strike(Amendment.decode(payload).struck(Position(lane, row.n)))
        marks = self._lake.watermarks(tuple(lanes))
        for lane in lanes:
            for row, payload in self._entries(lane, max(0, marks.get(lane, 0)), (CHANGED, AMENDED)):
                position = Position(lane, row.n)
                frame = (
                    Block.decode(payload).history(position)
                    if row.kind == CHANGED
                    else Amendment.decode(payload).rows(position)
                )
                if frame is not None:
                    self._lake.append(frame)
                    rows += frame.height
        self._noted = self._cursors.position(COMMITTED).get(LAKE, -1)
        self._note()
        return rows

    def _entries(self, lane: str, after: int, kinds: Sequence[str]) -> Iterator[tuple[Row, bytes]]:
        """Rows of a lane after one, with their payloads, as far as these are there."""
        while entries := self._ledger.read(lane, after, 500, kinds):
            yield from ((row, payload) for row, payload in entries if payload is not None)
            after = entries[-1].row.n

    def pulse(self) -> None:
        """Do what is due. A fault is logged and tried again next time."""
        self._do(self.tick, self.remind, self.compact)
        if self._size() - self._sealed_size > CHECKPOINT_BYTES:
            self._do(self.checkpoint)

    def pulse_slowly(self) -> None:
        """The same for what may take minutes and must not hold up the rest; for a thread of its own."""
        self._do(self.amend, self.optimise, self.retain)

    def _do(self, *works: Callable[[], object]) -> None:
        now = self._clock.now()
        for work in works:
            if now >= self._due[work] or (work == self.compact and self._lake.compaction_due):
                self._due[work] = now + self._every[work]
                try:
                    work()
                except HutongError as error:
                    log.warning("%s waits: %s", getattr(work, "__name__", work), error)

    def tick(self) -> int:
        """Let time pass for rules; gives how many alerts moved."""
        moved: int = self._ask(Tick())
        return moved

    def remind(self) -> None:
        """Tell subscriptions with an interval whose time has come; keyed, so that one process alone does it."""
        asked = [
            self._writer.submit(
                Request(command=command, actor=ACTOR, key=f"remind:{command.tenant}:{command.id}:{beat}")
            )
            for command, beat in self._subscriptions.due(self._clock.now())
        ]
        for future in asked:
            future.result()

    def compact(self) -> None:
        self._lake.compact(self._ledger.lanes())
        self._note()

    def amend(self) -> None:
        """Take into the files what amendments strike; rows that they may hit are moved there first."""
        if self._lake.unamended():
            self.compact()
            self._lake.amend()
            self._note()

    def optimise(self) -> None:
        self._lake.optimise()
        self._note()

    def retain(self) -> None:
        now = self._clock.now()
        for overlay in self._overlays.values():
            if overlay.retention:
                self._lake.retain(overlay.name, now - overlay.retention)
        self._note()

    def checkpoint(self) -> Path:
        """Write state as of one moment, and let the payloads it covers leave the ledger."""
        self.compact()
        self.amend()
        self._folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self._folder.glob("*.part"):
            unfinished.unlink()
        with self._snapshot():
            upto = dict(self._ledger.lanes())
            file = self._folder / f"{self._clock.now()}.jsonl.gz"
            digest = write_checkpoint(file, self._entities, self._alerts, self._documents, self._past)
        marks = self._lake.watermarks(tuple(upto))
        waiting = self._lake.unamended()
        self._ask(
            Seal(
                kinds=KINDS,
                drop={
                    lane: min(n, marks.get(lane, 0), waiting[lane] - 1 if lane in waiting else n)
                    for lane, n in upto.items()
                },
                sealed=Sealed(upto=upto, checkpoint=file.name, checkpoint_hash=digest),
            )
        )
        for old in sorted(self._folder.glob("*.jsonl.gz"))[:-CHECKPOINTS_KEPT]:
            os.remove(old)
        self._sealed_size = self._size()
        return file

    def _note(self) -> None:
        """Tell the ledger of every commit of the lake that it does not know yet."""
        with self._telling:
            self._note_all()

    def _note_all(self) -> None:
        for record in self._lake.records(self._noted):
            told = LakeRecord(
                version=record.version,
                purpose=record.purpose,
                dropped=record.dropped,
                removed=tuple(record.removed),
                added=tuple(LakeFile(file.path, bytes.fromhex(file.sha256)) for file in record.added),
            )
            self._ask(Note(kind=COMMITTED, payload=msgspec.msgpack.encode(told)))
            self._ask(MoveCursor(name=COMMITTED, to={LAKE: record.version}))
            self._noted = record.version

    def _ask(self, command: Any) -> Any:
        return self._writer.submit(Request(command=command, actor=ACTOR)).result()


def noted(ledger: LedgerStore) -> Iterator[LakeRecord]:
    """Every commit of the lake that the ledger tells of."""
    for lane in ledger.lanes():
        after = 0
        while entries := ledger.read(lane, after, 500, (COMMITTED,)):
            for _, payload in entries:
                if payload is not None:
                    yield msgspec.msgpack.decode(payload, type=LakeRecord)
            after = entries[-1].row.n


def noted_files(ledger: LedgerStore) -> dict[str, bytes]:
    """The lake's files as the ledger tells of them: SHA-256 by path."""
    files: dict[str, bytes] = {}
    for record in sorted(noted(ledger), key=lambda one: one.version):
        for path in record.removed:
            files.pop(path, None)
        files |= {file.path: file.sha256 for file in record.added}
    return files
