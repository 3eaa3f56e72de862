"""Hutong: one open platform on which a city runs its Internet+ programme."""

__version__ = "0.1.0"
