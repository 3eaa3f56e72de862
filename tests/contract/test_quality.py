"""Quality of data on both stores: fresh, complete, valid, by property and by source, with history and alerts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hutong.engines.sense.ports import AlertQuery, ChangeEntities
from hutong.kernel.clock import DAY, HOUR, MINUTE, instant
from tests.reckoned import Reckoned, faults_of

FILES = {
    "entities.toml": """
[entity.Station]
grade = "open"
quality = { expected_every = "1 h", window = "4 h" }
[entity.Station.property]
pm25 = { type = "number", unit = "GQ", min = 0, max = 1000 }
o3 = { type = "number", unit = "GQ" }
""",
    "alerts.toml": """
[alert.incomplete]
on = "DataQualityAssessment"
when = "ofType = 'Station' and ofProperty = 'pm25' and completeness < 0.5"
""",
}
NOON = instant("2026-05-01T12:00:00+08:00")
PM25, O3 = (f"urn:ngsi-ld:DataQualityAssessment:Station:{key}" for key in ("pm25", "o3"))
FEED = "urn:ngsi-ld:DataQualityAssessment:Station:source:feed"


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[Reckoned]:
    city = Reckoned(FILES, tmp_path, "2026-05-01T12:00:00+08:00", database_url)
    changes = [
        city.change("Station", f"urn:ngsi-ld:Station:{name}", NOON - hour * HOUR, pm25=value)
        for name, values in (("a", {3: 10.0, 2: 2000.0, 1: 10.0, 0: 10.0}), ("b", {1: 10.0, 0: 10.0}))
        for hour, value in values.items()
    ]
    city.runtime.ask(ChangeEntities(changes=changes, source="feed"))
    city.tell("Station", "urn:ngsi-ld:Station:a", NOON, o3=1.0)
    city.pulse(MINUTE)
    yield city
    city.close()


def test_each_property_has_its_freshness_completeness_and_validity(made: Reckoned) -> None:
    pm25 = made.now(PM25)
    assert (pm25["received"].value, pm25["expected"].value, pm25["completeness"].value) == (6, 8, 0.75)
    assert pm25["validity"].value == pytest.approx(5 / 6)
    assert (pm25["freshness"].value, pm25["silentThings"].value) == (0.0, 0)
    assert made.now(O3)["completeness"].value == 0.25


def test_a_silent_source_and_property_go_stale_and_keep_their_history(made: Reckoned) -> None:
    made.pulse(10 * HOUR)
    pm25, feed = made.now(PM25), made.now(FEED)
    assert (pm25["completeness"].value, pm25["freshness"].value, pm25["silentThings"].value) == (0.0, 36000.0, 2)
    assert "validity" not in pm25
    assert (feed["completeness"].value, feed["freshness"].value, feed["ofSource"].value) == (0.0, 36000.0, "feed")
    assert [value for _, value in made.past(PM25, "completeness")] == [0.75, 0.0]


def test_packs_alert_on_quality(made: Reckoned) -> None:
    made.pulse(DAY)
    [alert] = made.runtime.stores.alerts.find(AlertQuery())
    assert (alert.rule, alert.entity, alert.live) == ("made.incomplete", PM25, 1)


def test_the_platform_page_tells_it_in_both_languages(made: Reckoned) -> None:
    for path, heading, completeness in (
        ("/zh/platforms/made", "数据质量", "75%"),
        ("/en/platforms/made", "Data quality", "75%"),
    ):
        page = made.page(path)
        assert heading in page
        assert completeness in page


def test_a_second_assessment_of_one_instant_changes_nothing(made: Reckoned) -> None:
    version = made.version(PM25)
    made.runtime.reckoning.quality.forget()
    made.pulse(MINUTE)
    assert made.version(PM25) == version


def test_unknown_properties_are_told() -> None:
    text = FILES["entities.toml"].replace('window = "4 h"', 'properties = ["pm10"]')
    assert [fault.code for fault in faults_of({"entities.toml": text})] == ["unknown-property"]
