"""What is at a storage URL, found out without changing anything: before a transfer reads or writes there."""

from __future__ import annotations

import asyncio
from enum import Enum

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.redis_addresses import FORMS, names_redis, parse_address, without_credentials
from agent_memory_server.stores.opening import open_migrator, sqlite_path


class Occupant(Enum):
    NOBODY = "nobody"
    OURS = "ours"
    REFERENCE = "reference"
    """The reference server wrote there, and its data was not (all) carried over yet."""
    OTHERS = "others"


def checked_url(url: str, option: str) -> str:
    """The URL, if it names an engine of ours; else ConfigurationError that says what to write."""
    if names_redis(url):
        parse_address(url)
        return url
    if url.partition("://")[0].lower() == "sqlite":
        sqlite_path(url)
        return url
    raise ConfigurationError(
        f"{option} {without_credentials(url)!r} names no engine that this version has: write sqlite:////absolute/path.db, "
        f"sqlite:///relative/path.db or {FORMS}."
    )


def describe(url: str) -> str:
    """The place without credentials."""
    return parse_address(url).describe() if names_redis(url) else str(sqlite_path(url).absolute())


async def occupant_of(url: str, *, queue_name: str) -> Occupant:
    """Whose data is there. Raises ConfigurationError (cannot be reached, wrong credentials, too old …) and StoreTooNew."""
    if names_redis(url):
        from agent_memory_server.stores.redis.engine import state_of
        from agent_memory_server.stores.redis.occupancy import State

        found = await state_of(url, queue_name=queue_name)
        return {
            State.EMPTY: Occupant.NOBODY,
            State.OURS: Occupant.OURS,
            State.REFERENCE: Occupant.REFERENCE,
            State.FOREIGN: Occupant.OTHERS,
        }[found]
    path = sqlite_path(url)
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; name a file in it, such as memory.db.")
    if not path.exists() or await asyncio.to_thread(_size_of, url) == 0:
        return Occupant.NOBODY
    from agent_memory_server.stores.sqlite.migrating import refuse_foreign

    await asyncio.to_thread(refuse_foreign, path)
    await open_migrator(url).pending()
    return Occupant.OURS


def _size_of(url: str) -> int:
    return sqlite_path(url).stat().st_size


async def identity_of(url: str) -> str:
    """Equal for two URLs exactly when they lead to the same data, however they are written."""
    if names_redis(url):
        from agent_memory_server.stores.redis.engine import run_id_of

        return f"redis {await run_id_of(url)}/{parse_address(url).database}"
    return f"sqlite {await asyncio.to_thread(_resolved, url)}"


def _resolved(url: str) -> str:
    return str(sqlite_path(url).resolve())
