"""The history of observations: Delta tables on disk, read by DuckDB, and what is not yet in them, in memory."""

from hutong.store.lake.files import DataFile
from hutong.store.lake.history import LakeHistory, Recent
from hutong.store.lake.settings import LakeSettings
from hutong.store.lake.table import Sealed, Span

__all__ = ["DataFile", "LakeHistory", "LakeSettings", "Recent", "Sealed", "Span"]
