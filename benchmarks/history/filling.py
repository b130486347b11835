"""One user's memories with a past: what is there, what was edited when, and a journal of many operations around it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import redis

from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Scope
from agent_memory_server.domain.records import Memory
from agent_memory_server.services.memories import MemoryPatch
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.journalling import operation_key, operations_key
from agent_memory_server.stores.redis.memory_keys import history_key
from agent_memory_server.stores.values import to_json
from benchmarks import texts
from benchmarks.engines import Engine
from benchmarks.processes import processor_exact_s

_BATCH = 500
_EDITS_AT_ONCE = 100
_TIMES = 5
"""How often each tenth memory is edited: many edits lie between now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A user and the moments to look back to, each with what changed since."""

    app: MemoryApp
    held: Engine
    user: str
    size: int
    moments: dict[str, datetime]

    def memory(self, number: int) -> Memory:
        return memory_of(self.user, number)

    def used_s(self) -> float:
        """Processor time of this process and of the Redis that the benchmark started."""
        return time.process_time() + (0.0 if self.held.pid is None else processor_exact_s(self.held.pid) or 0.0)


def memory_of(user: str, number: int) -> Memory:
    at = datetime.now(UTC)
    return Memory(
        id=f"m{number}",
        scope=Scope(DEFAULT_TENANT, None, user),
        text=texts.text(number),
        topics=(texts.topic(number),),
        created_at=at,
        updated_at=at,
        last_accessed=at,
    )


async def filled_with(app: MemoryApp, held: Engine, size: int) -> Filled:
    """So many memories: since the first moment each was edited, since the second a tenth five times, since the last one in a
    hundred."""
    user = f"user-{size}"
    for first in range(0, size, _BATCH):
        batch = [memory_of(user, number) for number in range(first, min(size, first + _BATCH))]
        await app.memories.create(ANONYMOUS, batch, deduplicate=False)
    moments = {"all": await _moment()}
    await _edit(app, user, range(size), 100_000)
    moments[f"10 %, {_TIMES} times"] = await _moment()
    for round_number in range(_TIMES):
        await _edit(app, user, range(0, size, 10), 200_000 + round_number * 20_000)
    moments["1 %"] = await _moment()
    await _edit(app, user, range(0, size, 100), 400_000)
    return Filled(app=app, held=held, user=user, size=size, moments=moments)


async def _moment() -> datetime:
    """One that no edit shares."""
    await asyncio.sleep(0.002)
    now = datetime.now(UTC)
    await asyncio.sleep(0.002)
    return now


async def _edit(app: MemoryApp, user: str, numbers: Iterable[int], shift: int) -> None:
    ahead = list(numbers)
    for first in range(0, len(ahead), _EDITS_AT_ONCE):
        await asyncio.gather(
            *(
                app.memories.edit(
                    ANONYMOUS,
                    memory_id=f"m{number}",
                    user_id=user,
                    patch=MemoryPatch(changes={"text": texts.text(number + shift)}),
                )
                for number in ahead[first : first + _EDITS_AT_ONCE]
            )
        )


def lengthen(held: Engine, operations: int) -> None:
    """Write operations of other owners until the journal has so many. The store is closed meanwhile."""
    if held.name == "redis":
        _lengthen_redis(held.storage_url, operations)
    else:
        _lengthen_sqlite(held.storage_url.removeprefix("sqlite:///"), operations)


def _lengthen_sqlite(path: str, operations: int) -> None:
    connection = sqlite3.connect(path)
    with connection:
        held, last_at = connection.execute("SELECT count(*), max(at) FROM operations").fetchone()
        connection.execute(
            "INSERT INTO operations (tenant_id, id, kind, actor, at, reason) "
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) "
            "SELECT 1, 'filler-' || n, 'edit', 'filler', ? - (? - n) * 1000, '' FROM n",
            (max(1, operations - held), last_at, operations),
        )
        connection.executemany(
            "INSERT INTO scopes (tenant_id, namespace, user_id) VALUES (1, NULL, ?)",
            [(f"filler-{number}",) for number in range(1000)],
        )
        connection.execute(
            "INSERT INTO entries (operation, change, part, scope_id, memory_id, effect, survivor, before) "
            "SELECT seq, 0, 0, 10 + seq % 900, 'filler-' || (seq % 100000), 'updated', '', '{}' FROM operations "
            "WHERE actor = 'filler'",
        )
    connection.close()


def _lengthen_redis(url: str, operations: int) -> None:
    with redis.Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType]
        listed = operations_key(DEFAULT_TENANT, "t")
        held: int = client.zcard(listed)  # pyright: ignore
        last: int = client.incrby(naming.SEQUENCE, operations)  # pyright: ignore
        for first in range(held, operations, 10_000):
            pipeline = client.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
            for number in range(first, min(first + 10_000, operations)):
                name, sequence = f"filler-{number}", last - operations + number
                told = [name, "edit", "filler", sequence, ""]
                document = to_json(
                    {"id": name, "kind": "edit", "actor": "filler", "at": sequence, "reason": "", "outcomes": [],
                     "entries": [[None, "filler", "updated", name, 0, 0]]}
                )  # fmt: skip
                handle = naming.handle_of(DEFAULT_TENANT, None, "filler", f"m{number % 100_000}")
                entry = to_json({"operation": told, "effect": "updated", "scrubbed": False, "before": None})
                pipeline.set(operation_key(DEFAULT_TENANT, name), document)
                pipeline.zadd(listed, {naming.digest(name): sequence})
                pipeline.hset(history_key(handle), f"{sequence}:0:0", entry)
            pipeline.execute()
