"""Opening the Redis engine, its readiness checks, and closing it in order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from redis import exceptions

from agent_memory_server.errors import MemoryServerError, StoreUnavailable
from agent_memory_server.ports.stores import Check, Stores
from agent_memory_server.redis_addresses import Topology
from agent_memory_server.stores.redis import failures, naming
from agent_memory_server.stores.redis.access_tokens import RedisAccessTokens
from agent_memory_server.stores.redis.clock import RedisClock
from agent_memory_server.stores.redis.comparisons import RedisComparisons
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.holdings import RedisHoldings
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.jobs import RedisJobs
from agent_memory_server.stores.redis.journal import RedisJournal
from agent_memory_server.stores.redis.leases import RedisLeases
from agent_memory_server.stores.redis.ledger import RedisLedger
from agent_memory_server.stores.redis.memories_now import SearchedMemories
from agent_memory_server.stores.redis.migrating import begin_migration, wait_for_migration
from agent_memory_server.stores.redis.occupancy import QUEUE_NAME, SCHEMA_VERSION, State, occupied_by, usable_state
from agent_memory_server.stores.redis.outbox import RedisOutbox
from agent_memory_server.stores.redis.overviews import RedisOverviews
from agent_memory_server.stores.redis.purging import purge_files
from agent_memory_server.stores.redis.schedules import RedisSchedules
from agent_memory_server.stores.redis.suitability import await_suitable, evicting, unlogged
from agent_memory_server.stores.redis.summary_views import RedisSummaryViews
from agent_memory_server.stores.redis.webhooks import RedisWebhooks
from agent_memory_server.stores.redis.working_memory import RedisWorkingMemory
from agent_memory_server.stores.values import micros

_CHECK_LIMIT_S = 1.8


async def open_redis(
    url: str,
    *,
    now: Callable[[], datetime],
    strict: bool = False,
    queue_name: str = QUEUE_NAME,
    migrating: bool = False,
) -> Stores:
    """Connect, check that this Redis can hold our data, and prepare the search index.

    Where the reference server's data has to be carried over first, every call is refused until that is done; then, without
    another start, everything is served. ``migrating``: this is who carries it over.

    ``strict``: a write returns when Redis has it on disk (``WAITAOF 1 0``). ``queue_name``: whose keys may be there beside ours.
    Raises ConfigurationError (cannot be reached, wrong credentials, not a Redis, no search engine, too old, another
    application's), StoreTooNew, or StoreUnavailable; nothing is written then.
    """
    link = await linked(url, strict=strict)
    index = Index(link)
    token_key = b""
    try:
        if migrating:
            await begin_migration(link, queue_name=queue_name)
        if not migrating and await usable_state(link, queue_name=queue_name) is State.REFERENCE:
            link.barred = REFERENCE_DATA
        else:
            token_key = await _claimed(link)
            link.claimed = True
            await index.state()
    except BaseException:
        await link.close()
        raise
    memories = SearchedMemories(link, index, token_key=token_key)

    async def lift() -> None:
        memories.adopt(await _claimed(link))
        link.claimed = True
        link.barred = None
        await index.state()

    return Stores(
        engine=RedisEngine(link, index, now=now, waiting=wait_for_migration(link, lift) if link.barred else None),
        memories=memories,
        overviews=RedisOverviews(link, index, memories),
        working_memory=RedisWorkingMemory(link),
        outbox=RedisOutbox(link, now=now),
        journal=RedisJournal(link),
        leases=RedisLeases(link),
        jobs=RedisJobs(link),
        summary_views=RedisSummaryViews(link, index),
        schedules=RedisSchedules(link),
        comparisons=RedisComparisons(link, index),
        clock=RedisClock(link),
        webhooks=RedisWebhooks(link),
        access_tokens=RedisAccessTokens(link),
        holdings=RedisHoldings(link, index),
        ledger=RedisLedger(link),
    )


REFERENCE_DATA = (
    "This Redis holds the data of the reference server, which has to be carried over first: run agent-memory migrate-memories "
    "(--dry-run says what it would do; nothing of the old data is changed). This server then goes on by itself."
)


async def state_of(url: str, *, queue_name: str = QUEUE_NAME) -> State:
    """Whose data is there; changes nothing. Raises as ``open_redis`` does."""
    link = await linked(url)
    try:
        return (await occupied_by(link, queue_name=queue_name))[0]
    finally:
        await link.close()


async def run_id_of(url: str) -> str:
    """What tells one running Redis from every other. Raises as ``open_redis`` does."""
    link = await linked(url)
    try:
        return str((await link.raw("INFO", "server"))["run_id"])
    except exceptions.RedisError as error:
        raise failures.translated(error) from error
    finally:
        await link.close()


async def linked(url: str, *, strict: bool = False) -> Link:
    """A link to a Redis that can hold our data."""
    link = Link(url, strict=strict)
    try:
        await await_suitable(link)
    except BaseException:
        await link.close()
        raise
    return link


async def _claimed(link: Link) -> bytes:
    """The key of the token digests. Marks a database without our data as ours."""
    try:
        held = await link.raw("HGET", naming.FACTS, "token_key")
        if held is not None:
            return held
        await link.raw("HSETNX", naming.FACTS, "token_key", secrets.token_bytes(32))
        await link.raw("SET", naming.SCHEMA, SCHEMA_VERSION, "NX")
        return await link.raw("HGET", naming.FACTS, "token_key")
    except exceptions.RedisError as error:
        raise failures.translated(error) from error


class RedisEngine:
    """``ports.stores.Engine`` over one Redis."""

    def __init__(
        self, link: Link, index: Index, *, now: Callable[[], datetime], waiting: asyncio.Task[None] | None = None
    ) -> None:
        self._link = link
        self._index = index
        self._now = now
        self._waiting = waiting

    async def checks(self) -> tuple[Check, ...]:
        """A real read, a real (tiny) write, the search index, and settings of Redis that would lose data."""
        if self._link.barred is not None:
            return (Check(name="store-migration", ok=False, detail=self._link.barred),)
        return tuple(
            await asyncio.gather(
                self._checked("store-read", self._read),
                self._checked("store-write", self._write),
                self._checked("store-search", self._search),
                self._checked("store-memory", self._memory),
                self._checked("store-durability", self._durability),
            )
        )

    async def purge(self) -> str:
        """``ports.stores.Purges``: the append-only file and the snapshot are written anew."""
        return await purge_files(self._link)

    def describe(self) -> str:
        return self._link.address.describe()

    async def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
        await self._link.close()

    async def _checked(self, name: str, probe: Callable[[], Any]) -> Check:
        try:
            async with asyncio.timeout(_CHECK_LIMIT_S):
                problem, detail = await probe()
        except TimeoutError:
            return Check(name=name, ok=False, detail="Redis does not answer in time")
        except MemoryServerError as error:
            return Check(name=name, ok=False, detail=error.detail)
        return Check(name=name, ok=not problem, detail=problem or detail)

    async def _read(self) -> tuple[str, str]:
        if await self._link.read("GET", naming.SCHEMA) is None:
            return "the database was emptied while this server ran: restart the server", ""
        return "", "a read was answered"

    async def _write(self) -> tuple[str, str]:
        try:
            await self._link.write("SET", naming.PROBE, micros(self._now()))
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, exceptions.ReadOnlyError):
                raise
            return "this Redis is a read-only replica: name the master, or make it one (REPLICAOF NO ONE)", ""
        return "", "a write was committed"

    async def _search(self) -> tuple[str, str]:
        await self._index.ready()
        lost = await self._index.failures_noted()
        if lost:
            return (
                f"{lost} memories could not be indexed and are not found by searches: run agent-memory rebuild-index",
                "",
            )
        return "", "the search index is complete"

    async def _memory(self) -> tuple[str, str]:
        info = await self._link.read("INFO", "memory")
        problem = evicting(info)
        if problem:
            return problem, ""
        limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
        if limit and used > 0.95 * limit:
            return f"{used * 100 // limit} % of maxmemory is used: raise it, or writes will be refused (507)", ""
        return "", f"{used // (1024 * 1024)} MiB are used"

    async def _durability(self) -> tuple[str, str]:
        info = {**await self._link.read("INFO", "persistence"), **await self._link.read("INFO", "replication")}
        if self._link.strict and (problem := unlogged(info)):
            return problem, ""
        if int(info.get("aof_enabled", 0)) != 1:
            said = "the append-only file is off: what was written since the last snapshot is lost when Redis crashes"
        elif str(info.get("aof_last_write_status", "ok")) != "ok":
            return "Redis could not write its append-only file: look at its disk", ""
        else:
            said = "writes are confirmed on disk" if self._link.strict else "the append-only file is on"
        if int(info.get("connected_slaves", 0)) or self._link.address.topology is not Topology.SINGLE:
            said += "; replicas follow asynchronously: an automatic failover can lose the last writes"
        return "", said
