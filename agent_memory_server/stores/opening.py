"""Picking the engine by URL: the one place that knows which engines exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.migrator import Migrator
from agent_memory_server.ports.stores import Stores
from agent_memory_server.redis_addresses import FORMS, names_redis, without_credentials
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.migrator import SqliteMigrator


def sqlite_path(url: str) -> Path:
    """The file that ``sqlite:///relative``, ``sqlite:////absolute`` or ``sqlite:///abs`` (as written) names.

    ``sqlite:////var/x.db`` and ``sqlite:///var/x.db`` differ as in SQLAlchemy: four slashes are absolute, three are
    relative to the working directory. Raises ConfigurationError for any other form.
    """
    scheme, separator, rest = url.partition("://")
    if scheme.lower() != "sqlite" or not separator or not rest.startswith("/") or not rest[1:].strip():
        raise ConfigurationError(
            f"STORAGE_URL {without_credentials(url)!r} names no file: write sqlite:////absolute/path.db "
            "(four slashes) or sqlite:///relative/path.db (three)."
        )
    path = unquote(rest[1:])
    if "?" in rest or "#" in rest:
        raise ConfigurationError("STORAGE_URL takes no options after the path; percent-encode a ? or # in a file name.")
    if path.endswith("/"):
        raise ConfigurationError(f"STORAGE_URL {url!r} names a folder; name a file in it, such as memory.db.")
    return Path(path).expanduser()


async def open_stores(
    url: str, *, now: Callable[[], datetime], strict: bool = False, queue_name: str = "memory-server"
) -> Stores:
    """Open the engine that ``url`` names, bringing its schema up to date. ``strict``: Redis confirms each write from its disk,
    which the embedded engine always does. ``queue_name``: the queue whose keys may be in the same Redis.

    Raises ConfigurationError with a sentence that says what to change.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        return await open_sqlite(sqlite_path(url), now=now)
    if names_redis(url):
        # Only who uses it pays for loading its client.
        from agent_memory_server.stores.redis import open_redis

        return await open_redis(url, now=now, strict=strict, queue_name=queue_name)
    raise _unknown(url)


def open_migrator(url: str) -> Migrator:
    """The steps that bring the data at ``url`` up to date. Raises ConfigurationError with a sentence that says what to change."""
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        return SqliteMigrator(sqlite_path(url))
    if names_redis(url):
        from agent_memory_server.stores.redis.migrator import RedisMigrator

        return RedisMigrator(url)
    raise _unknown(url)


def _unknown(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"STORAGE_URL {without_credentials(url)!r} names no engine that this version has; "
        f"use sqlite:////absolute/path.db, sqlite:///relative/path.db or {FORMS}."
    )
