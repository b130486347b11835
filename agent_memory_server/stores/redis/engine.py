"""Opening the Redis engine, its readiness checks, and closing it in order."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any

from redis import exceptions

from agent_memory_server.errors import ConfigurationError, MemoryServerError, StoreTooNew
from agent_memory_server.ports.stores import Check, Stores
from agent_memory_server.stores.redis import failures, naming
from agent_memory_server.stores.redis.access_tokens import RedisAccessTokens
from agent_memory_server.stores.redis.clock import RedisClock
from agent_memory_server.stores.redis.comparisons import RedisComparisons
from agent_memory_server.stores.redis.connections import Link, place_of
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.jobs import RedisJobs
from agent_memory_server.stores.redis.journal import RedisJournal
from agent_memory_server.stores.redis.leases import RedisLeases
from agent_memory_server.stores.redis.memories import RedisMemories
from agent_memory_server.stores.redis.outbox import RedisOutbox
from agent_memory_server.stores.redis.schedules import RedisSchedules
from agent_memory_server.stores.redis.summary_views import RedisSummaryViews
from agent_memory_server.stores.redis.working_memory import RedisWorkingMemory
from agent_memory_server.stores.values import micros

SCHEMA_VERSION = 1
_START_LIMIT_S = 10.0
"""How long a Redis that is starting or loading its data is waited for."""
_CHECK_LIMIT_S = 1.8
_VERSION_MIN = (7, 4)


async def open_redis(url: str, *, now: Callable[[], datetime], strict: bool = False) -> Stores:
    """Connect, check that this Redis can hold our data, and prepare the search index.

    ``strict``: a write returns when Redis has it on disk (``WAITAOF 1 0``). Raises ConfigurationError (cannot be reached,
    wrong credentials, not a Redis, no search engine, too old), StoreTooNew, or StoreUnavailable; nothing is written then.
    """
    link, place = await _linked(url, strict=strict)
    index = Index(link)
    token_key = b""
    try:
        if await _state(link, place) is State.REFERENCE:
            link.barred = REFERENCE_DATA
        else:
            token_key = await _claimed(link)
            link.claimed = True
            await index.state()
    except BaseException:
        await link.close()
        raise
    return Stores(
        engine=RedisEngine(link, index, now=now),
        memories=RedisMemories(link, index, token_key=token_key),
        working_memory=RedisWorkingMemory(link),
        outbox=RedisOutbox(link, now=now),
        journal=RedisJournal(link),
        leases=RedisLeases(link),
        jobs=RedisJobs(link),
        summary_views=RedisSummaryViews(link, index),
        schedules=RedisSchedules(link),
        comparisons=RedisComparisons(link, index),
        clock=RedisClock(link),
        access_tokens=RedisAccessTokens(link),
    )


async def _reached(link: Link, place: str) -> None:
    """Wait for a Redis that is starting; say what is wrong with one that will not do."""
    until = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            await link.raw("PING")
            return
        except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
            raise ConfigurationError(
                f"Redis at {place} refuses the user name or password of REDIS_URL: correct them "
                "(redis://user:password@host:port/0)."
            ) from error
        except exceptions.InvalidResponse as error:
            raise ConfigurationError(f"What answers at {place} is not a Redis: check host and port.") from error
        except (exceptions.RedisError, OSError) as error:
            said = str(error).lower()
            if "wrongpass" in said or "noauth" in said or "invalid username-password" in said:
                raise ConfigurationError(
                    f"Redis at {place} refuses the user name or password of REDIS_URL: correct them."
                ) from error
            if "protocol error" in said or "invalid response" in said:
                raise ConfigurationError(f"What answers at {place} is not a Redis: check host and port.") from error
            if "db index" in said or "out of range" in said:
                raise ConfigurationError(
                    f"Redis at {place} has no such database: use /0, the only one that can be searched."
                ) from error
            if time.monotonic() > until:
                raise ConfigurationError(
                    f"Redis at {place} cannot be reached ({type(error).__name__}): check that it runs, the address and TLS."
                ) from error
            await asyncio.sleep(0.2)


async def _suitable(link: Link, place: str) -> None:
    if link.database != 0:
        raise ConfigurationError(f"Redis can search database 0 alone, and {place} names another: write /0.")
    try:
        info = await link.raw("INFO", "server")
        indexes = await link.raw("FT._LIST")
    except exceptions.NoPermissionError as error:
        raise ConfigurationError(
            f"The Redis user may not run INFO and FT.* commands at {place}: allow them."
        ) from error
    except exceptions.ResponseError as error:
        raise ConfigurationError(
            f"Redis at {place} has no query engine: use Redis 8, or Redis 7.4 with the search module (redis-stack-server)."
        ) from error
    except (exceptions.RedisError, OSError) as error:
        raise ConfigurationError(f"Redis at {place} stopped answering while it was checked.") from error
    del indexes
    version = _version_of(info)
    if version < _VERSION_MIN:
        raise ConfigurationError(
            f"Redis at {place} is {'.'.join(map(str, version))}: version {'.'.join(map(str, _VERSION_MIN))} or newer is needed."
        )
    if info.get("redis_mode") == "cluster":
        raise ConfigurationError(f"Redis at {place} is part of a cluster, which this version does not support.")


def _version_of(info: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2] if part.isdigit())


REFERENCE_DATA = (
    "This Redis holds the data of the reference server, which this version cannot read yet (agent-memory migrate-memories "
    "will bring it over). Nothing was changed. Use another Redis, or STORAGE_URL=sqlite:////path/to/memory.db, until then."
)


class State(Enum):
    """Whose data is in a database."""

    EMPTY = "empty"
    OURS = "ours"
    REFERENCE = "reference"
    """The reference server wrote here and we did not."""


async def state_of(url: str) -> State:
    """Whose data is there; changes nothing. Raises as ``open_redis`` does."""
    link, place = await _linked(url)
    try:
        return await _state(link, place)
    finally:
        await link.close()


async def _linked(url: str, *, strict: bool = False) -> tuple[Link, str]:
    """A link to a Redis that can hold our data, and its address for people."""
    try:
        place = place_of(url)
        link = Link(url, strict=strict)
    except ValueError as error:
        raise ConfigurationError("The Redis URL cannot be read: write redis://user:password@host:6379/0.") from error
    try:
        await _reached(link, place)
        await _suitable(link, place)
    except BaseException:
        await link.close()
        raise
    return link, place


def _check_version(held: bytes, place: str) -> None:
    if not held.isdigit() or int(held) > SCHEMA_VERSION:
        raise StoreTooNew(
            f"The data in Redis at {place} was written by a newer version (layout {held.decode(errors='replace')}, "
            f"this one knows {SCHEMA_VERSION}): start that version again, or use another database."
        )


async def _state(link: Link, place: str) -> State:
    """Looks at every key, once, when ours are absent."""
    try:
        held = await link.raw("GET", naming.SCHEMA)
        if held is not None:
            _check_version(held, place)
            return State.OURS
        if any(name in naming.REFERENCE_INDEXES for name in await link.raw("FT._LIST")):
            return State.REFERENCE
        cursor: int = 0
        while True:
            cursor, keys = await link.raw("SCAN", cursor, "COUNT", 5_000)
            if any(key.startswith(naming.REFERENCE_PREFIXES) for key in keys):
                return State.REFERENCE
            if int(cursor) == 0:
                return State.EMPTY
    except (exceptions.RedisError, OSError) as error:
        raise ConfigurationError(f"Redis at {place} stopped answering while it was checked.") from error


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

    def __init__(self, link: Link, index: Index, *, now: Callable[[], datetime]) -> None:
        self._link = link
        self._index = index
        self._now = now

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

    def describe(self) -> str:
        return place_of(self._link.url)

    async def close(self) -> None:
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
        await self._link.write("SET", naming.PROBE, micros(self._now()))
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
        policy = str(info.get("maxmemory_policy", "noeviction"))
        limit = int(info.get("maxmemory", 0))
        if policy != "noeviction" and limit:
            return (
                f"maxmemory-policy is {policy}: Redis would silently forget memories; run "
                "CONFIG SET maxmemory-policy noeviction (and keep it in redis.conf)",
                "",
            )
        used = int(info.get("used_memory", 0))
        if limit and used > 0.95 * limit:
            return f"{used * 100 // limit} % of maxmemory is used: raise it, or writes will be refused (507)", ""
        return "", f"{used // (1024 * 1024)} MiB are used"

    async def _durability(self) -> tuple[str, str]:
        info = await self._link.read("INFO", "persistence")
        has_log = int(info.get("aof_enabled", 0)) == 1
        if self._link.strict and not has_log:
            return (
                "DURABILITY=strict needs the append-only file: run CONFIG SET appendonly yes (and keep it in redis.conf)",
                "",
            )
        if has_log and str(info.get("aof_last_write_status", "ok")) != "ok":
            return "Redis could not write its append-only file: look at its disk", ""
        if not has_log:
            return (
                "",
                "the append-only file is off: what was written since the last snapshot is lost when Redis crashes",
            )
        return "", "writes are confirmed on disk" if self._link.strict else "the append-only file is on"
