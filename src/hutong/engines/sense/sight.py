"""What an actor may see and touch of the sense engine, property by property; the access room decides."""

from collections.abc import Callable, Iterable, Mapping

import msgspec
import polars as pl

from hutong.engines.sense.changes import Locate, scopes_of, types_of
from hutong.engines.sense.geometry import positions
from hutong.engines.sense.history import Past
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.ports import (
    Alert,
    AlertQuery,
    AllOf,
    AnyOf,
    Attribute,
    ChangeEntities,
    Entity,
    EntityQuery,
    EntityRow,
    Filter,
    HistoryQuery,
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

    def alerts(self, actor: Actor, alerts: Iterable[Alert], what: str) -> list[Alert]:
        """Alerts whose rules read nothing that the actor may not see. A look at what is not open is recorded."""
        seen = []
        highest = Grade.OPEN
        for one in alerts:
            overlay = self._overlays.get(one.type)
            grade = overlay.rule_grades.get(one.rule, Grade.CLOSED) if overlay is not None else Grade.CLOSED
            if self._access.visible(actor, grade, one.place, one.type):
                highest = max(highest, grade)
                seen.append(one)
        self._record(actor, highest, what)
        return seen

    def may_know(self, actor: Actor, past: Past) -> bool:
        """Whether the actor may see anything at all of an entity that is there or was."""
        return self._access.visible(actor, self.least(past.type), past.place, past.type)

    def may_see(self, actor: Actor, past: Past, key: str) -> bool:
        """Whether the actor may see an attribute of an entity that is there or was."""
        return self._access.visible(actor, self._grade(past.type, key), past.place, past.type)

    def history(
        self, actor: Actor, frame: pl.DataFrame, rows: Mapping[str, EntityRow | Past], what: str
    ) -> pl.DataFrame:
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

    def narrow(self, actor: Actor, query: EntityQuery) -> EntityQuery:
        """The question over what the actor may ask about: neither its answer nor its count tells of anything else.

        Raises AccessDenied where it asks by a property that the actor may see of none of the types in question.
        """
        self._access.require(actor, "sense.read", tenant=query.tenant)
        if self._access.visible(actor, Grade.CLOSED):
            return query
        asked = {*query.attributes, *(_names(query.where) if query.where is not None else ())}
        if query.geo is not None:
            asked.add(query.geo.attribute)
        selected = (query.types, *(one.types for one in query.selectors))
        meant = {name for types in selected for together in types for name in together}
        answering = {name: one for name, one in self._overlays.items() if self._somewhere(actor, one.least, name)}
        for key in asked:
            may = {
                name
                for name, one in answering.items()
                if key in one.checks and self._access.visible(actor, one.checks[key].grade, type=name)
            }
            if not (may & meant if meant else may):
                raise AccessDenied(
                    "you may not ask by this property", where="q", seen=key, fix="ask by open properties, or log in"
                )
            answering = {name: one for name, one in answering.items() if name in may or key not in one.checks}
        return msgspec.structs.replace(query, first_types=tuple(answering))

    def narrow_alerts(self, actor: Actor, query: AlertQuery) -> AlertQuery:
        """The question over alerts whose rules read nothing that the actor may not see."""
        self._access.require(actor, "sense.read", tenant=query.tenant)
        if self._access.visible(actor, Grade.CLOSED):
            return query
        rules = tuple(
            rule
            for name, overlay in self._overlays.items()
            for rule, grade in overlay.rule_grades.items()
            if self._somewhere(actor, grade, name)
        )
        return msgspec.structs.replace(query, rules=rules)

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

    def sees(self, actor: Actor, row: EntityRow, key: str) -> bool:
        """Whether the actor may see an attribute of such an entity."""
        return self._access.visible(actor, self._grade(row.type, key), row.place, row.type)

    def settled(self, query: HistoryQuery, things: Iterable[EntityRow | Past]) -> HistoryQuery:
        """The question, where Hutong computes values of these things, about them as they stand after corrections."""
        kinds = {thing.type for thing in things}
        computed = any(kind in self._overlays and self._overlays[kind].computed for kind in kinds)
        return msgspec.structs.replace(query, settled=True) if computed else query

    def least(self, type_: str) -> Grade:
        """The grade of a type's most open property; undeclared types are closed."""
        overlay = self._overlays.get(type_)
        return overlay.least if overlay is not None else Grade.CLOSED

    def sees_any(self, actor: Actor, type_: str) -> bool:
        """Whether the actor may see anything of things of this type in any place at all."""
        return self._somewhere(actor, self.least(type_), type_)

    def somewhere(self, actor: Actor, type_: str, attribute: str) -> bool:
        """Whether the actor may see this attribute of things of this type in any place at all."""
        return self._somewhere(actor, self._grade(type_, attribute), type_)

    def _somewhere(self, actor: Actor, grade: Grade, type_: str) -> bool:
        """Whether the actor may see what is so graded in any place at all."""
        places = {actor.place, *(grant.place for grant in actor.grants)}
        return any(self._access.visible(actor, grade, place, type_) for place in places)

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
        value = location.value if location is not None else None
        points = list(positions(value["coordinates"])) if isinstance(value, dict) else []
        return self._locate(*points[0][:2]) if points else ""


def _entity(row: EntityRow, attributes: dict[str, Attribute]) -> Entity:
    """The entity with these attributes; without its location among them it is nowhere."""
    placed = "location" in attributes
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
        place=row.place if placed else "",
        lon=row.lon if placed else None,
        lat=row.lat if placed else None,
        source=row.source,
    )


def _names(where: Filter) -> set[str]:
    """Every attribute that a filter looks at."""
    if isinstance(where, AllOf | AnyOf):
        return {name for part in where.parts for name in _names(part)}
    return {where.path[0]}
