"""What the sense engine computes by itself, put together: rollups, quality, forecasts."""

import logging
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from hutong.engines.sense.compile import declared_types
from hutong.engines.sense.forecaster import Forecaster
from hutong.engines.sense.forecasts import compile_forecasts
from hutong.engines.sense.overlay import Overlay
from hutong.engines.sense.periods import Periods
from hutong.engines.sense.quality import Quality
from hutong.engines.sense.roller import Roller
from hutong.engines.sense.rollups import compile_rollups
from hutong.kernel.clock import SECOND, Clock
from hutong.kernel.errors import HutongError
from hutong.kernel.packs import City, Packs
from hutong.kernel.packs.faults import Faults
from hutong.kernel.writer import Writer
from hutong.store.lake.bulk import LakeBulk
from hutong.store.lake.history import LakeHistory
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.entities import SqlEntities
from hutong.store.sql.standing import SqlStanding

EVERY = 5 * SECOND
QUALITY_EVERY = 30 * SECOND

log = logging.getLogger(__name__)


class Reckoning:
    """Computes what is due. `pulse` is called often, from one thread at a time."""

    def __init__(
        self,
        packs: Packs,
        overlays: Mapping[str, Overlay],
        city: City | None,
        lake: LakeHistory,
        entities: SqlEntities,
        database: SqlDatabase,
        writer: Writer,
        clock: Clock,
    ) -> None:
        zone = ZoneInfo(city.declared.timezone if city is not None else "UTC")
        faults = Faults()
        types = declared_types(packs)
        self._clock = clock
        bulk, standing = LakeBulk(lake), SqlStanding(database)
        self.quality = Quality(overlays, bulk, entities, standing, writer, clock)
        self.roller = Roller(
            compile_rollups(packs, types, faults),
            overlays,
            bulk,
            entities,
            standing,
            writer,
            clock,
            lambda unit, width: Periods(unit, zone, width),
        )
        self.forecaster = Forecaster(
            compile_forecasts(packs, types, faults),
            bulk,
            entities,
            writer,
            clock,
            lambda unit, width: Periods(unit, zone, width),
        )
        faults.check()
        self._every: dict[Callable[[], object], int] = {
            self.roller.pulse: EVERY,
            self.quality.pulse: QUALITY_EVERY,
            self.forecaster.pulse: EVERY,
        }
        self._due: dict[Callable[[], object], int] = dict.fromkeys(self._every, 0)

    def pulse(self) -> None:
        """Do what is due. A fault is logged and tried again next time."""
        now = self._clock.now()
        for work, due in self._due.items():
            if now >= due:
                self._due[work] = now + self._every[work]
                try:
                    work()
                except HutongError as error:
                    log.warning("%s waits: %s", getattr(work, "__qualname__", work), error)

    def close(self) -> None:
        """Stop soon."""
        self.roller.close()
        self.quality.close()
        self.forecaster.close()
