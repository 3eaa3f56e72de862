"""Checkpoints of state, and rebuilding it from the ledger to compare with what is served."""

import gzip
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from hutong.engines.sense.amend import AMENDED, Amendment
from hutong.engines.sense.changes import Changer, Working
from hutong.engines.sense.documents import DOCUMENT_KINDS, Document, DocumentStore, follow
from hutong.engines.sense.handler import ALERTED
from hutong.engines.sense.history import Deletion, Past, PastChange, PastStore
from hutong.engines.sense.observations import CHANGED, Block
from hutong.engines.sense.ports import Alert, AlertStore, Attribute, EntityRow, EntityStore
from hutong.kernel.errors import StorageFull
from hutong.kernel.ledger import Entry
from hutong.kernel.transactions import Database

KINDS = (CHANGED, ALERTED, AMENDED, *DOCUMENT_KINDS)
GROUP = 200
_DOC = msgspec.json.Decoder(dict[str, Attribute])
_ENCODER = msgspec.json.Encoder(order="deterministic")


class Line(msgspec.Struct, omit_defaults=True):
    """One line of a checkpoint: an entity, an alert, a document, or what is known of a past."""

    entity: EntityRow | None = None
    alert: Alert | None = None
    document: Document | None = None
    past: Past | Deletion | None = None


def write_checkpoint(
    file: Path, entities: EntityStore, alerts: AlertStore, documents: DocumentStore, past: PastStore
) -> bytes:
    """Write state as gzipped JSON lines, durably and whole or not at all. Gives the file's SHA-256.

    Raises StorageFull.
    """
    part = file.with_suffix(".part")
    try:
        with part.open("wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed:
                packed.writelines(_lines(entities, alerts, documents, past))
            raw.flush()
            os.fsync(raw.fileno())
        digest = file_hash(part)
        part.replace(file)
        _sync(file.parent)  # or a power cut might take back the name, when payloads have gone already
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageFull(
            "a checkpoint cannot be written", where=str(file.parent), seen=str(error), fix="make space"
        ) from error
    return digest


def _lines(entities: EntityStore, alerts: AlertStore, documents: DocumentStore, past: PastStore) -> Iterator[bytes]:
    encode = msgspec.json.Encoder().encode
    for row in entities.each():
        yield encode(Line(entity=row)) + b"\n"
    for alert in alerts.each():
        yield encode(Line(alert=alert)) + b"\n"
    for document in documents.each():
        yield encode(Line(document=document)) + b"\n"
    for one in past.each():
        yield encode(Line(past=one)) + b"\n"
    for deletion in past.each_deletion():
        yield encode(Line(past=deletion)) + b"\n"


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_hash(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def read_checkpoint(file: Path) -> Iterator[Line]:
    decode = msgspec.json.Decoder(Line).decode
    with gzip.open(file, "rb") as lines:
        for line in lines:
            yield decode(line)


class Rebuild:
    """Brings empty stores to the state that the ledger tells of."""

    def __init__(
        self,
        changer: Changer,
        database: Database,
        entities: EntityStore,
        alerts: AlertStore,
        documents: DocumentStore,
        past: PastStore,
    ) -> None:
        self._changer, self._database = changer, database
        self._entities, self._alerts, self._documents, self._past = entities, alerts, documents, past

    def start_from(self, lines: Iterable[Line]) -> None:
        """Take a checkpoint's state."""
        rows: list[EntityRow] = []
        alerts: list[Alert] = []
        documents: list[Document] = []
        past: list[PastChange] = []
        for line in lines:
            if line.entity is not None:
                rows.append(line.entity)
            if line.alert is not None:
                alerts.append(line.alert)
            if line.document is not None:
                documents.append(line.document)
            if line.past is not None:
                past.append(line.past)
            if len(rows) + len(alerts) + len(documents) + len(past) >= 5_000:
                self._save(rows, alerts, documents, past)
        self._save(rows, alerts, documents, past)

    def follow(self, entries: Iterable[Entry]) -> int:
        """Apply entries in order; gives how many events were applied."""
        group: list[Entry] = []
        applied = 0
        for entry in entries:
            if entry.row.kind in KINDS and entry.payload is not None:
                group.append(entry)
                applied += 1
            if len(group) >= GROUP:
                self._apply(group)
                group = []
        self._apply(group)
        return applied

    def _save(
        self, rows: list[EntityRow], alerts: list[Alert], documents: list[Document], past: list[PastChange]
    ) -> None:
        with self._database.begin() as tx:
            self._entities.save(tx, rows, [])
            self._alerts.save(tx, alerts)
            self._documents.save(tx, documents)
            self._past.apply(tx, past)
        past.clear()
        rows.clear()
        alerts.clear()
        documents.clear()

    def _apply(self, group: list[Entry]) -> None:
        told_of: dict[str, Callable[[bytes], Block | Amendment]] = {CHANGED: Block.decode, AMENDED: Amendment.decode}
        history = [told_of[one.row.kind](one.payload) for one in group if one.row.kind in told_of and one.payload]
        blocks = [one for one in history if isinstance(one, Block)]
        moved = [
            alert
            for entry in group
            if entry.row.kind == ALERTED and entry.payload
            for alert in msgspec.msgpack.decode(entry.payload, type=list[Alert])
        ]
        with self._database.begin() as tx:
            working: dict[tuple[str, str], Working] = {}
            for tenant in {block.head.tenant for block in blocks}:
                ids = list({id_ for block in blocks if block.head.tenant == tenant for id_ in block.entities()})
                for id_, row in self._entities.load(tx, tenant, ids).items():
                    working[tenant, id_] = Working.of(row, self._changer.overlays.get(row.type))

            def entity(tenant: str, id_: str) -> Working:
                if (tenant, id_) not in working:
                    working[tenant, id_] = self._changer.blank(tenant, id_)
                return working[tenant, id_]

            for block in blocks:
                self._changer.fold(block, entity)
            gone = [(tenant, id_) for (tenant, id_), one in working.items() if one.doc is None and one.stored]
            for tenant, id_ in gone:
                self._entities.delete(tx, tenant, [id_])
            there = [one for one in working.values() if one.doc is not None and one.dirty]
            self._entities.save(
                tx, [one.finish() for one in there if not one.stored], [one.finish() for one in there if one.stored]
            )
            self._alerts.save(tx, list({alert.id: alert for alert in moved}.values()))
            told = ((entry.row.kind, entry.payload) for entry in group if entry.row.kind in DOCUMENT_KINDS)
            follow(tx, self._documents, [(kind, payload) for kind, payload in told if payload])
            self._past.apply(tx, [change for one in history for change in one.past])


def canonical(
    entities: EntityStore, alerts: AlertStore, documents: DocumentStore, past: PastStore
) -> Mapping[str, str]:
    """SHA-256 of all entities, alerts, documents and pasts, in an order and form that do not depend on the store."""
    return {
        "entities": _digest(_plain(row) for row in entities.each()),
        "alerts": _digest(_ENCODER.encode(alert) for alert in alerts.each()),
        "documents": _digest(_ENCODER.encode(document) for document in documents.each()),
        "past": _digest(_ENCODER.encode(one) for some in (past.each(), past.each_deletion()) for one in some),
    }


def differences(live: EntityStore, rebuilt: EntityStore, most: int = 20) -> list[str]:
    """Ids of entities that differ between two stores, at most `most`."""
    found: list[str] = []
    theirs = {(row.tenant, row.id): hashlib.sha256(_plain(row)).digest() for row in rebuilt.each()}
    for row in live.each():
        if len(found) < most and theirs.pop((row.tenant, row.id), None) != hashlib.sha256(_plain(row)).digest():
            found.append(row.id)
    return [*found, *(id_ for _, id_ in theirs)][:most]


def _digest(lines: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line + b"\n")
    return digest.hexdigest()


def _plain(row: EntityRow) -> bytes:
    """The row without what only the store knows; its rules are told by the alerts."""
    plain = msgspec.to_builtins(row)
    for key in ("seq", "rules"):
        del plain[key]
    plain["doc"] = msgspec.to_builtins(_DOC.decode(row.doc))
    return _ENCODER.encode(plain)
