"""Whose data a database holds, found out before anything is written to it."""

from __future__ import annotations

from enum import Enum

from redis import exceptions

from agent_memory_server.errors import ConfigurationError, StoreTooNew
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link

SCHEMA_VERSION = 1
QUEUE_NAME = "memory-server"
_KEYS_A_STEP = 5_000


class State(Enum):
    """Whose data is in a database."""

    EMPTY = "empty"
    """Nobody's, but for the queue that server and workers share."""
    OURS = "ours"
    REFERENCE = "reference"
    """The reference server wrote here, and its data was not (all) carried over yet."""
    FOREIGN = "foreign"
    """Another application wrote here and we did not."""


async def occupied_by(link: Link, *, queue_name: str = QUEUE_NAME) -> tuple[State, str]:
    """Whose data is there, with a key of theirs as an example when it is another application's.

    Looks at every key, once, when ours are absent. Raises StoreTooNew for data of a newer version.
    """
    place = link.address.describe()
    try:
        held = await link.raw("GET", naming.SCHEMA)
        if held is not None:
            _check_version(held, place)
            return State.REFERENCE if await link.raw("EXISTS", naming.MIGRATING) else State.OURS, ""
        if any(name in naming.REFERENCE_INDEXES for name in await link.raw("FT._LIST")):
            return State.REFERENCE, ""
        return await _scanned(link, _expected(queue_name))
    except (exceptions.RedisError, OSError) as error:
        raise ConfigurationError(f"Redis at {place} stopped answering while it was checked.") from error


async def _scanned(link: Link, expected: tuple[bytes, ...]) -> tuple[State, str]:
    foreign = ""
    for server in await link.servers():
        cursor = 0
        while True:
            cursor, keys = await link.raw_at(server, "SCAN", cursor, "COUNT", _KEYS_A_STEP)
            for key in keys:
                if key.startswith(naming.REFERENCE_PREFIXES):
                    return State.REFERENCE, ""
                if not foreign and not key.startswith(expected):
                    foreign = key[:80].decode(errors="replace")
            if int(cursor) == 0:
                break
    return (State.FOREIGN if foreign else State.EMPTY), foreign


def _expected(queue_name: str) -> tuple[bytes, ...]:
    """How keys of our own and of the queue begin."""
    return naming.PREFIX.encode(), f"{queue_name}:".encode(), f"{{{queue_name}}}:".encode()


async def usable_state(link: Link, *, queue_name: str) -> State:
    """``occupied_by``, refusing what another application uses unless the URL allows it."""
    state, example = await occupied_by(link, queue_name=queue_name)
    if state is not State.FOREIGN or link.address.shared:
        return state
    raise ConfigurationError(
        f"Redis at {link.address.describe()} holds keys of another application ({example!r} for one): who flushes or evicts them "
        "takes memories along. Use a Redis of its own, or add ?shared=true to the URL if that is what you want. Nothing was "
        "written. (The reference server's keys under prefixes of your own look the same: see agent-memory migrate-memories.)"
    )


def _check_version(held: bytes, place: str) -> None:
    if not held.isdigit() or int(held) > SCHEMA_VERSION:
        raise StoreTooNew(
            f"The data in Redis at {place} was written by a newer version (layout {held.decode(errors='replace')}, "
            f"this one knows {SCHEMA_VERSION}): start that version again, or use another database."
        )
