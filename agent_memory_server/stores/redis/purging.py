"""Having Redis write its files anew, so that neither the append-only file nor the snapshot holds what was deleted."""

from __future__ import annotations

import asyncio

from redis import exceptions

from agent_memory_server.errors import StoreUnavailable
from agent_memory_server.stores.redis import failures
from agent_memory_server.stores.redis.connections import Link

_LOOK_S = 0.2
_WAIT_S = 3_600.0


async def purge_files(link: Link) -> str:
    """Rewrite the append-only file, then the snapshot, and wait for the end of both. Raises StoreUnavailable with what to do."""
    try:
        await _started(link, "BGREWRITEAOF")
        await _ended(link, "aof_rewrite_in_progress", "aof_rewrite_scheduled")
        await _started(link, "BGSAVE")
        await _ended(link, "rdb_bgsave_in_progress")
        state = await link.raw("INFO", "persistence")
    except exceptions.NoPermissionError as error:
        raise StoreUnavailable(
            "this Redis user may not run BGREWRITEAOF and BGSAVE: run both as an administrator, or have your provider do it"
        ) from error
    except exceptions.RedisError as error:
        raise failures.translated(error) from error
    for name in ("aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        if state.get(name, "ok") != "ok":
            raise StoreUnavailable(f"Redis could not write its files anew ({name} is {state[name]}): see its log")
    return "Redis has written its append-only file and its snapshot anew; replicas, backups and old snapshots are yours to purge"


async def _started(link: Link, command: str) -> None:
    try:
        await link.raw(command)
    except exceptions.ResponseError as error:
        # One that is under way already began before what was deleted last: another follows it.
        if "progress" not in str(error).lower():
            raise
        await _ended(link, "rdb_bgsave_in_progress", "aof_rewrite_in_progress")
        await link.raw(command)


async def _ended(link: Link, *flags: str) -> None:
    async with asyncio.timeout(_WAIT_S):
        while True:
            state = await link.raw("INFO", "persistence")
            if not any(int(state.get(flag, 0)) for flag in flags):
                return
            await asyncio.sleep(_LOOK_S)
