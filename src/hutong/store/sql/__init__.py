"""Ledger, state and records in SQL: SQLite by default, PostgreSQL when bigger; one SQLAlchemy Core code."""
