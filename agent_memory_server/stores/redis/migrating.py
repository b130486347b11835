"""A database in which the reference server's data is carried over in place: barred from the beginning until it is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from redis import exceptions

from agent_memory_server.errors import MemoryServerError
from agent_memory_server.stores.redis import failures, naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.occupancy import State, occupied_by

_LOOK_EVERY_S = 1.0

_log = structlog.stdlib.get_logger(__name__)


async def begin_migration(link: Link, *, queue_name: str) -> None:
    """Bar a database that holds nothing of ours yet: before anything is written that makes it look like ours."""
    state, _ = await occupied_by(link, queue_name=queue_name)
    if state is State.OURS:
        return  # carried over before: what changed since is carried beside live traffic
    try:
        await link.raw("SET", naming.MIGRATING, 1)
    except exceptions.RedisError as error:
        raise failures.translated(error) from error


async def finish_migration(url: str) -> None:
    """Everything is here: who waits is served from now on."""
    link = Link(url)
    try:
        await link.raw("DEL", naming.MIGRATING)
    except exceptions.RedisError as error:
        raise failures.translated(error) from error
    finally:
        await link.close()


def wait_for_migration(link: Link, lift: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Look every second whether the migration is complete, and lift the bar then. The task is its owner's to cancel."""
    return asyncio.create_task(_wait(link, lift), name="waiting for the migration")


async def _wait(link: Link, lift: Callable[[], Awaitable[None]]) -> None:
    barred = link.barred
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            schema, migrating = await link.raw("GET", naming.SCHEMA), await link.raw("EXISTS", naming.MIGRATING)
            if schema is None or migrating:
                continue
            await lift()
        except (MemoryServerError, exceptions.RedisError, OSError) as error:
            link.barred = barred
            _log.warning("waiting for the migration", reason=type(error).__name__)
            continue
        _log.info("the reference server's data was carried over: serving")
        return
