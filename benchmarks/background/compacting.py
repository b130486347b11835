"""Compaction of a store with one duplicate in a hundred: the first run over everything, an idle run, and one after a write."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ulid import ULID

from agent_memory_server.app import utc_now
from agent_memory_server.domain.duplicate_thresholds import thresholds_for
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import DEFAULT_TENANT, Scope, ScopeSelector
from agent_memory_server.domain.operations import Operation, OperationKind
from agent_memory_server.domain.records import Memory
from agent_memory_server.embeddings.opening import open_embedder
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.compaction import CompactionService
from agent_memory_server.services.compaction_reports import Compacted, CompactionPolicy
from agent_memory_server.services.deduplication import NearDuplicates
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.testing.embedder import SwitchableEmbedder
from benchmarks import texts
from benchmarks.processes import reset_peak, resident_bytes, resident_peak_bytes

DUPLICATE_EVERY = 100
USER_MEMORIES = 100
_BATCH = 500
_FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """``first_s`` is the run over everything; texts embedded are counted during the runs alone."""

    memories: int
    users: int
    first_s: float
    superseded: int
    near_duplicates: int
    texts_embedded: int
    peak_growth_bytes: int | None
    idle_ms: float
    after_one_write_ms: float


async def compacted(size: int, *, users: int) -> Measured:
    """Fill a temporary store and compact it, as a server in local mode does."""
    with tempfile.TemporaryDirectory(prefix="background-") as folder:
        stores = await open_sqlite(Path(folder) / "memory.db", now=utc_now)
        embedder = SwitchableEmbedder(
            await open_embedder(model="wordllama", openai_api_key=None, openai_api_base=None), is_local=True
        )
        try:
            return await _compacted(stores, embedder, size, users)
        finally:
            await stores.engine.close()


async def _compacted(stores: Stores, embedder: SwitchableEmbedder, size: int, users: int) -> Measured:
    indexer = Indexer(embedder=embedder)
    for start in range(0, size, _BATCH):
        await _write(stores, indexer, [_memory(index, users) for index in range(start, min(start + _BATCH, size))])
    compaction = CompactionService(
        store=stores.memories,
        comparisons=stores.comparisons,
        near_duplicates=NearDuplicates(
            store=stores.memories, comparisons=stores.comparisons, model=embedder.model, now=utc_now
        ),
        merging=None,
        policy=CompactionPolicy(by_meaning=True, thresholds=thresholds_for(embedder.model)),
        now=utc_now,
        new_id=lambda: str(ULID()),
    )
    embedded = embedder.texts_embedded
    reset_peak(os.getpid())
    before = resident_bytes(os.getpid())
    first_s, done = await _timed(compaction)
    peak = resident_peak_bytes(os.getpid())
    embedded = embedder.texts_embedded - embedded
    idle = [(await _timed(compaction))[0] for _ in range(5)]
    await _write(stores, indexer, [_memory(size + 1, users)])
    after_write, _ = await _timed(compaction)
    assert await stores.memories.count(MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT)), now=utc_now())
    return Measured(
        memories=size,
        users=users,
        first_s=first_s,
        superseded=done.superseded,
        near_duplicates=done.near_duplicates,
        texts_embedded=embedded,
        peak_growth_bytes=None if peak is None or before is None else peak - before,
        idle_ms=sorted(idle)[2] * 1000,
        after_one_write_ms=after_write * 1000,
    )


async def _timed(compaction: CompactionService) -> tuple[float, Compacted]:
    """One scheduled round: which tenants have something to do, and doing it."""
    begun = time.perf_counter()
    done = Compacted()
    for tenant in await compaction.tenants_due():
        done = await compaction.compact_changed(ScopeSelector(tenant))
    return time.perf_counter() - begun, done


async def _write(stores: Stores, indexer: Indexer, memories: list[Memory]) -> None:
    indexed = await indexer.prepare(memories)
    await stores.memories.commit(
        Operation(
            id=str(ULID()),
            tenant=DEFAULT_TENANT,
            kind=OperationKind.CREATE,
            actor="benchmark",
            at=utc_now(),
            changes=indexed.puts,
        )
    )
    await asyncio.sleep(0)


def _memory(index: int, users: int) -> Memory:
    """Of each user's memories one in a hundred says what the one before it said."""
    is_copy = index // users % DUPLICATE_EVERY == DUPLICATE_EVERY - 1
    said = index - users if is_copy else index
    at = _FIRST_DAY + timedelta(seconds=index)
    user = f"u{index % users:06d}"
    return Memory(
        id=f"m{index}",
        scope=Scope(DEFAULT_TENANT, None, user),
        text=texts.text(said),
        created_at=at,
        updated_at=at,
        last_accessed=at,
    )
