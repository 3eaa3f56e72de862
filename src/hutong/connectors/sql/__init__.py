"""Databases of others, read on and on."""

from hutong.connectors.sql.source import SqlSource

__all__ = ["SqlSource"]
