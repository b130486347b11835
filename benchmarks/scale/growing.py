"""Filling the store and timing it: every step goes through the services, as a request would."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Scope, ScopeSelector
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.errors import StoreTimeout
from benchmarks import texts

BATCH = 1_000
"""As many as one request may bring: one durable commit each."""
USER_MEMORIES = 100
_TIMED_OUT_MAX = 50
_BLOCK = 10_000
_FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Single calls, one at a time: by the clock, and what they took of the processor, which a busy machine changes less."""

    p50_ms: float
    p95_ms: float
    processor_ms: float
    """On average, with all threads of this process."""
    timed_out: int
    """Calls that the store took too long for, and that were made again as a client would; their time counts."""
    found: float
    """How many hits a search had on average: a search that finds nothing would be fast for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inserted:
    """``per_s`` in batches of ``BATCH``, ``per_processor_s`` of this process's time; ``one`` is a single memory, durable when it
    returns."""

    per_s: float
    per_processor_s: float
    one: Timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """One user's memories, those of everybody about one topic, and all memories; all memories for the first time after the start,
    when nothing is in memory yet, and right after a write."""

    first: Timed
    after_write_ms: float
    user: dict[str, Timed]
    topic: dict[str, Timed]
    everything: dict[str, Timed]


def memory(index: int, *, kind: str = "m") -> Memory:
    """The memory number ``index``, the same in every run."""
    at = _FIRST_DAY + timedelta(seconds=index * 30)
    return Memory(
        id=f"{kind}{index:09d}",
        scope=Scope(DEFAULT_TENANT, None, user_of(index), f"past{index % 9973:04d}"),
        text=texts.text(index),
        topics=(texts.topic(index),),
        created_at=at,
        updated_at=at,
        last_accessed=at,
    )


def user_of(index: int) -> str:
    per_block = _BLOCK // USER_MEMORIES
    return f"u{index // _BLOCK * per_block + index % per_block:06d}"


async def stored(app: MemoryApp) -> int:
    """How many memories there are."""
    everything = MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT))
    return (await app.search.search(everything, SearchQuery(text="", limit=1))).total


async def fill(app: MemoryApp, *, first: int, end: int) -> None:
    """Add the memories from ``first`` to ``end``, a durable commit for each batch."""
    for start in range(first, end, BATCH):
        await _created(app, [memory(index) for index in range(start, min(start + BATCH, end))])


async def _created(app: MemoryApp, batch: Sequence[Memory]) -> None:
    """Asked again where the store took too long, as a client would: the ids are given, so nothing is there twice."""
    for _ in range(_TIMED_OUT_MAX):
        try:
            await app.memories.create(ANONYMOUS, batch)
            return
        except StoreTimeout:
            continue
    raise StoreTimeout(f"{len(batch):,} memories could not be stored in {_TIMED_OUT_MAX} attempts")


async def insert(app: MemoryApp, *, size: int, batches: int, singles: int) -> Inserted:
    """Add so many batches to a store of that size, then a few memories one by one."""
    spent, used = 0.0, 0.0
    for number in range(batches):
        batch = [memory(size + number * BATCH + index, kind=f"b{size}-") for index in range(BATCH)]
        begun, used_before = time.perf_counter(), time.process_time()
        await _created(app, batch)
        spent += time.perf_counter() - begun
        used += time.process_time() - used_before

    async def one(index: int) -> int:
        return len((await app.memories.create(ANONYMOUS, [memory(index, kind=f"s{size}-")])).ids)

    total = batches * BATCH
    return Inserted(
        per_s=total / spent if spent else 0.0,
        per_processor_s=total / used if used else 0.0,
        one=await _timed(one, range(singles)),
    )


async def search(app: MemoryApp, *, size: int, queries: int) -> Searched:
    """Time searches for memories that are there, within one user's and within all."""
    picked = [Random(number).randrange(size) for number in range(queries)]

    def among_all(mode: SearchMode) -> Callable[[int], Awaitable[int]]:
        return lambda index: _search(app, MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT)), index, mode)

    def among_users(mode: SearchMode) -> Callable[[int], Awaitable[int]]:
        return lambda index: _search(
            app, MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT, None, user_of(index))), index, mode
        )

    def about_topic(mode: SearchMode) -> Callable[[int], Awaitable[int]]:
        return lambda index: _search(
            app,
            MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT), topics=TextFilter(eq=texts.topic(index))),
            index,
            mode,
        )

    first = await _timed(among_all(SearchMode.HYBRID), picked[:1])
    await app.memories.create(ANONYMOUS, [memory(picked[0], kind=f"w{size}-")])
    after_write = await _timed(among_all(SearchMode.HYBRID), picked[:1])
    few = picked[: max(3, queries // 4)]
    for mode in SearchMode:  # warm what a running server has warm
        await _timed(among_all(mode), picked[:2])
    return Searched(
        first=first,
        after_write_ms=after_write.p50_ms,
        user={mode.value: await _timed(among_users(mode), picked) for mode in SearchMode},
        topic={mode.value: await _timed(about_topic(mode), few) for mode in SearchMode},
        everything={mode.value: await _timed(among_all(mode), few) for mode in SearchMode},
    )


async def _search(app: MemoryApp, criteria: MemoryFilter, index: int, mode: SearchMode) -> int:
    page = await app.search.search(criteria, SearchQuery(text=texts.query(index), mode=mode))
    return len(page.hits)


async def _timed(call: Callable[[int], Awaitable[int]], indices: Sequence[int]) -> Timed:
    spent_ms: list[float] = []
    used_s, found, timed_out = 0.0, 0, 0
    for index in indices:
        texts.text(index)  # made outside the measured time
        begun, used_before = time.perf_counter(), time.process_time()
        while True:
            try:
                found += await call(index)
                break
            except StoreTimeout:
                timed_out += 1
                if timed_out > _TIMED_OUT_MAX:
                    raise
        used_s += time.process_time() - used_before
        spent_ms.append((time.perf_counter() - begun) * 1000)
    spent_ms.sort()
    return Timed(
        p50_ms=spent_ms[len(spent_ms) // 2],
        p95_ms=spent_ms[min(len(spent_ms) - 1, int(len(spent_ms) * 0.95))],
        processor_ms=used_s * 1000 / len(spent_ms),
        timed_out=timed_out,
        found=found / len(spent_ms),
    )
