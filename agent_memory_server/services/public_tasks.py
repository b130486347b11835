"""The thirteen tasks that have a public name: what each does when somebody asks for it, and what it reports.

Names and parameters are a contract with scripts (wire contract, section 5). A report holds counts and ids, never text. Each
may be asked for twice: the second time finds the work done. What works on a session asks for the session's own pending work,
which is claimed: so a task by name and the server's own background work never do the same thing side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import DEFAULT_TENANT, OutsideReach, Principal, ScopeSelector
from agent_memory_server.domain.jobs import IntentKind, Lane
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.retention import ForgettingPolicy
from agent_memory_server.errors import InvalidInput, NotFound
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.services.compaction import CompactionService
from agent_memory_server.services.enrichment import Enrichment
from agent_memory_server.services.forgetting import ForgettingService
from agent_memory_server.services.indexing import embedding_intent
from agent_memory_server.services.memories import MemoryService
from agent_memory_server.services.pending_work import PendingWorkService
from agent_memory_server.services.schedules import ScheduleService
from agent_memory_server.services.summary_views import SummaryViewService

Report = Mapping[str, Any]

TASKS = Principal(subject="task", tenant=DEFAULT_TENANT)
"""Who asks for a task over the queue or on the command line: whoever can reach those may do everything in the store."""

COMPACTION = "compact long-term memories"
FORGETTING = "forget by policy"
SUMMARY_VIEWS = "refresh summary views"
"""Names of the schedules whose rounds the periodic tasks ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTasks:
    """Each method is the task of its name."""

    memories: MemoryService
    store: MemoryStore
    outbox: Outbox
    forgetting: ForgettingService
    compaction: CompactionService
    summary_views: SummaryViewService
    schedules: ScheduleService
    enrichment: Enrichment
    configured_policy: ForgettingPolicy | None
    """What FORGETTING_* settings say; None when forgetting is off."""
    lanes: Mapping[Lane, PendingWorkService]
    now: Any
    caller: Principal = TASKS
    """Whose reach the tasks have: that of whoever asked for them."""

    def for_reach(self, reach: ScopeSelector) -> PublicTasks:
        """The same tasks for a caller that reaches this."""
        caller = Principal(subject=TASKS.subject, tenant=reach.tenant, namespace=reach.namespace, user_id=reach.user_id)
        return replace(self, caller=caller)

    # -- sessions

    async def promote_working_memory_to_long_term(
        self, session_id: str, namespace: str | None = None, user_id: str | None = None
    ) -> Report:
        """Promote what is not promoted yet; a session that is gone is no work."""
        return await self._of_session(IntentKind.PROMOTE_WORKING_MEMORY, session_id, namespace, user_id)

    async def run_delayed_extraction(
        self,
        session_id: str,
        namespace: str | None = None,
        user_id: str | None = None,
        scheduled_timestamp: str | None = None,  # noqa: ARG002 - which request it was: the store knows what is still to be done
    ) -> Report:
        """Extract from what was not extracted yet."""
        return await self._of_session(IntentKind.RUN_DELAYED_EXTRACTION, session_id, namespace, user_id)

    async def summarize_session(
        self,
        session_id: str,
        model: str | None = None,  # noqa: ARG002 - the server's own settings name the model
        max_context_tokens: int | None = None,
        namespace: str | None = None,
        user_id: str | None = None,
    ) -> Report:
        """Summarise what has to leave a window of ``max_context_tokens``."""
        return await self._of_session(
            IntentKind.SUMMARIZE_SESSION, session_id, namespace, user_id, window=max_context_tokens
        )

    # -- memories

    async def extract_memories_with_strategy(
        self,
        memory_ids: Sequence[str] | None = None,
        deduplicate: bool = True,  # noqa: ARG002 - what is stored is always compared
    ) -> Report:
        """Extract anew from the sessions whose messages these memories are; without ids, whatever waits."""
        sessions: dict[tuple[str | None, str | None, str], Intent] = {}
        for memory in await self._all_of(memory_ids or ()):
            scope = memory.scope
            if memory.memory_type is MemoryType.MESSAGE and scope.session_id is not None:
                key = (scope.namespace, scope.user_id, scope.session_id)
                sessions[key] = self._session_intent(IntentKind.RUN_DELAYED_EXTRACTION, scope.session_id, *key[:2])
        await self._ask(Lane.SESSIONS, *sessions.values())
        return {"sessions": len(sessions)}

    async def extract_memory_structure(self, memory_id: str) -> Report:
        """Add topics and entities where they are missing and a model is to find them; rules have found theirs at once."""
        found = await self._all_of([memory_id])
        await self._ask(Lane.SESSIONS, *self.enrichment.intents(found))
        return {"found": len(found)}

    async def index_long_term_memories(
        self,
        memory_ids: Sequence[str],
        deduplicate: bool = False,  # noqa: ARG002 - writing marks what is to be compared, and compaction does it
        vector_distance_threshold: float | None = None,  # noqa: ARG002 - the calibration of the embedding model decides
    ) -> Report:
        """Give the memories their vectors of the configured model."""
        found = await self._all_of(memory_ids)
        await self._ask(Lane.SESSIONS, embedding_intent(found[0].scope) if found else None)
        return {"found": len(found)}

    async def delete_long_term_memories(self, ids: Sequence[str]) -> Report:
        """Delete for good. Raises AmbiguousScope before anything is deleted when an id means several memories."""
        return {"deleted": await self.memories.delete(self.caller, memory_ids=ids)}

    async def update_last_accessed(self, ids: Sequence[str], min_interval_seconds: int = 900) -> Report:
        """Note an access where the last one is longer ago; never brings a deleted memory back."""
        keys = [memory.key for memory in await self._all_of(ids)]
        touched = await self.store.touch(keys, at=self.now(), interval_min_s=min_interval_seconds) if keys else 0
        return {"updated": touched}

    # -- upkeep

    async def compact_long_term_memories(
        self,
        limit: int = 1000,  # noqa: ARG002 - everything in scope is compacted
        namespace: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        vector_distance_threshold: float = 0.2,  # noqa: ARG002 - the calibration of the embedding model decides
        compact_hash_duplicates: bool = True,
        compact_semantic_duplicates: bool | None = None,  # noqa: ARG002 - COMPACT_SEMANTIC_DUPLICATES decides
    ) -> Report:
        """Let one of each group of duplicates stand for all, everywhere in the scope."""
        if not compact_hash_duplicates:
            return {"groups": 0, "superseded": 0}
        criteria = self._criteria(namespace, user_id, session_id)
        return asdict(await self.compaction.compact(criteria, actor="task:compact_long_term_memories"))

    async def forget_long_term_memories(
        self,
        policy: Mapping[str, Any],
        namespace: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int = 1000,
        dry_run: bool = True,
        pinned_ids: Sequence[str] | None = None,
    ) -> Report:
        """Remove by policy, or say what would be removed (the default)."""
        forgotten = await self.forgetting.forget(
            self._criteria(namespace, user_id, session_id),
            policy=forgetting_policy(policy),
            actor="task:forget_long_term_memories",
            limit=limit,
            dry_run=dry_run,
            pinned_ids=pinned_ids or (),
        )
        return {"scanned": forgotten.scanned, "deleted": forgotten.deleted, "dry_run": forgotten.dry_run}

    async def periodic_forget_long_term_memories(
        self,
        namespace: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int = 1000,
        dry_run: bool = False,
    ) -> Report:
        """Forget by the configured policy now, in this scope; nothing unless FORGETTING_ENABLED."""
        if self.configured_policy is None:
            return {"scanned": 0, "deleted": 0, "dry_run": dry_run}
        forgotten = await self.forgetting.forget(
            self._criteria(namespace, user_id, session_id),
            policy=self.configured_policy,
            actor="task:periodic_forget_long_term_memories",
            limit=limit,
            dry_run=dry_run,
        )
        return {"scanned": forgotten.scanned, "deleted": forgotten.deleted, "dry_run": forgotten.dry_run}

    # -- summary views

    async def refresh_summary_view(self, view_id: str, task_id: str | None = None) -> Report:
        """Run the view now. Raises NotFound, Conflict."""
        started = await self.summary_views.run(self.caller, view_id=view_id, task_id=task_id)
        await self.lanes[Lane.SUMMARIES].run_due()
        return {"task_id": started.id}

    async def periodic_refresh_summary_views(self) -> Report:
        """A round of the continuous views, if one is due."""
        return {"due": await self.schedules.run_due(name=SUMMARY_VIEWS)}

    # -- how

    async def _of_session(
        self, kind: IntentKind, session_id: str, namespace: str | None, user_id: str | None, **payload: object
    ) -> Report:
        await self._ask(Lane.SESSIONS, self._session_intent(kind, session_id, namespace, user_id, **payload))
        return {"session_id": session_id}

    async def _ask(self, lane: Lane, *intents: Intent | None) -> None:
        """Note the work durably, then do what is due. What fails stays pending in its own right, with its own retries."""
        wanted = [intent for intent in intents if intent is not None]
        if wanted:
            at: datetime = self.now()
            await self.outbox.request(wanted, at=at)
            await self.lanes[lane].run_due()

    async def _all_of(self, ids: Sequence[str]) -> list[Memory]:
        """The memories with these ids in the tenant, of every owner; unknown ids are left out."""
        found: list[Memory] = []
        for memory_id in dict.fromkeys(ids):
            found.extend(await self.store.find(self.caller.selector(), memory_id=memory_id, limit=100))
        return found

    def _session_intent(
        self, kind: IntentKind, session_id: str, namespace: str | None, user_id: str | None, **payload: object
    ) -> Intent:
        try:
            owner = self.caller.owner(namespace, user_id)
        except OutsideReach:
            raise NotFound(f"Session {session_id} not found") from None
        return Intent(
            kind=kind.value,
            key=session_id,
            tenant=owner.tenant,
            namespace=owner.namespace,
            user_id=owner.user_id,
            payload={"session_id": session_id, **payload},
        )

    def _criteria(self, namespace: str | None, user_id: str | None, session_id: str | None) -> MemoryFilter:
        session = None if session_id is None else TextFilter(eq=session_id)
        try:
            selector = self.caller.selector(namespace, user_id)
        except OutsideReach:
            raise NotFound("the namespace or user was not found") from None
        return MemoryFilter(selector=selector, session_id=session)


def forgetting_policy(given: Mapping[str, Any]) -> ForgettingPolicy:
    """The policy that the mapping describes. Raises InvalidInput that names what cannot be meant."""
    numbers = {"max_age_days", "max_inactive_days", "budget", "hard_age_multiplier"}
    unknown = set(given) - numbers - {"memory_type_allowlist"}
    if unknown:
        raise InvalidInput(f"policy: unknown {', '.join(sorted(unknown))}")
    values = {name: given[name] for name in numbers if given.get(name) is not None}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise InvalidInput(f"policy: {name} must be a number that is not negative")
    if not isinstance(values.get("budget", 0), int):
        raise InvalidInput("policy: budget must be a whole number")
    allowed = given.get("memory_type_allowlist")
    try:
        types = None if allowed is None else frozenset(MemoryType(name) for name in allowed)
    except (TypeError, ValueError) as error:
        raise InvalidInput("policy: memory_type_allowlist must be a list of memory types") from error
    return ForgettingPolicy(memory_types=types, **values)
