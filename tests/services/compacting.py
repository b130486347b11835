"""A store with compaction over it, a clock and a scripted model: what tests of compaction work with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ulid import ULID

from agent_memory_server.domain.duplicate_thresholds import DuplicateThresholds
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Principal, Scope, ScopeSelector
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.compaction import CompactionService
from agent_memory_server.services.compaction_reports import CompactionPolicy
from agent_memory_server.services.deduplication import NearDuplicates
from agent_memory_server.services.enrichment import EnrichmentPolicy, RuleEnrichment
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.language import GatePolicy, LanguageGate, ModelChoice
from agent_memory_server.services.memories import MemoryService
from agent_memory_server.services.merging import MergingService
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.testing.embedder import HashEmbedder, SwitchableEmbedder
from agent_memory_server.testing.language_model import ScriptedLanguageModel, content_of

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
ALICE = Scope("default", "work", "alice")
CALLER = Principal(subject="tester")
EVERYTHING = MemoryFilter(selector=ScopeSelector("default"))
ACTOR = "tester"


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


def new_id() -> str:
    return str(ULID())


def memory(memory_id: str, text: str, *, scope: Scope = ALICE, **fields: Any) -> Memory:
    values: dict[str, Any] = {"created_at": T0, "updated_at": T0, "last_accessed": T0, **fields}
    return Memory(id=memory_id, scope=scope, text=text, **values)


def says(text: str) -> Mapping[str, Any]:
    return {"same": True, "text": text}


DIFFERENT: Mapping[str, Any] = {"same": False, "text": ""}


def asked_about(call: ModelCall) -> list[str]:
    """The texts that a call put beside each other."""
    return [each["text"] for each in content_of(call)["memories"]]


class Synonyms(HashEmbedder):
    """Some words mean the same, as for a real model: texts that share no word may have one vector."""

    _SAME: Mapping[str, str] = {"keeps": "owns", "felines": "cats", "kitties": "cats"}

    def embed_one(self, text: str) -> Vector | None:
        return super().embed_one(" ".join(self._SAME.get(word, word) for word in text.lower().split()))


@dataclass
class World:
    """Everything opened. ``compaction`` has the model, ``local`` has none."""

    stores: Stores
    clock: Clock
    embedder: SwitchableEmbedder
    model: ScriptedLanguageModel
    memories: MemoryService
    compaction: CompactionService
    local: CompactionService

    async def write(self, *memories: Memory, deduplicate: bool = False) -> None:
        await self.memories.create(CALLER, memories, deduplicate=deduplicate)

    async def live(self, selector: ScopeSelector | None = None) -> dict[str, Memory]:
        """All live memories by id."""
        criteria = MemoryFilter(selector=selector or ScopeSelector("default"))
        found: dict[str, Memory] = {}
        cursor: str | None = None
        while True:
            page = await self.stores.memories.list(criteria, now=self.clock(), limit=100, cursor=cursor)
            found |= {each.id: each for each in page.memories}
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def get(self, memory_id: str, scope: Scope = ALICE) -> Memory:
        found = await self.stores.memories.get(MemoryKey(scope.tenant, scope.namespace, scope.user_id, memory_id))
        assert found is not None, memory_id
        return found

    @property
    def questions(self) -> list[list[str]]:
        """What the model was asked about, call by call."""
        return [asked_about(call) for call in self.model.calls_for(Purpose.MERGING)]

    async def until_asked(self) -> None:
        """Until the model has been asked something (while it is held)."""
        async with asyncio.timeout(5):
            while not self.questions:  # noqa: ASYNC110 - the model has no event for it
                await asyncio.sleep(0)


async def _no_wait(_: float) -> None:
    """Retries need no pauses here."""


@contextlib.asynccontextmanager
async def open_world(
    path: Path,
    *,
    thresholds: DuplicateThresholds | None = None,
    by_meaning: bool = True,
    opened: Callable[[Clock], Awaitable[Stores]] | None = None,
) -> AsyncGenerator[World]:
    """``opened``: another engine than the embedded one in ``path``."""
    clock = Clock()
    stores = await (open_sqlite(path, now=clock) if opened is None else opened(clock))
    embedder = SwitchableEmbedder(Synonyms(), is_local=True)
    model = ScriptedLanguageModel()
    gate = LanguageGate(
        model=model,
        choice=ModelChoice(generation="scripted", fast="scripted"),
        policy=GatePolicy(attempts_max=2),
        sleep=_no_wait,
        account=lambda _: None,
    )
    indexer = Indexer(embedder=embedder, merges=True)
    policy = CompactionPolicy(
        by_meaning=by_meaning, thresholds=thresholds or DuplicateThresholds(at_write=0.55, in_compaction=0.45)
    )

    def compaction(merging: MergingService | None) -> CompactionService:
        return CompactionService(
            store=stores.memories,
            comparisons=stores.comparisons,
            near_duplicates=NearDuplicates(
                store=stores.memories, comparisons=stores.comparisons, model=embedder.model, now=clock
            ),
            merging=merging,
            policy=policy,
            now=clock,
            new_id=new_id,
        )

    try:
        yield World(
            stores=stores,
            clock=clock,
            embedder=embedder,
            model=model,
            memories=MemoryService(
                store=stores.memories,
                journal=stores.journal,
                indexer=indexer,
                enrichment=RuleEnrichment(EnrichmentPolicy(topics=False, entities=False, top_k_topics=0)),
                now=clock,
                new_id=new_id,
                wake=lambda: None,
            ),
            compaction=compaction(
                MergingService(gate=gate, indexer=indexer, store=stores.memories, now=clock, new_id=new_id)
            ),
            local=compaction(None),
        )
    finally:
        await stores.engine.close()


def later(clock: Clock, **by: float) -> datetime:
    clock.now += timedelta(**by)
    return clock.now
