"""The reference server's queue: tasks in it that only its own worker can finish, because they hold records of its classes.

Such a task may be a memory that was acknowledged and is stored nowhere else. A worker of ours that met one would stop, and stop
again whenever it is started, so nobody is served before the queue is free of them.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis import exceptions

from agent_memory_server.stores.redis import failures
from agent_memory_server.stores.redis.connections import Link

_CLASSES = b"agent_memory_server.models"
"""Stands in every pickle of the reference's own records. Nothing is ever unpickled here: that would run code."""
_ENTRIES_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class HeldTask:
    """``entry`` is its place in the stream; empty for one that is parked in a hash of its own."""

    key: str
    entry: str
    function: str
    arguments: bytes


async def held_tasks(link: Link, queue_name: str) -> Sequence[HeldTask]:
    """Those that hold records, the oldest first."""
    try:
        return [task async for task in _walk(link, queue_name)]
    except (exceptions.RedisError, OSError) as error:
        raise failures.translated(error) from error


async def discard(link: Link, tasks: Sequence[HeldTask]) -> None:
    """Take them out of the queue."""
    try:
        for server in await link.servers():
            for task in tasks:
                try:
                    if task.entry:
                        await link.raw_at(server, "XACK", task.key, "docket-workers", task.entry)
                        await link.raw_at(server, "XDEL", task.key, task.entry)
                    else:
                        await link.raw_at(server, "UNLINK", task.key)
                except exceptions.MovedError:
                    continue
    except (exceptions.RedisError, OSError) as error:
        raise failures.translated(error) from error


def told_of(task: HeldTask) -> dict[str, Any]:
    """What the quarantine report says of a task that is discarded: everything."""
    return {"function": task.function, "arguments_base64": base64.b64encode(task.arguments).decode()}


async def _walk(link: Link, queue_name: str) -> AsyncIterator[HeldTask]:
    for server in await link.servers():
        for prefix in (f"{queue_name}:", f"{{{queue_name}}}:"):
            cursor: Any = 0
            while True:
                cursor, keys = await link.raw_at(server, "SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 2_000)
                for key in sorted(keys):
                    async for task in _of_key(link, server, key):
                        yield task
                if int(cursor) == 0:
                    break


async def _of_key(link: Link, server: Any, key: bytes) -> AsyncIterator[HeldTask]:
    kind = await link.raw_at(server, "TYPE", key)
    name = key.decode(errors="replace")
    if kind in (b"hash", "hash"):
        function, args, kwargs = await link.raw_at(server, "HMGET", key, "function", "args", "kwargs")
        arguments = (args or b"") + (kwargs or b"")
        if _CLASSES in arguments:
            yield HeldTask(name, "", (function or b"").decode(errors="replace"), arguments)
    if kind not in (b"stream", "stream"):
        return
    start = "-"
    while True:
        entries = await link.raw_at(server, "XRANGE", key, start, "+", "COUNT", _ENTRIES_AT_ONCE)
        for entry, fields in entries:
            held = cast(dict[bytes, bytes], fields)
            arguments = held.get(b"args", b"") + held.get(b"kwargs", b"")
            if _CLASSES in arguments:
                function = held.get(b"function", b"").decode(errors="replace")
                yield HeldTask(name, entry.decode(), function, arguments)
        if len(entries) < _ENTRIES_AT_ONCE:
            return
        start = f"({entries[-1][0].decode()}"
