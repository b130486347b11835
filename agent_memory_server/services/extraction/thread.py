"""Thread-aware extraction: a session's new messages, with what they need to be understood, become memories.

Order of things, so that nothing is lost and nothing doubled: extract, commit under the guard of the session's life, and only
then mark the messages extracted. A crash in between repeats the batch, and derived ids make that an upsert. A failure of the
model is raised: the messages stay unmarked and the work stays pending.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_memory_server import prompts
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Operation, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey, MemoryType, Source, derived_id
from agent_memory_server.domain.sessions import Message, Session, SessionGuard
from agent_memory_server.domain.strategies import ExtractedDraft, StrategyName
from agent_memory_server.domain.tags import clean_tags
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.working_memory import WorkingMemoryStore
from agent_memory_server.services.extraction.batches import (
    CONTEXT_MESSAGES,
    NEW_MESSAGES_MAX,
    ExtractionBatch,
    Extractor,
)
from agent_memory_server.services.indexing import Indexer

ACTOR = "task:run_delayed_extraction"
SUMMARY_VERSION = "thread-summary-v1"
UNTRUSTED = 0.5
"""Trust of what came from a tool: a web page or a document may say anything."""
_SOURCE_IDS_KEPT = 256


class ThreadExtractionService:
    def __init__(
        self,
        *,
        sessions: WorkingMemoryStore,
        memories: MemoryStore,
        indexer: Indexer,
        extractor: Extractor,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._sessions = sessions
        self._memories = memories
        self._indexer = indexer
        self._extractor = extractor
        self._now = now
        self._new_id = new_id

    async def run(self, scope: Scope) -> int:
        """Extract from every message that was not extracted yet; returns how many memories were written.

        Raises ModelUnavailable; what was committed before stays, and the rest is found again by the next run.
        """
        session = await self._sessions.load(scope, now=self._now(), recent_messages=1)
        if session is None:
            return 0
        guard = SessionGuard(scope=scope, epoch=session.epoch)
        written = 0
        while True:
            backlog = await self._sessions.unextracted(
                guard, now=self._now(), limit=NEW_MESSAGES_MAX, context=CONTEXT_MESSAGES
            )
            if not backlog.messages:
                return written
            count = await self._batch(session, guard, backlog.messages, backlog.before)
            if count is None:
                return written
            written += count

    async def _batch(
        self, session: Session, guard: SessionGuard, messages: Sequence[Message], before: Sequence[Message]
    ) -> int | None:
        """How many memories were written; None when the session was deleted meanwhile."""
        is_summary = session.strategy.name == StrategyName.SUMMARY
        previous = await self._memories.get(summary_key(session.scope)) if is_summary else None
        batch = ExtractionBatch(
            scope=session.scope,
            strategy=session.strategy,
            messages=messages,
            before=before,
            summary=previous.text if previous else session.context or "",
            now=self._now(),
        )
        drafts = await self._extractor.extract(batch)
        if is_summary:
            records = [self._summary_record(batch, drafts, previous)] if drafts else []
        else:
            records = self.records(batch, drafts)
        if records and not await self._commit(records, guard, deduplicate=not is_summary):
            return None
        marked = await self._sessions.mark_extracted(guard, message_ids=[message.id for message in messages])
        return len(records) if marked else None

    def records(self, batch: ExtractionBatch, drafts: Sequence[ExtractedDraft]) -> list[Memory]:
        """The drafts as records with owner, session, source messages and ids that a second delivery repeats."""
        by_id = {message.id: message for message in batch.messages}
        return [
            self._record(batch, draft, ordinal, [by_id[each] for each in draft.source_ids if each in by_id])
            for ordinal, draft in enumerate(drafts)
        ]

    def _record(
        self, batch: ExtractionBatch, draft: ExtractedDraft, ordinal: int, sources: Sequence[Message]
    ) -> Memory:
        at = self._now()
        quoted = sources or batch.messages
        source, trust = _provenance(quoted)
        return Memory(
            id=derived_id(
                _scope_text(batch.scope),
                batch.strategy.name,
                prompts.VERSION,
                self._extractor.name,
                *(message.id for message in batch.messages),
                str(ordinal),
            ),
            scope=batch.scope,
            text=draft.text,
            memory_type=draft.memory_type,
            topics=draft.topics,
            entities=draft.entities,
            event_date=draft.event_date,
            created_at=max(message.created_at for message in quoted),
            updated_at=at,
            last_accessed=at,
            persisted_at=at,
            extracted_from=tuple(message.id for message in quoted),
            extraction_strategy=batch.strategy.name,
            extraction_strategy_config=batch.strategy.config,
            metadata={
                "extractor": self._extractor.name,
                "prompt_version": prompts.VERSION,
                **(draft.metadata or {}),
            },
            source=source,
            trust=trust,
            author=ACTOR,
        )

    def _summary_record(
        self, batch: ExtractionBatch, drafts: Sequence[ExtractedDraft], previous: Memory | None
    ) -> Memory:
        """One record a thread, carried on: several drafts are joined, counts and the fingerprint go on from the last."""
        before: dict[str, Any] = dict(previous.metadata) if previous else {}
        ids = [*(previous.extracted_from or () if previous else ()), *(message.id for message in batch.messages)]
        times = [message.created_at for message in batch.messages]
        config_topics: Any = batch.strategy.config.get("topics") or ()
        topics = [topic for draft in drafts for topic in draft.topics]
        entities = [entity for draft in drafts for entity in draft.entities]
        earliest = before.get("source_created_at_min") or min(times).isoformat()
        base = self._record(batch, drafts[0], 0, batch.messages)
        return replace(
            base,
            id=summary_id(batch.scope),
            text="\n\n".join(draft.text for draft in drafts),
            memory_type=MemoryType.SEMANTIC,
            topics=clean_tags([*topics, *(str(topic) for topic in config_topics), "thread-summary"]),
            entities=clean_tags(entities),
            event_date=None,
            created_at=previous.created_at if previous else base.created_at,
            extracted_from=tuple(dict.fromkeys(ids))[-_SOURCE_IDS_KEPT:],
            metadata={
                **base.metadata,
                "source_session_id": batch.scope.session_id,
                "message_count": int(before.get("message_count", 0)) + len(batch.messages),
                "source_message_ids": list(dict.fromkeys(ids))[-_SOURCE_IDS_KEPT:],
                "source_created_at_min": earliest,
                "source_created_at_max": max(times).isoformat(),
                "source_message_fingerprint": _fingerprint(before.get("source_message_fingerprint"), batch.messages),
                "summary_version": batch.strategy.config.get("summary_version", SUMMARY_VERSION),
            },
        )

    async def _commit(self, records: Sequence[Memory], guard: SessionGuard, *, deduplicate: bool) -> bool:
        # A redelivered batch finds its first outcome in place; a summary is meant to be replaced.
        indexed = await self._indexer.prepare(records, deduplicate=deduplicate, if_absent=deduplicate)
        committed = await self._memories.commit(
            Operation(
                id=self._new_id(),
                tenant=guard.scope.tenant,
                kind=OperationKind.EXTRACT,
                actor=ACTOR,
                at=self._now(),
                changes=indexed.puts,
                intents=indexed.intents,
                guard=guard,
                reason=f"extracted by {self._extractor.name} from session {guard.scope.session_id}",
            )
        )
        return committed.applied


def summary_id(scope: Scope) -> str:
    """The thread summary's id, as the wire contract (section 6.6) builds it."""
    named = f"{scope.namespace or ''}|{scope.user_id or ''}|{scope.session_id or ''}"
    return f"thread_summary_{hashlib.sha256(named.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def summary_key(scope: Scope) -> MemoryKey:
    return MemoryKey(scope.tenant, scope.namespace, scope.user_id, summary_id(scope))


def _scope_text(scope: Scope) -> str:
    return json.dumps([scope.tenant, scope.namespace, scope.user_id, scope.session_id])


def _fingerprint(before: object, messages: Sequence[Message]) -> str:
    """A chain over all messages so far: equal threads have equal fingerprints, and adding costs only what is new."""
    digest = hashlib.sha256(str(before or "").encode())
    for message in messages:
        line = json.dumps([message.id, message.created_at.isoformat(), message.role, message.content])
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _provenance(messages: Sequence[Message]) -> tuple[Source, float]:
    """Whose words they are; one message from a tool makes the whole statement as little trusted as the tool."""
    roles = {message.role for message in messages}
    if roles & {"tool", "function"}:
        return Source.TOOL, UNTRUSTED
    return (Source.USER, 1.0) if "user" in roles else (Source.ASSISTANT, 1.0)
