"""Drafts become records: whose they are, where they come from, and ids that a second delivery repeats. No I/O.

A model's or rule's draft is content only; owner, session, source messages, trust, times and ids are set here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_memory_server import prompts
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import Memory, MemoryKey, MemoryType, Source, derived_id, trust_of
from agent_memory_server.domain.sessions import Message, Strategy
from agent_memory_server.domain.strategies import ExtractedDraft, StrategyName
from agent_memory_server.domain.tags import clean_tags
from agent_memory_server.services.extraction.batches import ExtractionBatch, Extractor, is_assistants

ACTOR = "task:run_delayed_extraction"
SUMMARY_VERSION = "thread-summary-v1"
SUMMARY_TOPIC = "thread-summary"
_TOOLS = frozenset({"tool", "function"})
_SOURCE_IDS_KEPT = 256


def told(extractor: Extractor) -> dict[str, Any]:
    """What the journal says for programs of how something was extracted."""
    by = {"extractor": extractor.name, "model": extractor.model, "prompt_version": prompts.VERSION}
    return {name: value for name, value in by.items() if value is not None}


def is_summary(strategy: Strategy) -> bool:
    """Whether the strategy keeps one record a thread, which each batch extends."""
    return strategy.name == StrategyName.SUMMARY


def records_of(
    batch: ExtractionBatch, drafts: Sequence[ExtractedDraft], *, extractor: str, previous: Memory | None = None
) -> list[Memory]:
    """The records to store. ``previous`` is the thread's summary until now, of a strategy that keeps one."""
    if is_summary(batch.strategy):
        return [_summary_record(batch, drafts, extractor, previous)] if drafts else []
    by_id = {message.id: message for message in batch.messages}
    return [
        _record(batch, draft, ordinal, [by_id[each] for each in draft.source_ids if each in by_id], extractor)
        for ordinal, draft in enumerate(drafts)
    ]


def summary_id(scope: Scope) -> str:
    """The thread summary's id, as the wire contract (section 6.6) builds it."""
    named = f"{scope.namespace or ''}|{scope.user_id or ''}|{scope.session_id or ''}"
    return f"thread_summary_{hashlib.sha256(named.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def summary_key(scope: Scope) -> MemoryKey:
    return MemoryKey(scope.tenant, scope.namespace, scope.user_id, summary_id(scope))


def _record(
    batch: ExtractionBatch, draft: ExtractedDraft, ordinal: int, sources: Sequence[Message], extractor: str
) -> Memory:
    quoted = sources or batch.messages
    source, trust = _provenance(quoted)
    return Memory(
        id=derived_id(
            _scope_text(batch.scope),
            batch.strategy.name,
            prompts.VERSION,
            extractor,
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
        updated_at=batch.now,
        last_accessed=batch.now,
        persisted_at=batch.now,
        extracted_from=tuple(message.id for message in quoted),
        extraction_strategy=batch.strategy.name,
        extraction_strategy_config=batch.strategy.config,
        metadata={"extractor": extractor, "prompt_version": prompts.VERSION, **(draft.metadata or {})},
        source=source,
        trust=trust,
        author=ACTOR,
    )


def _summary_record(
    batch: ExtractionBatch, drafts: Sequence[ExtractedDraft], extractor: str, previous: Memory | None
) -> Memory:
    """One record a thread, carried on: several drafts are joined, counts and the fingerprint go on from the last, and what
    its owner did with it (pinned, read) stays."""
    before: dict[str, Any] = dict(previous.metadata) if previous else {}
    ids = dict.fromkeys([*(previous.extracted_from or () if previous else ()), *(each.id for each in batch.messages)])
    kept_ids = list(ids)[-_SOURCE_IDS_KEPT:]
    times = [message.created_at for message in batch.messages]
    topics = [
        *(topic for draft in drafts for topic in draft.topics),
        *_configured_topics(batch.strategy),
        SUMMARY_TOPIC,
    ]
    base = _record(batch, drafts[0], 0, batch.messages, extractor)
    carried: dict[str, Any] = {}
    if previous is not None:
        carried = {
            "created_at": previous.created_at,
            "pinned": previous.pinned,
            "access_count": previous.access_count,
            "last_accessed": previous.last_accessed,
            "trust": min(previous.trust, base.trust),
            "name": previous.name,
        }
    return replace(
        base,
        id=summary_id(batch.scope),
        text="\n\n".join(draft.text for draft in drafts),
        memory_type=MemoryType.SEMANTIC,
        topics=clean_tags(topics),
        entities=clean_tags(entity for draft in drafts for entity in draft.entities),
        event_date=None,
        extracted_from=tuple(kept_ids),
        metadata={
            **base.metadata,
            "source_session_id": batch.scope.session_id,
            "message_count": _whole(before.get("message_count")) + len(batch.messages),
            "source_message_ids": kept_ids,
            "source_created_at_min": min(_moments(before.get("source_created_at_min"), times)).isoformat(),
            "source_created_at_max": max(_moments(before.get("source_created_at_max"), times)).isoformat(),
            "source_message_fingerprint": _fingerprint(before.get("source_message_fingerprint"), batch.messages),
            "summary_version": str(batch.strategy.config.get("summary_version") or SUMMARY_VERSION),
        },
        **carried,
    )


def _configured_topics(strategy: Strategy) -> list[str]:
    topics: Any = strategy.config.get("topics")
    return [str(topic) for topic in topics] if isinstance(topics, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _whole(value: object) -> int:
    """A count from metadata, which clients may have written over."""
    return value if isinstance(value, int) and value >= 0 else 0


def _moments(before: object, times: Sequence[datetime]) -> list[datetime]:
    try:
        known = datetime.fromisoformat(before) if isinstance(before, str) else None
    except ValueError:
        known = None
    return [*times, known] if known is not None and known.tzinfo is not None else list(times)


def _scope_text(scope: Scope) -> str:
    return json.dumps([scope.tenant, scope.namespace, scope.user_id, scope.session_id])


def _fingerprint(before: object, messages: Sequence[Message]) -> str:
    """A chain over all messages so far: equal threads have equal fingerprints, and adding costs only what is new."""
    digest = hashlib.sha256(str(before or "").encode("utf-8", "surrogatepass"))
    for message in messages:
        line = json.dumps([message.id, message.created_at.isoformat(), message.role, message.content])
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _provenance(messages: Sequence[Message]) -> tuple[Source, float]:
    """Whose words they are; one message from a tool makes the whole statement as little trusted as the tool."""
    if any(message.role.lower() in _TOOLS for message in messages):
        return Source.TOOL, trust_of(Source.TOOL)
    return (Source.ASSISTANT if all(is_assistants(message) for message in messages) else Source.USER), 1.0
