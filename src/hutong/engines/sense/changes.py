"""How a change meets an entity: the verbs of NGSI-LD, newest observation wins, an exact repeat changes nothing."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from hutong.engines.sense.geometry import positions
from hutong.engines.sense.history import Deletion, Past
from hutong.engines.sense.merging import NULL, alike, merged
from hutong.engines.sense.observations import CREATED, DELETED, LATE, MARKED, RETYPED, SET, UNSET, Block
from hutong.engines.sense.overlay import DERIVED, SUSPECT, Overlay
from hutong.engines.sense.ports import Attribute, Change, Changed, EntityRow, Mark, Verb
from hutong.kernel.clock import EARLIEST, LATEST, MINUTE, instant, iso
from hutong.kernel.errors import AlreadyExists, HutongError, InvalidInput, NotFound, TooLarge

FORECAST = int(Mark.FORECAST)
COMPUTED = int(Mark.DERIVED | Mark.FORECAST)  # a plain number: an enumeration takes a microsecond for each `&`
"""Commands with one of these marks come from the engine itself: they may set derived values and take values back."""
FUTURE_MAX = 5 * MINUTE
OBSERVED_MIN = instant("0002-01-01T00:00:00Z")  # a year after dates begin: so in every zone, and spans before it
ATTRIBUTES_MAX = 1_000
ID_BYTES_MAX = 2_048
DOCUMENT_LENGTH_MAX = 16 * 1024 * 1024  # of an entity that is to grow

_DOC = msgspec.json.Decoder(dict[str, Attribute])
_ENCODER = msgspec.json.Encoder()

Locate = Callable[[float, float], str]
"""The administrative code of a longitude and latitude; empty where unknown."""


class Working:
    """An entity while a group of commands is being applied. `settled`: types, scopes and place are as they were."""

    __slots__ = ("block", "dirty", "doc", "overlay", "row", "settled", "stored")

    def __init__(self, row: EntityRow, doc: dict[str, Attribute] | None, overlay: Overlay | None) -> None:
        self.row, self.doc, self.overlay = row, doc, overlay
        self.stored = self.settled = row.seq != 0
        self.dirty = False
        self.block: Block | None = None

    @classmethod
    def of(cls, row: EntityRow, overlay: Overlay | None) -> "Working":
        return cls(row, _DOC.decode(row.doc), overlay)

    def hear(self, at: int | None, now: int) -> None:
        """Bring the time of observation forward. What has no time of its own counts only where nothing has one.

        To be called before the attribute is set.
        """
        known = self.row.observed_at
        if at is None:
            if known is None or (now > known and not self._timed()):
                self.row.observed_at = now
        elif known is None or at > known or not self._timed():
            self.row.observed_at = at

    def _timed(self) -> bool:
        derived = self.overlay.derived if self.overlay else ()
        return any(one.observed_at is not None and key not in derived for key, one in (self.doc or {}).items())

    def begin(self, at: int, overlay: Overlay | None) -> None:
        """Start to exist, perhaps again."""
        row, self.settled = self.row, False
        row.created_at, row.place, row.rules, row.version = at, "", "", 0
        row.observed_at, row.lon, row.lat, row.west, row.south, row.east, row.north = (None,) * 7
        self.doc, self.overlay = {}, overlay

    def touch(self, block: Block) -> None:
        """Count a new version, once for each block that changes the entity."""
        self.dirty = True
        if self.block is not block:
            self.block = block
            row, head = self.row, block.head
            row.version += 1
            if not block.computed or block.tells_of(row.source):
                row.modified_at, row.source = head.recorded_at, head.source

    def finish(self) -> EntityRow:
        """The row with its document written."""
        self.row.doc = _ENCODER.encode(self.doc).decode()
        return self.row


class Changer:
    """Applies changes to working entities and writes what became of them into blocks."""

    def __init__(self, overlays: Mapping[str, Overlay], undeclared: bool, city: str, locate: Locate) -> None:
        self.overlays, self._undeclared, self._city, self._locate = overlays, undeclared, city, locate

    def blank(self, tenant: str, id: str) -> Working:
        """An entity that does not exist yet."""
        return Working(EntityRow(tenant=tenant, id=id, type="", doc="", city=self._city, version=0), None, None)

    def apply(self, change: Change, entity: Working, block: Block, marks: int) -> Changed:
        """Apply one change; the entity stays as it was when the outcome has an error."""
        verb = change.verb
        if entity.doc is None:
            if verb is not Verb.CREATE and not change.upsert:
                return _failed(
                    change, NotFound("there is no such entity", where="id", seen=change.id, fix="create it first")
                )
            error = self._acceptable(change, None, block.head.recorded_at, marks) or self._typed(change)
            if error is not None:
                return _failed(change, error)
            self._create(change, entity, block)
            done = self._set(change, entity, block, marks)
            return Changed(id=change.id, created=True, changed=done.changed, refused=done.refused)
        if verb is Verb.CREATE:
            return _failed(
                change,
                AlreadyExists("the id is taken", where="id", seen=change.id, fix="update it, or choose another id"),
            )
        if verb is Verb.DELETE:
            self._delete(entity, block)
            return Changed(id=change.id, changed=("*",))
        if verb is Verb.DELETE_ATTRIBUTES:
            return self._remove(change, entity, block)
        error = self._acceptable(change, entity, block.head.recorded_at, marks)
        if error is not None:
            return _failed(change, error)
        if change.types or change.scopes is not None:
            self._retype(change, entity, block)
        if verb is Verb.REPLACE:
            self._drop_others(change, entity, block)
        return self._set(change, entity, block, marks)

    # --- acceptance ---

    def _typed(self, change: Change) -> HutongError | None:
        if len(change.id.encode()) > ID_BYTES_MAX:
            return InvalidInput("the id is too long", where="id", seen=change.id, allowed=f"{ID_BYTES_MAX} bytes")
        if not change.types:
            return InvalidInput("an entity needs a type", where="type", fix="give its type")
        if not self._undeclared and not any(name in self.overlays for name in change.types):
            return InvalidInput(
                "no pack declares this type",
                where="type",
                seen=", ".join(change.types),
                allowed=", ".join(sorted(self.overlays)) or "none declared",
                fix="declare it in a pack, or start with undeclared types allowed",
            )
        return None

    def _overlay(self, types: tuple[str, ...]) -> Overlay | None:
        return next((self.overlays[name] for name in types if name in self.overlays), None)

    def first_type(self, types: tuple[str, ...]) -> str:
        """The type that an entity goes by: the first declared one."""
        return next((name for name in types if name in self.overlays), types[0])

    def acceptable_past(
        self, change: Change, instances: Iterable[tuple[str, Attribute]], now: int, *, new: bool
    ) -> HutongError | None:
        """Why an entity of the types of a change cannot have had these instances of attributes."""
        error = self._typed(change) if new else None
        for key, attribute in instances if error is None else ():
            change.attributes = {key: attribute}
            error = error or self._acceptable(change, None, now, 0)
        return error

    def _acceptable(self, change: Change, entity: Working | None, now: int, marks: int) -> HutongError | None:
        overlay = entity.overlay if entity is not None else self._overlay(change.types)
        attributes = change.attributes
        kept = entity.doc or {} if entity is not None and change.verb is not Verb.REPLACE else {}
        if len(attributes) + len(kept) > ATTRIBUTES_MAX and len(attributes.keys() | kept.keys()) > ATTRIBUTES_MAX:
            return InvalidInput(
                "too many attributes in one entity",
                seen=len(attributes.keys() | kept.keys()),
                allowed=f"{ATTRIBUTES_MAX}",
                where=change.id,
            )
        if kept and entity is not None and len(entity.row.doc) > DOCUMENT_LENGTH_MAX:
            return TooLarge(
                "the entity is too large to be added to",
                where=change.id,
                seen=f"{len(entity.row.doc)} characters",
                allowed=f"{DOCUMENT_LENGTH_MAX}",
                fix="replace it, or delete attributes",
            )
        latest = LATEST if marks & FORECAST else now + FUTURE_MAX
        for key, attribute in attributes.items():
            at = attribute.observed_at
            if at is not None and not OBSERVED_MIN <= at <= latest:
                return InvalidInput(
                    "observed in the future" if at > latest else "observed before the calendar begins",
                    where=f"{key}.observedAt",
                    seen=iso(at) if EARLIEST <= at <= LATEST else at,
                    allowed=f"{iso(OBSERVED_MIN)} to {iso(latest)}",
                    fix="check the clock and offset",
                )
        if overlay is None:
            return None
        checks, partial = overlay.checks, change.verb in (Verb.PATCH, Verb.MERGE)
        for key, attribute in attributes.items():
            check = checks.get(key) or (checks.get(key.partition("@")[0]) if "@" in key else None)
            if check is None:
                if not self._undeclared:
                    return InvalidInput(
                        f"{overlay.name} has no property {key}",
                        where=key,
                        seen=key,
                        allowed=", ".join(sorted(checks)),
                        fix="declare it, or leave it out",
                    )
            elif key not in overlay.derived and attribute.value != NULL and not (partial and attribute.value is None):
                error = check(attribute)
                if error is not None:
                    return error
        return None

    # --- what a verb does ---

    def _create(self, change: Change, entity: Working, block: Block) -> None:
        row = entity.row
        entity.begin(block.head.recorded_at, self._overlay(change.types))
        self._name_types(entity, change.types, change.scopes or ())
        block.note(CREATED, row.id, row.type, extra=_types(change.types, change.scopes or ()))
        entity.touch(block)

    def _retype(self, change: Change, entity: Working, block: Block) -> None:
        row = entity.row
        if change.scopes is None and not row.types and change.types == (row.type,):
            return  # as nearly always
        before_types, before_scopes = types_of(row), scopes_of(row)
        kept = () if change.verb is Verb.REPLACE and change.types else before_types
        types = tuple(dict.fromkeys((*kept, *change.types)))
        scopes = before_scopes if change.scopes is None else change.scopes
        if not change.overwrite:
            scopes = tuple(dict.fromkeys((*before_scopes, *scopes)))
        if types != before_types or scopes != before_scopes:
            if before_scopes and not scopes:
                _mourn(entity, "scope", Attribute(kind=""), block)
            self._name_types(entity, types, scopes)
            entity.overlay = self._overlay(types)
            block.note(RETYPED, row.id, row.type, extra=_types(types, scopes))
            entity.touch(block)

    def _name_types(self, entity: Working, types: tuple[str, ...], scopes: tuple[str, ...]) -> None:
        row, entity.settled = entity.row, False
        row.type = self.first_type(types)
        row.types = _ENCODER.encode(types).decode() if len(types) > 1 else ""
        row.scopes = _ENCODER.encode(scopes).decode() if scopes else ""

    def _delete(self, entity: Working, block: Block) -> None:
        block.note(DELETED, entity.row.id, entity.row.type)
        self._bury(entity, block)

    def _remove(self, change: Change, entity: Working, block: Block) -> Changed:
        doc = entity.doc or {}
        gone: list[str] = []
        refused: dict[str, HutongError] = {}
        for key in change.attributes:
            keys = [one for one in doc if one == key or one.startswith(f"{key}@")] if change.all_datasets else [key]
            found = [one for one in keys if one in doc]
            if not found:
                refused[key] = NotFound("the entity has no such attribute", where=key, seen=key)
            for one in found:
                self._unset(entity, one, block)
                gone.append(one)
        return Changed(id=change.id, changed=tuple(gone), refused=refused)

    def _bury(self, entity: Working, block: Block) -> None:
        """Take the entity away; the block tells what is known of it from now on."""
        row = entity.row
        block.past.append(
            Past(
                tenant=row.tenant,
                id=row.id,
                type=row.type,
                types=types_of(row),
                scopes=scopes_of(row),
                place=row.place,
                created_at=row.created_at,
                modified_at=block.head.recorded_at,
                deleted_at=block.head.recorded_at,
            )
        )
        entity.doc, entity.dirty, entity.block = None, True, None

    def _drop_others(self, change: Change, entity: Working, block: Block) -> None:
        derived = entity.overlay.derived if entity.overlay else ()
        for key in [one for one in entity.doc or {} if one not in change.attributes and one not in derived]:
            self._unset(entity, key, block)

    def _unset(self, entity: Working, key: str, block: Block) -> None:
        assert entity.doc is not None
        _mourn(entity, key, entity.doc.pop(key), block)
        block.note(UNSET, entity.row.id, entity.row.type, key)
        entity.touch(block)
        if key == "location":
            self._place(entity, None)

    def _set(self, change: Change, entity: Working, block: Block, marks: int) -> Changed:
        doc, row, verb = entity.doc, entity.row, change.verb
        assert doc is not None
        derived = entity.overlay.derived if entity.overlay else ()
        now = block.head.recorded_at
        done: list[str] = []
        refused: dict[str, HutongError] = {}
        current = False
        for key, attribute in change.attributes.items():
            old = doc.get(key)
            if marks & COMPUTED and attribute.value == NULL:
                self._take_back(entity, key, attribute, marks, block)
                done.append(key)
                continue
            if key in derived and not marks & COMPUTED:
                refused[key] = InvalidInput("this property is computed", where=key, fix="send what it is computed from")
                continue
            if old is None:
                if verb in (Verb.UPDATE, Verb.PATCH):
                    refused[key] = NotFound("the entity has no such attribute", where=key, seen=key)
                    continue
                if attribute.value == NULL:
                    continue
            elif verb is Verb.APPEND and not change.overwrite:
                refused[key] = AlreadyExists("the attribute is there already", where=key, seen=key)
                continue
            elif attribute.value == NULL:
                self._unset(entity, key, block)
                done.append(key)
                continue
            elif verb is Verb.MERGE or verb is Verb.PATCH:
                attribute = merged(old, attribute, deep=verb is Verb.MERGE)
            if marks:
                attribute.marks |= marks
            at = attribute.observed_at
            if marks & FORECAST and at is not None and at > now:
                block.add(LATE, row.id, row.type, key, attribute)  # what will be is no present state
                done.append(key)
                continue
            if old is not None and old.observed_at is not None and at is not None and at <= old.observed_at:
                if at < old.observed_at:
                    block.add(LATE, row.id, row.type, key, attribute)
                    done.append(key)
                    continue
                if alike(old, attribute):
                    continue
            attribute.created_at, attribute.modified_at = old.created_at if old is not None else now, now
            entity.hear(at, now)
            doc[key] = attribute
            block.add(SET, row.id, row.type, key, attribute)
            if attribute.kind == "G" and key == "location":
                self._place(entity, attribute)
            done.append(key)
            current = True
        if current:
            entity.touch(block)
        return Changed(id=change.id, changed=tuple(done), refused=refused)

    def _take_back(self, entity: Working, key: str, attribute: Attribute, marks: int, block: Block) -> None:
        """A computed value turned out to be missing: history says so, and state has none unless it has a later one."""
        assert entity.doc is not None
        attribute.marks |= marks
        old = entity.doc.get(key)
        if old is not None and (old.observed_at or 0) <= (attribute.observed_at or 0) <= block.head.recorded_at:
            self._unset(entity, key, block)
        block.add(LATE, entity.row.id, entity.row.type, key, attribute)
        entity.touch(block)

    # --- what follows from a change ---

    def derive(
        self, entity: Working, block: Block, key: str, value: Any, observed_at: int | None, suspect: bool
    ) -> None:
        """Set a derived property, or remove it where the result is missing. `suspect`: what it comes from is."""
        assert entity.doc is not None
        assert entity.overlay is not None
        old = entity.doc.get(key)
        if value is None:
            if old is not None:
                self._unset(entity, key, block)
            return
        declaration = entity.overlay.checks[key].declaration
        now = block.head.recorded_at
        attribute = Attribute(
            value=value,
            observed_at=observed_at,
            unit=declaration.unit or None,
            marks=DERIVED | block_marks(entity, key) | (SUSPECT if suspect else 0),
            created_at=old.created_at if old else now,
            modified_at=now,
        )
        if (
            old is not None
            and old.observed_at == observed_at
            and old.marks == attribute.marks
            and alike(old, attribute)
        ):
            return
        entity.doc[key] = attribute
        block.add(SET, entity.row.id, entity.row.type, key, attribute)
        entity.touch(block)

    def tell_marks(self, entity: Working, block: Block, key: str, marks: int) -> None:
        """Note that the marks of an attribute are others now, though it was not set."""
        block.note(MARKED, entity.row.id, entity.row.type, key, marks=marks)
        entity.touch(block)

    def _place(self, entity: Working, location: Attribute | None) -> None:
        """Bring the row's point, bounding box and administrative code up to date."""
        row, entity.settled = entity.row, False
        if location is None:
            row.lon = row.lat = row.west = row.south = row.east = row.north = None
            row.place = ""
            return
        points = list(positions(location.value.get("coordinates", ())))
        lons, lats = [point[0] for point in points], [point[1] for point in points]
        row.west, row.east, row.south, row.north = min(lons), max(lons), min(lats), max(lats)
        row.lon, row.lat = (row.west + row.east) / 2, (row.south + row.north) / 2
        row.place = self._locate(row.lon, row.lat)

    # --- rebuilding ---

    def fold(self, block: Block, load: Callable[[str, str], Working]) -> None:
        """Apply a recorded block to entities: what `apply` did when the block was written."""
        head = block.head
        for op, id, type_, key, attribute in block.attributes():
            entity = load(head.tenant, id)
            if op in (CREATED, RETYPED):
                self._refold_types(entity, block, op, attribute, type_)
            elif op == DELETED:
                self._bury(entity, block)
            elif op != LATE:
                self._refold(op, entity, block, key, attribute)

    def _refold_types(self, entity: Working, block: Block, op: str, attribute: Attribute, type_: str) -> None:
        types, scopes = attribute.value
        if op == CREATED:
            entity.begin(block.head.recorded_at, self._overlay(tuple(types)))
        elif entity.row.scopes and not scopes:
            _mourn(entity, "scope", Attribute(kind=""), block)
        self._name_types(entity, tuple(types), tuple(scopes))
        entity.overlay = self._overlay(tuple(types))
        entity.touch(block)

    def _refold(self, op: str, entity: Working, block: Block, key: str, attribute: Attribute) -> None:
        doc, now = entity.doc, block.head.recorded_at
        assert doc is not None
        entity.touch(block)
        old = doc.get(key)
        if op == MARKED:
            if old is not None:
                old.marks = attribute.marks
        elif op == UNSET:
            if (gone := doc.pop(key, None)) is not None:
                _mourn(entity, key, gone, block)
            if key == "location":
                self._place(entity, None)
        else:
            if block.computed or not attribute.marks & DERIVED:
                entity.hear(attribute.observed_at, now)
            attribute.created_at, attribute.modified_at = old.created_at if old is not None else now, now
            doc[key] = attribute
            if attribute.kind == "G" and key == "location":
                self._place(entity, attribute)


def _mourn(entity: Working, key: str, gone: Attribute, block: Block) -> None:
    """Remember that an attribute was deleted; one that is derived was merely missing."""
    if not gone.marks & DERIVED:
        row, at = entity.row, block.head.recorded_at
        block.past.append(Deletion(tenant=row.tenant, entity=row.id, attribute=key, kind=gone.kind, at=at))


def block_marks(entity: Working, key: str) -> int:
    """Marks that a derived value inherits, but for suspicion: what is computed from simulated values is so too."""
    assert entity.doc is not None
    assert entity.overlay is not None
    marks = 0
    for name in entity.overlay.derivations[key].columns:
        if (source := entity.doc.get(name)) is not None:
            marks |= source.marks
    return marks & ~(DERIVED | SUSPECT)


def types_of(row: EntityRow) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(row.types)) if row.types else (row.type,)


def scopes_of(row: EntityRow) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(row.scopes)) if row.scopes else ()


def _types(types: tuple[str, ...], scopes: tuple[str, ...]) -> str:
    return _ENCODER.encode(Attribute(value=[types, scopes])).decode()


def _failed(change: Change, error: HutongError) -> Changed:
    return Changed(id=change.id, error=error)
