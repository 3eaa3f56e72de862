"""The present state in a database, as hashes that do not depend on which database it is."""

from collections.abc import Mapping

from hutong.engines.sense.rebuild import canonical
from hutong.kernel.clock import SystemClock
from hutong.store.sql.alerts import SqlAlerts
from hutong.store.sql.database import SqlDatabase
from hutong.store.sql.documents import SqlDocuments
from hutong.store.sql.entities import SqlEntities
from hutong.store.sql.past import SqlPast


def state_of(database: SqlDatabase) -> Mapping[str, str]:
    """SHA-256 of each kind of state, by its name."""
    return canonical(
        SqlEntities(database), SqlAlerts(database, SystemClock()), SqlDocuments(database), SqlPast(database)
    )
