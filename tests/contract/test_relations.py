"""Relations tell what engines hold, as far as the reader may see it."""

import pytest

from hutong.engines.sense.relations import relations
from hutong.engines.sense.sight import Sight
from hutong.kernel.access import ANONYMOUS, SYSTEM, Access, QueuedAccessLog
from hutong.kernel.errors import AlreadyExists, NotFound
from hutong.kernel.expressions import compile_expression
from hutong.kernel.ids import CountedIds
from hutong.kernel.relations import Relations
from hutong.store.sql.access import SqlGrants
from tests.contract.core import NOON, Core


@pytest.fixture
def published(core: Core) -> Relations:
    access = Access(core.clock, CountedIds(), QueuedAccessLog(), SqlGrants(core.database))
    published = Relations()
    for relation in relations(core.overlays, core.entities, core.alerts, access, _sight(core, access)):
        published.publish(relation)
    return published


def _sight(core: Core, access: Access) -> Sight:
    return Sight(core.overlays, access, lambda _lon, _lat: "")


def test_things_are_rows_with_typed_columns(core: Core, published: Relations) -> None:
    core.observe("urn:tank:a", NOON, capacity=200.0, level=50.0, valve="open")
    core.observe("urn:tank:b", NOON, level=7.0)
    schema = published.schemas()["sense.Tank"]
    low = compile_expression("share < 0.5 or valve is null", schema, where="test:1")
    frame = published.read(ANONYMOUS, "sense.Tank", ("id", "level", "share", "valve"), low)
    assert frame.rows() == [("urn:tank:a", 50.0, 0.25, "open"), ("urn:tank:b", 7.0, None, None)]
    assert published.read(ANONYMOUS, "sense.Tank", ("id",), limit=1).height == 1


def test_alerts_are_rows(core: Core, published: Relations) -> None:
    core.observe("urn:tank:a", NOON, level=60.0)
    core.observe("urn:tank:a", NOON + 1_000_000, level=40.0)
    assert published.read(SYSTEM, "sense.alert", ("rule", "state")).rows() == [("leak", "firing")]


def test_unknown_names_are_told(published: Relations, core: Core) -> None:
    with pytest.raises(NotFound, match=r"sense\.Tank"):
        published.read(SYSTEM, "sense.Tonk")
    with pytest.raises(NotFound, match="colour"):
        published.read(SYSTEM, "sense.Tank", ("colour",))
    twice = next(relations(core.overlays, core.entities, core.alerts, None, None))  # type: ignore[arg-type]  # never read
    with pytest.raises(AlreadyExists):
        published.publish(twice)
