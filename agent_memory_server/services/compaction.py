"""Compaction of exact duplicates: of each group with one hash, one stays and the others are superseded by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Effect, Operation, OperationKind, Supersede
from agent_memory_server.domain.records import Memory
from agent_memory_server.ports.memories import MemoryStore

_GROUPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """``remaining`` counts the live memories of the selection afterwards."""

    groups: int
    superseded: int
    remaining: int


class CompactionService:
    def __init__(self, *, store: MemoryStore, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id

    async def compact(self, criteria: MemoryFilter, *, actor: str) -> Compacted:
        """One commit a group: a crash in between leaves whole groups only, and the next run goes on."""
        after: str | None = None
        groups = superseded = 0
        while True:
            found = await self._store.duplicate_groups(criteria, now=self._now(), limit=_GROUPS, after=after)
            for group in found:
                groups += 1
                superseded += await self._supersede(group, actor)
            if len(found) < _GROUPS:
                break
            after = found[-1][0].memory_hash
        remaining = await self._store.count(criteria, now=self._now())
        return Compacted(groups=groups, superseded=superseded, remaining=remaining)

    async def _supersede(self, group: Sequence[Memory], actor: str) -> int:
        survivor = max(group, key=lambda memory: (memory.pinned, memory.last_accessed, memory.created_at, memory.id))
        committed = await self._store.commit(
            Operation(
                id=self._new_id(),
                tenant=survivor.scope.tenant,
                kind=OperationKind.COMPACT,
                actor=actor,
                at=self._now(),
                changes=tuple(
                    Supersede(key=memory.key, by=survivor.id) for memory in group if memory.key != survivor.key
                ),
                reason=f"exact duplicates of {survivor.id}",
            )
        )
        return sum(outcome.effect is Effect.SUPERSEDED for outcome in committed.outcomes)
