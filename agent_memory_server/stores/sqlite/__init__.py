"""The embedded engine: one SQLite file, safe with several processes on it."""

from agent_memory_server.stores.sqlite.engine import open_sqlite

__all__ = ["open_sqlite"]
