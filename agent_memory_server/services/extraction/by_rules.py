"""Extraction without a language model: statements by rules, thread summaries by choosing sentences.

A custom prompt cannot be followed without a model: its messages are then extracted from as by the discrete strategy, and each
record says so in its metadata (``extractor: rules``), so that it can be told apart later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_memory_server.domain.extraction_rules import RuleMemory, extract_by_rules
from agent_memory_server.domain.extractive_summary import summarize_messages
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.strategies import ExtractedDraft, StrategyName, summary_words
from agent_memory_server.domain.tags import clean_tags
from agent_memory_server.services.extraction.batches import ExtractionBatch

_CHARS_A_WORD = 6
_BATCH_TOKENS_MAX = 100_000
"""Only so that one batch does not take long: there is no window."""
_PREFERENCE_RULES = frozenset({"preference", "answer_style"})


class RuleExtractor:
    @property
    def name(self) -> str:
        return "rules"

    @property
    def model(self) -> None:
        return None

    @property
    def batch_tokens_max(self) -> int:
        return _BATCH_TOKENS_MAX

    async def extract(self, batch: ExtractionBatch, /) -> tuple[ExtractedDraft, ...]:
        """Never fails, and needs neither model nor network."""
        if batch.strategy.name == StrategyName.SUMMARY:
            return self._summary(batch)
        found = extract_by_rules(batch.messages)
        if batch.strategy.name == StrategyName.PREFERENCES:
            found = [memory for memory in found if memory.rule in _PREFERENCE_RULES]
        return tuple(_draft(memory) for memory in found)

    def _summary(self, batch: ExtractionBatch) -> tuple[ExtractedDraft, ...]:
        text = summarize_messages(
            batch.messages,
            previous=batch.summary or None,
            budget_chars=summary_words(batch.strategy) * _CHARS_A_WORD,
        )
        if not text:
            return ()
        sources = tuple(message.id for message in batch.messages)
        return (ExtractedDraft(text=text, memory_type=MemoryType.SEMANTIC, source_ids=sources),)


def _draft(memory: RuleMemory) -> ExtractedDraft:
    metadata: Mapping[str, Any] = {"rule": memory.rule, "confidence": memory.confidence}
    return ExtractedDraft(
        text=memory.text,
        memory_type=memory.memory_type,
        topics=clean_tags(memory.topics),
        entities=clean_tags(memory.entities),
        event_date=memory.event_date,
        source_ids=memory.message_ids,
        metadata=metadata,
    )
