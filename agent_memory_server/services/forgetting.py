"""Forgetting by policy, over all rows of the selection, spared where the rules say so, recoverable from the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Delete, Effect, Operation, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.retention import ForgettingPolicy, budget_rank, may_forget, too_old
from agent_memory_server.ports.memories import MemoryStore, Order

_PAGE = 1_000
_COMMIT_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """``deleted`` counts what went, or on a dry run what would go."""

    scanned: int
    deleted: int
    deleted_ids: tuple[str, ...]
    dry_run: bool


class ForgettingService:
    def __init__(self, *, store: MemoryStore, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id

    async def forget(
        self,
        criteria: MemoryFilter,
        *,
        policy: ForgettingPolicy,
        actor: str,
        limit: int,
        dry_run: bool = True,
        pinned_ids: Collection[str] = (),
    ) -> Forgotten:
        """Apply the policy to every memory that matches; at most ``limit`` are removed, the least recently used first.

        Pinned memories and ``pinned_ids`` are spared. What goes leaves the journal entry that undo reads.
        """
        at = self._now()
        spared = frozenset(pinned_ids)
        scanned = 0
        doomed: list[MemoryKey] = []
        ranked: list[tuple[tuple[float, str], MemoryKey]] = []
        eligible = 0
        async for memory in self._all(criteria, at):
            scanned += 1
            if not may_forget(memory, policy, spared):
                continue
            if too_old(memory, policy, at):
                doomed.append(memory.key)
                continue
            eligible += 1
            if policy.budget is not None:
                ranked.append((budget_rank(memory, at), memory.key))
        if policy.budget is not None and eligible > policy.budget:
            ranked.sort(key=lambda entry: entry[0])
            doomed.extend(key for _, key in ranked[: eligible - policy.budget])
        doomed = doomed[:limit]
        if not dry_run:
            doomed = await self._remove(doomed, policy, actor, at)
        return Forgotten(
            scanned=scanned, deleted=len(doomed), deleted_ids=tuple(key.id for key in doomed), dry_run=dry_run
        )

    async def _all(self, criteria: MemoryFilter, at: datetime) -> AsyncIterator[Memory]:
        cursor: str | None = None
        while True:
            page = await self._store.list(criteria, now=at, limit=_PAGE, cursor=cursor, order=Order.LAST_ACCESSED_ASC)
            for memory in page.memories:
                yield memory
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _remove(
        self, keys: list[MemoryKey], policy: ForgettingPolicy, actor: str, at: datetime
    ) -> list[MemoryKey]:
        removed: list[MemoryKey] = []
        for start in range(0, len(keys), _COMMIT_BATCH):
            batch = keys[start : start + _COMMIT_BATCH]
            committed = await self._store.commit(
                Operation(
                    id=self._new_id(),
                    tenant=batch[0].tenant,
                    kind=OperationKind.FORGET,
                    actor=actor,
                    at=at,
                    changes=tuple(Delete(key=key, scrub=False) for key in batch),
                    reason=_reason(policy),
                )
            )
            removed.extend(each.key for each in committed.outcomes if each.effect is Effect.DELETED)
        return removed


def _reason(policy: ForgettingPolicy) -> str:
    parts = {
        "max_age_days": policy.max_age_days,
        "max_inactive_days": policy.max_inactive_days,
        "budget": policy.budget,
    }
    return "policy: " + ", ".join(f"{name}={value}" for name, value in parts.items() if value is not None)
