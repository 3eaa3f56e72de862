"""A city with one pack made up for a test, under a clock that stands, on either store."""

import asyncio
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from litestar.testing import TestClient

from hutong.cli.runtime import Runtime, Settings, pack_format
from hutong.cli.web import web
from hutong.engines.sense.ports import Attribute, Change, Changed, ChangeEntities, HistoryQuery, Verb
from hutong.kernel.access import OPEN_ACTOR
from hutong.kernel.clock import FrozenClock
from hutong.kernel.errors import Fault
from hutong.kernel.ids import CountedIds
from hutong.kernel.packs import City, CityDeclaration, Faults, Pack, Packs
from hutong.kernel.packs.texts import Texts

DISTRICTS = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"code": "330106", "zh": "西湖", "en": "Xihu", "label": [120.1, 30.2]},
            "geometry": {"type": "Polygon", "coordinates": [[[120, 30], [120.2, 30], [120.2, 30.4], [120, 30]]]},
        }
    ],
}


def pack_of(files: Mapping[str, str]) -> Packs:
    """A pack of the name `made` of files as TOML."""
    kinds = pack_format().files
    read = {name: msgspec.convert(tomllib.loads(text), kinds[name]) for name, text in files.items()}
    texts: dict[str, Texts] = {"zh": {}, "en": {}}
    made = Pack(name="made", implements=(), sector="environment", path=Path("made"), files=read, texts=texts)
    return Packs({"made": made})


def faults_of(files: Mapping[str, str]) -> list[Fault]:
    """What is wrong with such a pack."""
    packs, faults = pack_of(files), Faults()
    for hook in pack_format().hooks:
        hook(packs, faults)
    return list(faults)


class Reckoned:
    """A running city with such a pack."""

    def __init__(
        self, files: Mapping[str, str], data: Path, at: str, store: str = "", zone: str = "Asia/Shanghai"
    ) -> None:
        self.clock = FrozenClock(at)
        declared = CityDeclaration(name="made", zh="城", en="City", code="330100", timezone=zone, packs=["made"])
        (data / "districts.geojson").write_bytes(msgspec.json.encode(DISTRICTS))
        city = City(declared=declared, departments={}, path=data)
        settings = Settings(data=data, store=store, open=True)
        self.runtime = Runtime(settings, pack_of(files), city, self.clock, CountedIds())
        self.runtime.start(beating=False)

    def tell(self, type_: str, id_: str, at: int | None, marks: int = 0, **values: Any) -> Changed:
        """Upsert a thing with values observed at an instant."""
        [changed] = self.tell_all([self.change(type_, id_, at, **values)], marks)
        assert changed.error is None, changed.error
        return changed

    @staticmethod
    def change(type_: str, id_: str, at: int | None, **values: Any) -> Change:
        attributes = {key: Attribute(value=value, observed_at=at) for key, value in values.items()}
        return Change(verb=Verb.APPEND, upsert=True, id=id_, types=(type_,), attributes=attributes)

    def tell_all(self, changes: list[Change], marks: int = 0) -> list[Changed]:
        found: list[Changed] = self.runtime.ask(ChangeEntities(changes=changes, marks=marks))
        return found

    def pulse(self, passed: int = 0) -> None:
        """Let time pass, and do what is due then."""
        self.clock.advance(passed)
        self.runtime.pulse()
        self.runtime.reckoning.pulse()

    def now(self, id_: str) -> dict[str, Attribute]:
        """The attributes of a thing as they stand; none when it does not exist."""
        row = self.runtime.stores.entities.get("", id_)
        return msgspec.json.decode(row.doc, type=dict[str, Attribute]) if row is not None else {}

    def version(self, id_: str) -> int:
        """How often a thing has changed."""
        row = self.runtime.stores.entities.get("", id_)
        return row.version if row is not None else 0

    def past(self, id_: str, attribute: str) -> list[tuple[int, Any]]:
        """All that history has of an attribute: instants and values, None where one was taken back."""
        query = HistoryQuery(entities=(id_,), attributes=(attribute,))
        return [
            (at, number if text is None else None)
            for at, number, text in self.runtime.stores.lake.read(query).select("at", "number", "text").iter_rows()
        ]

    def seen(self, id_: str, attribute: str) -> list[tuple[int, Any]]:
        """The history of an attribute as the engine shows it."""
        query = HistoryQuery(entities=(id_,), attributes=(attribute,))
        return list(asyncio.run(self.runtime.sense.history(OPEN_ACTOR, query)).select("at", "number").iter_rows())

    def page(self, path: str) -> str:
        """A page as anybody gets it, or the text of its part."""
        with TestClient(web(self.runtime)) as client:
            answer = client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.text

    def close(self) -> None:
        self.runtime.close()
