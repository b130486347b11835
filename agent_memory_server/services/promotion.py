"""Promotion: a session's structured memories, and its messages where they are indexed, become long-term memories.

Redelivery has one effect: a message memory's id is the message's, a structured memory keeps its own, and marks are set only
after the commit. A session that was deleted meanwhile is not promoted: the commit carries the guard of its life.

Message ids are unique within a session only: clients number messages 1, 2, 3 in each. Where a message's id already belongs to
another session's message or to an explicit memory, that one stays and the message gets a derived id of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Committed, Effect, Operation, OperationKind
from agent_memory_server.domain.records import MESSAGE_STRATEGY, Memory, MemoryType, Source, derived_id, trust_of
from agent_memory_server.domain.sessions import Message, Session, SessionGuard
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.working_memory import WorkingMemoryStore
from agent_memory_server.services.enrichment import Enrichment
from agent_memory_server.services.indexing import Indexer

_MESSAGE_BATCH = 20
"""One commit each. Requests that write wait for the commit before theirs: two hundred messages held them up for 0.4 s."""
_PAUSE_SHARE = 0.5
"""After a full batch, the part of its own time that promotion leaves the processor and the store to requests."""
_PAUSE_MAX_S = 0.1
_ACTOR = "task:promote_working_memory_to_long_term"
_SOURCES = {"user": Source.USER, "tool": Source.TOOL, "function": Source.TOOL}


class PromotionService:
    def __init__(
        self,
        *,
        sessions: WorkingMemoryStore,
        memories: MemoryStore,
        indexer: Indexer,
        index_messages: bool,
        enrichment: Enrichment,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._sessions = sessions
        self._memories = memories
        self._indexer = indexer
        self._index_messages = index_messages
        self._enrichment = enrichment
        self._now = now
        self._new_id = new_id

    async def promote(self, scope: Scope, *, author: str | None = None) -> int:
        """Promote what is not promoted yet; returns how many memories were written. A missing session is no work.

        ``author``: the subject of whoever wrote what asked for this.
        """
        session = await self._sessions.load(scope, now=self._now(), recent_messages=1)
        if session is None:
            return 0
        guard = SessionGuard(scope=scope, epoch=session.epoch)
        written = await self._promote_structured(session, guard, author or _ACTOR)
        if self._index_messages:
            written += await self._promote_messages(session, guard, author or _ACTOR)
        return written

    async def _promote_structured(self, session: Session, guard: SessionGuard, author: str) -> int:
        at = self._now()
        waiting = [memory for memory in session.memories if memory.persisted_at is None]
        if not waiting:
            return 0
        inherited = [
            replace(_inheriting(memory, session), persisted_at=at, extracted=True, author=author) for memory in waiting
        ]
        if not (await self._commit(inherited, guard, at, deduplicate=True)).applied:
            return 0
        await self._sessions.mark_promoted(guard, message_ids=(), memory_ids=[memory.id for memory in waiting], at=at)
        return len(inherited)

    async def _promote_messages(self, session: Session, guard: SessionGuard, author: str) -> int:
        written = 0
        while True:
            at = self._now()
            batch = await self._sessions.unpromoted(guard, now=at, limit=_MESSAGE_BATCH)
            if not batch:
                return written
            memories = [replace(message_memory(each, session.scope, at), author=author) for each in batch]
            if not await self._commit_messages(memories, guard, at):
                return written
            await self._sessions.mark_promoted(
                guard, message_ids=[message.id for message in batch], memory_ids=(), at=at
            )
            written += len(batch)
            if len(batch) < _MESSAGE_BATCH:
                # What came meanwhile asked for its own promotion.
                return written
            await asyncio.sleep(_pause_s((self._now() - at).total_seconds()))

    async def _commit_messages(self, memories: Sequence[Memory], guard: SessionGuard, at: datetime) -> bool:
        """Write each message under its id, or beside whatever else holds that id. False: the session's life is over."""
        committed = await self._commit(memories, guard, at, if_absent=True)
        if not committed.applied:
            return False
        held = [
            memory
            for memory, outcome in zip(memories, committed.outcomes, strict=True)
            if outcome.effect is Effect.UNCHANGED
        ]
        again = [each for each in [await self._beside_the_holder(memory) for memory in held] if each is not None]
        return not again or (await self._commit(again, guard, at)).applied

    async def _beside_the_holder(self, memory: Memory) -> Memory | None:
        """What is still to be written for a message whose id is held: nothing when it is there already (redelivery)."""
        holder = await self._memories.get(memory.key)
        if holder is None:
            return memory
        if holder.extraction_strategy == MESSAGE_STRATEGY and holder.scope == memory.scope:
            return memory if holder.text != memory.text else None
        scope = memory.scope
        parts = [part or "" for part in (scope.namespace, scope.user_id, scope.session_id)]
        return replace(memory, id=derived_id(MESSAGE_STRATEGY, *parts, memory.id))

    async def _commit(
        self,
        memories: Sequence[Memory],
        guard: SessionGuard,
        at: datetime,
        *,
        deduplicate: bool = False,
        if_absent: bool = False,
    ) -> Committed:
        labelled = self._enrichment.at_once(memories)
        indexed = await self._indexer.prepare(labelled, deduplicate=deduplicate, if_absent=if_absent)
        return await self._memories.commit(
            Operation(
                id=self._new_id(),
                tenant=guard.scope.tenant,
                kind=OperationKind.PROMOTE,
                actor=_ACTOR,
                at=at,
                changes=indexed.puts,
                intents=(*indexed.intents, *self._enrichment.intents(labelled)),
                guard=guard,
                reason=f"session {guard.scope.session_id}",
            )
        )


def _pause_s(spent_s: float) -> float:
    """How long to pause after work of this length; a clock that was set meanwhile changes little."""
    return min(_PAUSE_MAX_S, max(0.0, spent_s * _PAUSE_SHARE))


def message_memory(message: Message, scope: Scope, at: datetime) -> Memory:
    """The searchable record of one message: its id and time, the session's owner, its words, and who spoke if that is named."""
    source = _SOURCES.get(message.role.lower(), Source.ASSISTANT)
    return Memory(
        id=message.id,
        scope=scope,
        text=message.content,
        name=message.name,
        memory_type=MemoryType.MESSAGE,
        created_at=message.created_at,
        updated_at=at,
        # As of what is created directly: an old conversation that came in today is no memory that nobody has used for years.
        last_accessed=at,
        persisted_at=at,
        extracted=message.extracted,
        extracted_from=(message.id,),
        extraction_strategy=MESSAGE_STRATEGY,
        metadata={"role": message.role},
        source=source,
        trust=trust_of(source),
    )


def _inheriting(memory: Memory, session: Session) -> Memory:
    """The memory in the session's scope where it names none of its own, with the session's strategy."""
    own, theirs = memory.scope, session.scope
    scope = Scope(
        theirs.tenant,
        theirs.namespace if own.namespace is None else own.namespace,
        theirs.user_id if own.user_id is None else own.user_id,
        theirs.session_id if own.session_id is None else own.session_id,
    )
    return replace(
        memory,
        scope=scope,
        extraction_strategy=session.strategy.name,
        extraction_strategy_config=session.strategy.config,
    )
