"""What an actor may see and touch of the sense engine, property by property; the access room decides."""

from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec
import polars as pl

from hutong.engines.sense.changes import Locate, positions, scopes_of, types_of
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.ports import (
    Alert,
    AllOf,
    AnyOf,
    Attribute,
    ChangeEntities,
    Entity,
    EntityQuery,
    EntityRow,
    Filter,
)
from hutong.kernel.access import Access, Actor, Grade
from hutong.kernel.errors import AccessDenied

_DOC = msgspec.json.Decoder(dict[str, Attribute])


class Sight:
    """Filters what is read, and refuses questions and changes that go too far."""

    def __init__(self, overlays: Mapping[str, Overlay], access: Access, locate: Locate) -> None:
        self._overlays, self._access, self._locate = overlays, access, locate

    def entities(self, actor: Actor, rows: Iterable[EntityRow], what: str) -> list[Entity]:
        """The rows as the actor may see them. A look at what is not open is recorded under `what`."""
        seen = []
        highest = Grade.OPEN
        for row in rows:
            attributes, grade = self._visible(actor, row)
            if attributes is not None:
                highest = max(highest, grade)
                seen.append(_entity(row, attributes))
        self._record(actor, highest, what)
        return seen

    def alerts(self, actor: Actor, alerts: Iterable[Alert]) -> list[Alert]:
        """Alerts of types of which the actor may see anything."""
        return [one for one in alerts if self._access.visible(actor, self.least(one.type), one.place, one.type)]

    def history(self, actor: Actor, frame: pl.DataFrame, rows: Mapping[str, EntityRow], what: str) -> pl.DataFrame:
        """Rows of a frame with columns entity and attribute that the actor may see; `rows` are the entities now."""
        if self._access.open:
            return frame
        pairs = frame.select("entity", "attribute").unique()
        kept, highest = [], Grade.OPEN
        for id_, attribute in pairs.iter_rows():
            row = rows.get(id_)
            grade = self._grade(row.type if row else "", attribute)
            if self._access.visible(actor, grade, row.place if row else "", row.type if row else ""):
                kept.append((id_, attribute))
                highest = max(highest, grade)
        self._record(actor, highest, what)
        if len(kept) == pairs.height:
            return frame
        shown = pl.DataFrame(kept, schema={"entity": pl.String, "attribute": pl.String}, orient="row")
        return frame.join(shown, on=["entity", "attribute"], how="semi")

    def check(self, actor: Actor, query: EntityQuery) -> None:
        """A question must not tell of what its answer may not show. Raises AccessDenied."""
        self._access.require(actor, "sense.read", tenant=query.tenant)
        if self._access.visible(actor, Grade.CLOSED):
            return
        asked = {*query.attributes, *(_names(query.where) if query.where is not None else ())}
        if query.geo is not None:
            asked.add(query.geo.attribute)
        for name in asked:
            grades = [overlay.checks[name].grade for overlay in self._overlays.values() if name in overlay.checks]
            if not grades or not self._access.visible(actor, max(grades)):
                raise AccessDenied(
                    "you may not ask by this property", where="q", seen=name, fix="ask by open properties, or log in"
                )

    def check_change(self, actor: Actor, command: ChangeEntities, stored: Callable[[str], EntityRow | None]) -> None:
        """Ask for every type and place that changes touch, by what they say and by what is stored."""
        wanted: set[tuple[frozenset[str], str]] = set()
        if actor.place or actor.types:
            for change in command.changes:
                row = stored(change.id)
                types = frozenset((*change.types, *(types_of(row) if row is not None else ())))
                if row is not None:
                    wanted.add((types, row.place))
                location = change.attributes.get("location")
                if row is None or location is not None:
                    wanted.add((types, self._place(location)))
        else:
            wanted.add((frozenset(name for change in command.changes for name in change.types), ""))
        for types, place in wanted:
            self._access.require(
                actor, "sense.write", types=types, place=place, tenant=command.tenant, source=command.source
            )

    def least(self, type_: str) -> Grade:
        """The grade of a type's most open property; undeclared types are closed."""
        overlay = self._overlays.get(type_)
        grades: Collection[Grade] = [check.grade for check in overlay.checks.values()] if overlay else ()
        return min(grades, default=Grade.CLOSED)

    def _visible(self, actor: Actor, row: EntityRow) -> tuple[dict[str, Attribute] | None, Grade]:
        """The attributes that may be seen and the highest grade among them; None when nothing is left to see."""
        attributes = _DOC.decode(row.doc)
        overlay = self._overlays.get(row.type)
        if self._access.open or (overlay is not None and not overlay.guarded and attributes.keys() <= overlay.names):
            return attributes, Grade.OPEN
        grades = {key: self._grade(row.type, key) for key in attributes}
        visible = {
            key: attributes[key]
            for key, grade in grades.items()
            if self._access.visible(actor, grade, row.place, row.type)
        }
        if not visible and (attributes or self.least(row.type) > self._access.clearance(actor)):
            return None, Grade.OPEN
        return visible, max((grades[key] for key in visible), default=Grade.OPEN)

    def _grade(self, type_: str, key: str) -> Grade:
        overlay = self._overlays.get(type_)
        check = overlay.checks.get(key.partition("@")[0]) if overlay is not None else None
        return check.grade if check is not None else Grade.CLOSED

    def _record(self, actor: Actor, grade: Grade, what: str) -> None:
        if grade > Grade.OPEN and not self._access.open:
            self._access.looked(actor, "sense.read", grade, what)

    def _place(self, location: Attribute | None) -> str:
        points = list(positions(location.value["coordinates"])) if location is not None and location.value else []
        return self._locate(*points[0][:2]) if points else ""


def _entity(row: EntityRow, attributes: dict[str, Attribute]) -> Entity:
    return Entity(
        id=row.id,
        types=types_of(row),
        attributes=attributes,
        scopes=scopes_of(row),
        created_at=row.created_at,
        modified_at=row.modified_at,
        observed_at=row.observed_at,
        version=row.version,
        city=row.city,
        place=row.place,
        lon=row.lon,
        lat=row.lat,
        source=row.source,
    )


def _names(where: Filter) -> set[str]:
    """Every attribute that a filter looks at."""
    if isinstance(where, AllOf | AnyOf):
        return {name for part in where.parts for name in _names(part)}
    return {where.path[0]}
