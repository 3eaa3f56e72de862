"""The composition root: opens stores, builds engines, connects them, and closes them again."""

import asyncio
import gc
import logging
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from hutong.api.source_notices import SourceNotices
from hutong.cli.composition import Composition
from hutong.cli.folders import CITY_FILE, kept_city, lane_of, locked, usable
from hutong.cli.reckoning import Reckoning
from hutong.cli.sources import running_sources
from hutong.connectors.file_drop import FileDrop
from hutong.connectors.ground import Ground
from hutong.connectors.mapping import by_connector, compile_sources, entity_types
from hutong.connectors.mapping import check as check_sources
from hutong.connectors.mqtt import MqttSender
from hutong.connectors.plans import compile_simulations
from hutong.connectors.simulation import Simulations
from hutong.connectors.webhook import AddressGuard, WebhookSender
from hutong.engines.sense import declarations as sense_declarations
from hutong.engines.sense.amend import AmendHandler
from hutong.engines.sense.changes import Locate
from hutong.engines.sense.compile import check as check_sense
from hutong.engines.sense.compile import compile_types
from hutong.engines.sense.declarations import EntityDeclaration
from hutong.engines.sense.documents import DocumentHandler
from hutong.engines.sense.engine import SenseEngine
from hutong.engines.sense.followers import Followers
from hutong.engines.sense.handler import SenseHandler
from hutong.engines.sense.ports import AlertAction, ChangeEntities, Tick
from hutong.engines.sense.subscriptions import Remind, Subscriptions
from hutong.engines.sense.upkeep import Upkeep
from hutong.kernel.access import Access, Actor, QueuedAccessLog
from hutong.kernel.accounts import Accounts
from hutong.kernel.bookkeeping import Bookkeeper
from hutong.kernel.calendar import StateCouncilCalendar
from hutong.kernel.clock import MINUTE, Clock
from hutong.kernel.commands import Handler, Request
from hutong.kernel.deliveries import Deliveries
from hutong.kernel.dispatching import Dispatcher
from hutong.kernel.errors import DeclarationFaults, HutongError, NotAuthenticated, NotFound
from hutong.kernel.housekeeping import Housekeeper, Within
from hutong.kernel.ids import Ids, TimeOrderedIds
from hutong.kernel.ledger import Ledger
from hutong.kernel.mission import read_mission
from hutong.kernel.outbox import Outbox, OutboxHandler, Transport
from hutong.kernel.packs import City, PackFormat, Packs, changes, read_cities, read_packs, remembered
from hutong.kernel.packs.faults import Faults
from hutong.kernel.place import Districts
from hutong.kernel.reactors import Reactors
from hutong.kernel.relations import Relations
from hutong.kernel.tokens import Tokens
from hutong.kernel.transactions import Transaction
from hutong.kernel.writer import Writer
from hutong.portal.declarations import ViewsFile, check_views
from hutong.store.lake.history import LakeHistory
from hutong.store.sql.access import SqlAccessLog, SqlGrants, SqlTokens
from hutong.store.sql.accounts import SqlAccounts
from hutong.store.sql.alerts import SqlAlerts
from hutong.store.sql.bookmarks import SqlBookmarks
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.documents import SqlDocuments
from hutong.store.sql.entities import SqlEntities
from hutong.store.sql.ledger import SqlLedger
from hutong.store.sql.outbox import SqlOutbox
from hutong.store.sql.past import SqlPast

SWITCH_INTERVAL_S = 0.001
PULSE_S = 0.5
HISTORY_PAGE = 20_000
PACKS_SETTING = "packs"
GARBAGE_THRESHOLD = 200_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command line says."""

    data: Path
    city: str = ""
    store: str = ""
    open: bool = False
    demo: bool = False
    packs: tuple[Path, ...] = ()
    allow_notify: tuple[str, ...] = ()
    keep_history: bool = True  # of entities that are deleted
    history_makes_present: bool = False  # an entity of which history is told exists from then on
    history_page: int = HISTORY_PAGE  # about how many instances an answer of NGSI-LD holds


def check_simulations(packs: Packs, faults: Faults) -> None:
    """The hook of the loader for simulate.toml."""
    compile_simulations(packs, entity_types(packs), faults)


def pack_format() -> PackFormat:
    """What a pack may hold."""
    return PackFormat(
        files={**sense_declarations.FILES, "views.toml": ViewsFile},
        hooks=(check_sense, check_sources, check_simulations, check_views),
        mission=read_mission(),
    )


class Stores:
    """Everything that keeps something, opened for one process."""

    def __init__(self, settings: Settings, clock: Clock, ids: Ids) -> None:
        usable(settings.data)
        self._locked = locked(settings.data, "main")
        try:
            self.database = SqlDatabase(
                settings.store or f"sqlite:///{settings.data / 'hutong.db'}",
                lane=lane_of(settings.data) if settings.store else "main",
            )
        except BaseException:
            self._locked.close()
            raise
        self.ledger = SqlLedger(self.database)
        self.entities = SqlEntities(self.database)
        self.alerts = SqlAlerts(self.database, clock)
        self.documents = SqlDocuments(self.database)
        self.past = SqlPast(self.database)
        self.lake = LakeHistory(settings.data / "history", clock)
        self.access_entries = SqlAccessLog(self.database)
        self.access_log = QueuedAccessLog()
        self.access = Access(clock, ids, self.access_log, SqlGrants(self.database), open=settings.open)
        self.tokens = Tokens(self.access, SqlTokens(self.database), clock, ids)
        self.accounts = Accounts(SqlAccounts(self.database), clock, ids)
        self.outbox = Outbox(SqlOutbox(self.database))
        self.bookmarks = SqlBookmarks(self.database)

    def close(self) -> None:
        self.lake.close()
        self.database.close()
        self._locked.close()


class Runtime:
    """A running city: everything opened and connected. `start` begins its threads, `pulse` does what is due."""

    def __init__(self, settings: Settings, packs: Packs, city: City | None, clock: Clock, ids: Ids) -> None:
        self.settings, self.packs, self.city, self.clock, self.ids = settings, packs, city, clock, ids
        faults = Faults()
        self.overlays = compile_types(packs, faults)
        types = entity_types(packs)
        sources = compile_sources(packs, types, faults)
        faults.check()
        self.code = city.declared.code if city else ""
        self.followers = Followers()
        self.stores = stores = Stores(settings, clock, ids)
        self._remember_packs()
        locate = locate_in(city)
        self.kept = DocumentHandler(stores.documents, clock, self.code)
        self.subscriptions = Subscriptions(stores.documents, stores.outbox)
        self.source_notices = SourceNotices(stores.documents, stores.outbox, clock)
        self.kept.listeners += (self.subscriptions.heard, self.source_notices.heard)
        self.kept.reactions.append(self.source_notices.react)
        ledger = Ledger(stores.ledger, stores.database.lane)
        self.writer = Writer(
            stores.database, ledger, stores.ledger, clock, self._handlers(ids, locate), stores.outbox.committed
        )
        guard = AddressGuard(settings.allow_notify, loopback=settings.open)
        self.webhook = WebhookSender(guard)
        self.publisher = MqttSender(guard.address)
        self.transports: dict[str, Transport] = {}
        self.dispatcher = Dispatcher(
            stores.outbox,
            self.transports,
            self.writer,
            clock,
            holder=stores.database.lane,
            scatter=random.Random(ids.new()),
        )
        self.deliveries = Deliveries(stores.outbox.store, self.writer, stores.access)
        self.sense = SenseEngine(
            self.overlays,
            stores.entities,
            stores.alerts,
            stores.documents,
            stores.past,
            stores.lake,
            self.writer,
            stores.access,
            self.followers,
            locate,
            self.subscriptions,
            stores.outbox.store,
            self._as_now,
            settings.history_makes_present,
        )
        self.upkeep = self._upkeep()
        self.reckoning = Reckoning(
            packs, self.overlays, city, stores.lake, stores.entities, stores.database, self.writer, clock
        )
        self.relations = Relations()
        for relation in self.sense.relations():
            self.relations.publish(relation)
        self.reactors = Reactors((), stores.ledger, stores.ledger, self.writer)
        self.inbox = FileDrop(settings.data / "inbox", by_connector(sources, "file"), self.writer.submit, clock)
        self.sources = running_sources(settings.data, sources, self.writer, stores.bookmarks, clock, ids, guard.address)
        self.simulations = self._simulations(types) if settings.demo else None
        self._use_saved_at, self._stop = 0, threading.Event()
        self._beats = [
            threading.Thread(target=self._beat, args=(work,), name=work.__name__, daemon=True)
            for work in (self.pulse, self.upkeep.pulse_slowly, self.reckoning.pulse)
        ]

    def _upkeep(self) -> Upkeep:
        """What sensing does by itself."""
        return Upkeep(
            self.overlays,
            self.stores.lake,
            self.stores.entities,
            self.stores.alerts,
            self.stores.documents,
            self.stores.past,
            self.subscriptions,
            self.stores.ledger,
            self.stores.ledger,
            self.writer,
            self.clock,
            self.settings.data / "checkpoints",
            self.stores.database.snapshot,
            self.stores.database.size_bytes,
        )

    def _handlers(self, ids: Ids, locate: Locate) -> dict[type, Handler]:
        """Which engine handles which command."""
        stores = self.stores
        sense = SenseHandler(
            self.overlays,
            stores.entities,
            stores.alerts,
            stores.lake,
            self.clock,
            ids,
            city=self.code,
            undeclared=self.settings.open,
            locate=locate,
            published=self.followers.publish,
            subscriptions=self.subscriptions,
            past=stores.past,
            keep_history=self.settings.keep_history,
        )
        amend = AmendHandler(sense.changer, stores.entities, stores.past, stores.lake, self.clock, self.code)
        house = Housekeeper(stores.ledger, stores.ledger, self.clock, self.code)
        books = Bookkeeper(stores.accounts, self.clock, self.code)
        outgoing = OutboxHandler(stores.outbox, self.clock, self.code)
        handlers: dict[type, Handler] = dict.fromkeys((ChangeEntities, Tick, Remind, AlertAction), sense)
        handlers |= dict.fromkeys(amend.COMMANDS, amend)
        handlers |= dict.fromkeys(house.COMMANDS, house)
        handlers |= dict.fromkeys(books.COMMANDS, books)
        handlers |= dict.fromkeys(self.kept.COMMANDS, self.kept)
        handlers |= dict.fromkeys(outgoing.COMMANDS, outgoing)
        return handlers

    def start(self, beating: bool = True) -> None:
        """Begin to write; with `beating` also do by itself what `pulse` does."""
        self.writer.start()
        self.upkeep.recover()
        if beating:
            self.inbox.start()
            self.sources.start()
            if self.simulations is not None:
                self.simulations.start()
            for beat in self._beats:
                beat.start()

    def pulse(self) -> None:
        """Everything that is due now by the clock."""
        self.upkeep.pulse()
        self.source_notices.pulse(self.ask)
        self._save_access_log()

    def close(self) -> None:
        self._stop.set()
        self.reckoning.close()
        for beat in self._beats:
            if beat.is_alive():
                beat.join()
        self.inbox.close()
        self.sources.close()
        if self.simulations is not None:
            self.simulations.close()
        self.writer.close()
        self.dispatcher.close()
        self.deliveries.close()
        self.sense.close()
        self.stores.close()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send what is in the outbox, on this event loop, until the block is left."""
        running = asyncio.create_task(self.dispatcher.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            self.webhook.close()
            await self.publisher.close()

    def identify(self, authorization: str) -> Actor:
        """The actor behind an Authorization header."""
        if not authorization:
            return self.stores.access.nobody
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated(
                "only bearer tokens are understood",
                seen=scheme,
                allowed="Bearer",
                fix="send `Authorization: Bearer ht_…`",
            )
        return self.stores.tokens.verify(token.strip())

    def _as_now(self, actor: Actor) -> Actor:
        """An actor of the past as it stands now. Raises NotAuthenticated when no token speaks for it any more."""
        access = self.stores.access
        if access.open or actor.id == access.nobody.id:
            return access.nobody
        return access.holding(self.stores.tokens.actor(actor.id), actor.grants)

    def _remember_packs(self) -> None:
        """Refuse packs that changed so that stored values do not survive it; else remember them as they are now."""
        kept = msgspec.json.decode(self.stores.database.setting(PACKS_SETTING) or "{}")
        files = pack_format().files
        faults = [fault for pack in self.packs for fault in changes(kept.get(pack.name, {}), pack, files)]
        if faults:
            raise DeclarationFaults(faults)
        kept |= {pack.name: remembered(pack) for pack in self.packs}
        self.stores.database.keep_setting(PACKS_SETTING, msgspec.json.encode(kept).decode())

    def _simulations(self, types: Mapping[str, EntityDeclaration]) -> Simulations:
        geojson = self.city.districts() if self.city is not None else None
        ground = Ground(msgspec.json.decode(geojson)["features"]) if geojson is not None else None
        zone = ZoneInfo(self.city.declared.timezone) if self.city is not None else UTC
        faults = Faults()
        plans = compile_simulations(self.packs, types, faults)
        faults.check()
        return Simulations(plans, ground, zone, StateCouncilCalendar(), self.writer.submit, self.clock, self._latest)

    def _latest(self, id: str) -> int | None:
        row = self.stores.entities.get("", id)
        return row.observed_at if row is not None else None

    def _beat(self, work: Callable[[], None]) -> None:
        while not self._stop.wait(PULSE_S):
            try:
                work()
            except Exception:  # the next beat tries again; one fault must not stop all upkeep
                log.exception("upkeep failed")

    def _save_access_log(self) -> None:
        """Write what was looked at and denied, and when tokens were used."""
        entries = self.stores.access_log.take()

        def save(tx: Transaction) -> int:
            self.stores.access_entries.write(tx, entries)
            self.stores.tokens.save_use(tx)
            return len(entries)

        now = self.clock.now()
        if entries or (self.stores.tokens.used and now - self._use_saved_at >= MINUTE):
            self._use_saved_at = now
            try:
                self.ask(Within(kind="access.recorded" if entries else "", work=save))
            except HutongError:
                self.stores.access_log.give_back(entries)
                raise

    def ask(self, command: Any, actor: str = "system:hutong") -> Any:
        """Put a command to the writer and wait for its outcome."""
        return self.writer.submit(Request(command=command, actor=actor)).result()


def load(packs: Sequence[Path], composition: Composition) -> Packs:
    """All packs, packaged and given. Raises DeclarationFaults with everything wrong in them."""
    loaded, faults = read_packs([*composition.pack_roots, *packs], composition.form)
    faults.check()
    return loaded


def choose_city(name: str, packs: Packs, composition: Composition) -> City | None:
    """The city of that name, or the demonstration's when no name is given. Raises NotFound."""
    cities, faults = read_cities(composition.city_roots, packs)
    faults.check()
    if name and name not in cities:
        raise NotFound(
            "there is no such city",
            where="--city",
            seen=name,
            allowed=", ".join(cities),
            fix="name one of these, or add a folder for it",
        )
    return cities[name] if name else next((city for city in cities.values() if city.declared.demo), None)


def open_city(settings: Settings, composition: Composition, clock: Clock) -> Runtime:
    """A runtime with the packs that the city has on. Raises HutongError when something is wrong with them."""
    packs = load(settings.packs, composition)
    city = choose_city(kept_city(settings.data, settings.city), packs, composition)
    if city is not None:
        (usable(settings.data) / CITY_FILE).write_text(city.name)
        given, _ = read_packs(settings.packs, composition.form)
        packs = packs.only([*city.declared.packs, *given.by_name])
    return Runtime(settings, packs, city, clock, TimeOrderedIds(clock))


def tune() -> None:
    """Let the threads of this process take turns often, and the collector of cycles seldom."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 50, 100)


def locate_in(city: City | None) -> Locate:
    """A function that gives the administrative code of a longitude and latitude in the city; "" where unknown."""
    geojson = city.districts() if city is not None else None
    if geojson is None:
        return _nowhere
    return Districts.from_geojson(msgspec.json.decode(geojson)["features"], key="code").at


def _nowhere(_lon: float, _lat: float) -> str:
    return ""
