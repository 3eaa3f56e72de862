"""Old databases are read to their end and on, once, whatever their texts are written in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from hutong.connectors.feeds import Feed
from hutong.connectors.sql import source as sql_source
from hutong.kernel.errors import StorageFull
from hutong.kernel.packs import Packs
from tests.declared import declared
from tests.running import Town, until

ENTITIES = """
[entity.Gauge.property]
level = { type = "number" }
place = { type = "text" }
"""
SOURCE = """
[source.levels]
connector = "sql"
entity = "Gauge"
connection = "water"
every = "20 ms"
table = "readings"
key = ["n"]
id = "urn:gauge:{gauge}"
at = "taken"
zone = "Asia/Shanghai"
set = { level = "level", place = "place" }
"""


@pytest.fixture
def old(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE readings (n BIGINT, gauge TEXT, taken TIMESTAMP, level NUMERIC, place TEXT)")
        )
    yield engine
    engine.dispose()


def add(old: Engine, first: int, last: int, place: str = "桥") -> None:
    with old.begin() as connection:
        for n in range(first, last):
            values = {"n": n, "taken": f"2026-05-01 08:{n // 60:02}:{n % 60:02}", "level": n / 4, "place": place}
            connection.execute(text("INSERT INTO readings VALUES (:n, 'a', :taken, :level, :place)"), values)


def packs(source: str = SOURCE) -> Packs:
    return declared(entities=ENTITIES, sources=source)


def water(old: Engine) -> dict[str, dict[str, str]]:
    return {"water": {"url": old.url.render_as_string(hide_password=False)}}


def stored(town: Town) -> list[float]:
    return sorted(town.sensing.history.rows.filter(attribute="level")["number"])


def test_a_table_is_read_to_its_end_and_on_once_over_restarts(
    old: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_source, "PAGE_ROWS", 10)
    add(old, 0, 35)
    with Town(packs(), tmp_path / "town", water(old)) as town:
        until(lambda: len(stored(town)) >= 20)
    some = len(stored(town))
    add(old, 35, 50)
    with Town(packs(), tmp_path / "town", water(old)) as town:
        until(lambda: some + len(stored(town)) >= 50)
        add(old, 50, 52)
        until(lambda: some + len(stored(town)) >= 52)
        assert town.health("levels").stored == 52
        assert town.sensing.values("urn:gauge:a") == {"level": 51 / 4, "place": "桥"}


def test_a_page_that_was_stored_before_a_kill_is_not_stored_again(old: Engine, tmp_path: Path) -> None:
    add(old, 0, 10)
    town = Town(packs(), tmp_path / "town", water(old))

    saved: list[object] = []
    keep = Feed.save

    async def save_once(feed: Feed, position: object = None) -> None:
        saved.append(position)
        if len(saved) == 1:
            await keep(feed, position)
        else:
            raise StorageFull("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feed, "save", save_once)
        town.start()
        until(lambda: len(stored(town)) == 10)
        until(lambda: len(saved) > 1)
        town.stop()
    add(old, 10, 12)
    with Town(packs(), tmp_path / "town", water(old)) as again:
        until(lambda: len(stored(again)) == 2)


def test_rows_of_one_time_are_told_apart_by_a_second_key(
    old: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_source, "PAGE_ROWS", 2)
    with old.begin() as connection:
        for n in range(7):
            connection.execute(
                text("INSERT INTO readings VALUES (:n, :gauge, '2026-05-01 08:00:00', 1, 'x')"),
                {"n": n, "gauge": f"g{n}"},
            )
    with Town(packs(SOURCE.replace('["n"]', '["taken", "n"]')), tmp_path / "town", water(old)) as town:
        until(lambda: len(stored(town)) == 7)


def test_a_changed_table_is_told_as_such(old: Engine, tmp_path: Path) -> None:
    add(old, 0, 1)
    with Town(packs(), tmp_path / "town", water(old)) as town:
        until(lambda: stored(town) == [0])
        with old.begin() as connection:
            connection.execute(text("ALTER TABLE readings RENAME COLUMN level TO height"))
        until(lambda: "no column level" in town.health("levels").last_error)
        with old.begin() as connection:
            connection.execute(text("ALTER TABLE readings RENAME TO measurements"))
        until(lambda: "no table readings" in town.health("levels").last_error)


def test_texts_in_gb_18030_are_read_from_bytes(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE readings (n INTEGER, gauge TEXT, taken TEXT, level REAL, place TEXT)"))
        place = {"place": "西湖".encode("gb18030")}
        connection.execute(
            text("INSERT INTO readings VALUES (1, 'a', '2026-05-01 08:00', 1, CAST(:place AS TEXT))"), place
        )
    old = SOURCE + 'encoding = "gb18030"\n'
    with Town(packs(old), tmp_path / "town", water(engine)) as town:
        until(lambda: stored(town) == [1])
        assert town.sensing.values("urn:gauge:a")["place"] == "西湖"
    with Town(packs(), tmp_path / "other", water(engine)) as town:
        until(lambda: town.health("levels").state == "failing")
    engine.dispose()


def test_an_address_that_is_no_database_is_told(tmp_path: Path) -> None:
    with Town(packs(), tmp_path / "town", {"water": {"url": "oracle://me:s3cret@host/x"}}) as town:
        until(lambda: "no such kind of database: oracle" in town.health("levels").last_error)
        assert "s3cret" not in town.health("levels").last_error
