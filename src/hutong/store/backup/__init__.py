"""Backups: a city's data as of one moment, in a folder."""
