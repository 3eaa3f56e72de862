"""Whatever way it came, what no store can keep is refused by name; and no question goes on without end."""

import pytest
from sqlalchemy import text

from hutong.engines.sense.changes import ATTRIBUTES_MAX, OBSERVED_MIN
from hutong.engines.sense.ports import AlertQuery, Attribute, Change, EntityQuery, Verb
from hutong.kernel.clock import LATEST
from hutong.kernel.errors import TooLarge
from hutong.store.sql import database
from tests.contract.core import NOON, Core

GOOD = "urn:tank:good"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (Change(verb=Verb.CREATE, id="urn:tank:1", attributes={"name": Attribute(value="a\0b")}), "name"),
        (Change(verb=Verb.CREATE, id="urn:tank:" + "罐" * 2000), "id"),
        (Change(verb=Verb.CREATE, id="urn:tank:1", attributes={"valve": Attribute(value=[["open"]])}), "valve"),
        (Change(verb=Verb.CREATE, id="urn:tank:1", attributes={"level": Attribute(value=1e308, unit="MTQ")}), None),
        *(
            (
                Change(verb=Verb.CREATE, id="urn:tank:1", attributes={"level": Attribute(value=1, observed_at=at)}),
                "level.observedAt",
            )
            for at in (OBSERVED_MIN - 1, -(2**62), LATEST + 1, 2**62, NOON + 10**9)
        ),
    ],
)
def test_what_no_store_keeps_is_refused_and_its_neighbours_are_stored(
    core: Core, change: Change, where: str | None
) -> None:
    change.types = ("Tank",)
    good = Change(verb=Verb.CREATE, id=GOOD, types=("Tank",), attributes={"name": Attribute(value="good")})
    refused, stored = core.change(change, good)
    assert refused.error is not None
    assert where in (None, refused.error.fault.where)
    assert (stored.error, core.document(GOOD)["name"].value) == (None, "good")
    assert core.entities.get("", change.id) is None


def test_an_instance_of_a_dataset_is_checked_as_the_property_is(core: Core) -> None:
    for key in ("pressure@urn:d:1", "colour@urn:d:1"):
        change = Change(verb=Verb.CREATE, id=GOOD, types=("Tank",), attributes={key: Attribute(value=5000)})
        [outcome] = core.change(change)
        assert outcome.error is not None


def test_an_entity_grows_to_its_bound_and_no_further(core: Core) -> None:
    instances = {f"name@urn:d:{n}": Attribute(value="x") for n in range(ATTRIBUTES_MAX)}
    core.change(Change(verb=Verb.CREATE, id=GOOD, types=("Tank",), attributes=instances))
    [more] = core.change(Change(verb=Verb.APPEND, id=GOOD, attributes={"name": Attribute(value="x")}))
    [same] = core.change(Change(verb=Verb.APPEND, id=GOOD, attributes={"name@urn:d:1": Attribute(value="y")}))
    assert (more.error is None, same.error is None) == (False, True)


def test_a_question_can_be_narrowed_to_first_types_and_rules(core: Core) -> None:
    core.observe("urn:tank:1", NOON, level=100, capacity=100)
    core.minutes(11)
    core.observe("urn:tank:1", core.clock.now(), level=100)
    for names, count in ((None, 1), (("Other", "Tank"), 1), (("Other",), 0), ((), 0)):
        query = EntityQuery(first_types=names)
        assert (core.entities.count(query), len(core.entities.find(query))) == (count, count)
    for rules, count in ((None, 1), (("full", "leak"), 1), (("leak",), 0), ((), 0)):
        asked = AlertQuery(states=(), rules=rules)
        assert (core.alerts.count(asked), len(core.alerts.find(asked))) == (count, count)


def test_a_question_without_end_is_ended(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "QUESTION_S_MAX", 0.2)
    opened = database.SqlDatabase(database_url)
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n % 9 + 1 FROM c) SELECT max(n) FROM c"
    with pytest.raises(TooLarge, match="takes too long"):
        opened.query(text(endless))
    assert opened.query(text("SELECT 1"))[0][0] == 1
    opened.close()
