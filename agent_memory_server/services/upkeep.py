"""Upkeep: what keeps the store in good order behind everybody's back, as pending work that a schedule or a write asks for.

Compaction and deduplication of what changed, forgetting by the configured policy, and the end of expired sessions. A schedule
that finds nothing to do asks for nothing, so an idle server does nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from agent_memory_server.domain.identity import DEFAULT_TENANT, Principal, ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind, Lane
from agent_memory_server.domain.operations import Intent, TaskRequest
from agent_memory_server.domain.retention import ForgettingPolicy, RetentionPolicy
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.ports.task_queue import TaskQueue
from agent_memory_server.ports.working_memory import WorkingMemoryStore
from agent_memory_server.services.compaction import CompactionService
from agent_memory_server.services.embedding import EmbeddingService
from agent_memory_server.services.forgetting import ForgettingService

PURGE_EXPIRED = "purge expired sessions"
"""Name of its schedule. Those of compaction and forgetting are in ``public_tasks``."""
PURGE_EXPIRED_MEMORIES = "purge expired memories"
PURGED_EVERY = timedelta(minutes=1)
"""What has expired is absent at once; this is how long what it said may still lie in the store."""
THIN_JOURNAL = "thin the journal"
THINNED_EVERY = timedelta(days=1)
_THINNED_AT_ONCE = 200
_PURGED_AT_ONCE = 100

Report = Mapping[str, Any]


class UpkeepService:
    def __init__(
        self,
        *,
        compaction: CompactionService,
        forgetting: ForgettingService,
        embedding: EmbeddingService,
        memories: MemoryStore,
        sessions: WorkingMemoryStore,
        outbox: Outbox,
        queue: TaskQueue,
        journal: Journal,
        undo_retention: timedelta,
        policy: ForgettingPolicy | None,
        retention: Sequence[RetentionPolicy],
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        """``policy`` None: nothing is forgotten periodically but by the ``retention`` policies. ``undo_retention``: how long the
        journal keeps the texts of memories that are gone."""
        self._compaction = compaction
        self._forgetting = forgetting
        self._embedding = embedding
        self._memories = memories
        self._sessions = sessions
        self._outbox = outbox
        self._queue = queue
        self._journal = journal
        self._undo_retention = undo_retention
        self._policy = policy
        self._retention = retention
        self._now = now
        self._new_id = new_id

    # -- what a schedule asks for

    async def compaction_due(self) -> Sequence[Intent]:
        """One a tenant in which something changed."""
        return [
            Intent(kind=IntentKind.COMPACT_MEMORIES.value, key="", tenant=tenant)
            for tenant in await self._compaction.tenants_due()
        ]

    async def forgetting_due(self) -> Sequence[Intent]:
        """One a tenant, where there is a policy that can remove anything."""
        if (self._policy is None or self._policy.removes_nothing) and not self._retention:
            return ()
        return [
            Intent(kind=IntentKind.FORGET_MEMORIES.value, key="", tenant=tenant)
            for tenant in await self._memories.tenants()
        ]

    async def purge_due(self) -> Sequence[Intent]:
        return [Intent(kind=IntentKind.PURGE_EXPIRED_SESSIONS.value, key="", tenant=DEFAULT_TENANT)]

    async def expiry_due(self) -> Sequence[Intent]:
        """One for all tenants, where there is something to purge."""
        if not await self._forgetting.any_expired():
            return ()
        return [Intent(kind=IntentKind.PURGE_EXPIRED_MEMORIES.value, key="", tenant=DEFAULT_TENANT)]

    async def thinning_due(self) -> Sequence[Intent]:
        return [
            Intent(kind=IntentKind.THIN_JOURNAL.value, key="", tenant=tenant)
            for tenant in await self._memories.tenants()
        ]

    # -- what is done

    @property
    def handlers(self) -> Mapping[str, Callable[[ClaimedIntent], Awaitable[Report | None]]]:
        return {
            IntentKind.COMPACT_MEMORIES.value: self._compact,
            IntentKind.DEDUPLICATE_MEMORIES.value: self._deduplicate,
            IntentKind.FORGET_MEMORIES.value: self._forget,
            IntentKind.PURGE_EXPIRED_SESSIONS.value: self._purge,
            IntentKind.PURGE_EXPIRED_MEMORIES.value: self._purge_memories,
            IntentKind.THIN_JOURNAL.value: self._thin,
        }

    async def compact_later(self, caller: Principal, selector: ScopeSelector) -> str:
        """Have the rest of a compaction done in the background; returns the task whose end can be read."""
        task_id = self._new_id()
        intent = Intent(
            kind=IntentKind.COMPACT_MEMORIES.value,
            key="",
            tenant=selector.tenant,
            namespace=selector.namespace,
            user_id=selector.user_id,
            task=TaskRequest(id=task_id, owner=caller.owner()),
        )
        await self._outbox.request([intent], at=self._now())
        self._queue.wake(Lane.UPKEEP)
        return task_id

    async def purge_expired_sessions(self) -> int:
        """Remove every expired session for good; returns how many. Others get their turn between the portions."""
        purged = 0
        while some := await self._sessions.purge_expired(now=self._now(), limit=_PURGED_AT_ONCE):
            purged += some
        return purged

    async def _compact(self, intent: ClaimedIntent) -> Report:
        # An intent without namespace or user means the whole tenant: that is how a schedule asks.
        selector = ScopeSelector(intent.tenant, intent.namespace, intent.user_id)
        return asdict(await self._compaction.compact_changed(selector))

    async def _deduplicate(self, intent: ClaimedIntent) -> Report:
        # What a remote embedder has still to embed could not be compared, and would not be looked at again at once.
        await self._embedding.embed_pending(tenant=intent.tenant)
        return asdict(await self._compaction.deduplicate(ScopeSelector(intent.tenant)))

    async def _forget(self, intent: ClaimedIntent) -> Report:
        forgotten = await self._forgetting.retain(intent.tenant, policies=self._retention)
        if self._policy is not None:
            forgotten += await self._forgetting.forget_for_every_owner(intent.tenant, policy=self._policy)
        return {"forgotten": forgotten}

    async def _purge_memories(self, _: ClaimedIntent) -> Report:
        return {"purged": await self._forgetting.purge_expired()}

    async def _thin(self, intent: ClaimedIntent) -> Report:
        thinned = 0
        gone_before = self._now() - self._undo_retention
        while some := await self._journal.thin(intent.tenant, gone_before=gone_before, limit=_THINNED_AT_ONCE):
            thinned += some
        return {"thinned": thinned}

    async def _purge(self, _: ClaimedIntent) -> Report:
        return {"purged": await self.purge_expired_sessions()}
