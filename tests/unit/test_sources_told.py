"""How sources fare is told to operators, as JSON, as metrics and on a page, and to nobody else."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hutong.cli.composition import Composition
from hutong.cli.proofs import harness
from hutong.cli.runtime import Settings, open_city, pack_format
from hutong.cli.web import web
from hutong.connectors.feeds import Health
from hutong.kernel.clock import FrozenClock, instant

read_metrics: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
NOW = "2026-05-01T00:00:00Z"
SOURCES = [
    Health(source="river.levels", connector="mqtt", entity="Gauge", state="running", received=3, stored=2, rejected=1),
    Health(source="river.old", connector="sql", entity="Gauge", state="failing", last_error="no column level"),
]


@pytest.fixture(params=[True, False], ids=["operator", "nobody"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[TestClient[Litestar], bool]]:
    composition = Composition(form=pack_format(), harness=harness)
    runtime = open_city(Settings(data=tmp_path, open=request.param), composition, FrozenClock(NOW))
    SOURCES[0].last_ok = instant(NOW)
    runtime.start(beating=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "sources", SimpleNamespace(health=SOURCES, close=lambda: None))
        with TestClient(web(runtime), raise_server_exceptions=False) as one:
            yield one, request.param
        runtime.close()


def test_sources_are_told_to_operators_only(client: tuple[TestClient[Litestar], bool]) -> None:
    one, operator = client
    answers = [one.get(path) for path in ("/api/v1/sources", "/metrics", "/en/operations/sources")]
    if not operator:
        assert [answer.status_code for answer in answers] == [401, 401, 401]
        return
    told, metrics, page = answers
    first, second = told.json()["sources"]
    assert (first["source"], first["last_ok"], second["last_error"]) == ("river.levels", NOW, "no column level")
    samples = {
        (sample.name, sample.labels.get("source")): sample.value
        for family in read_metrics(metrics.text)
        for sample in family.samples
    }
    assert samples["hutong_source_stored_total", "river.levels"] == 2
    assert samples["hutong_source_up", "river.old"] == 0
    assert page.text.index("river.old") < page.text.index("river.levels")
    assert "no column level" in page.text
