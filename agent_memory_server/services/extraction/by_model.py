"""Extraction by a language model: one question a batch, through the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent_memory_server import prompts
from agent_memory_server.domain.context_window import DEFAULT_WINDOW_TOKENS, window_tokens
from agent_memory_server.domain.sessions import Message
from agent_memory_server.domain.strategies import (
    EXTRACTION_SCHEMA,
    ExtractedDraft,
    StrategyName,
    fill_template,
    parse_extraction,
    summary_words,
    text_length_max,
)
from agent_memory_server.domain.summarization import pieces
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.services.extraction.batches import ExtractionBatch, fenced
from agent_memory_server.services.language import LanguageGate

BATCH_TOKENS_MAX = 8_000
"""Of new messages in one question: beyond it models begin to overlook what is in the middle."""
_WINDOW_SHARE = 4
"""A small model's batch is this part of its window: rules, context, summary and answer need room as well."""
_CHARS_A_TOKEN = 4
_OUTPUT_TOKENS_MAX = 4_096
"""What every model can; an answer that this cuts makes the batch be asked in halves."""


class ModelExtractor:
    def __init__(self, *, gate: LanguageGate, top_k_topics: int) -> None:
        self._gate = gate
        self._top_k_topics = top_k_topics
        window = window_tokens(gate.choice.generation, None) or DEFAULT_WINDOW_TOKENS
        self._batch_tokens_max = min(BATCH_TOKENS_MAX, window // _WINDOW_SHARE)

    @property
    def name(self) -> str:
        return "model"

    @property
    def model(self) -> str:
        return self._gate.choice.generation

    @property
    def batch_tokens_max(self) -> int:
        return self._batch_tokens_max

    async def extract(self, batch: ExtractionBatch, /) -> tuple[ExtractedDraft, ...]:
        """A message that is longer than a whole batch is read in pieces, one question each."""
        drafts: tuple[ExtractedDraft, ...] = ()
        for messages in self._pieces(batch.messages):
            part = replace(batch, messages=messages)
            if drafts and batch.strategy.name == StrategyName.SUMMARY:
                part = replace(part, summary="\n\n".join(draft.text for draft in drafts))
                drafts = await self._ask(part)
            else:
                drafts += await self._ask(part)
        return drafts

    def _pieces(self, messages: Sequence[Message]) -> list[Sequence[Message]]:
        if len(messages) != 1:
            return [messages]
        return [(piece,) for piece in pieces(messages[0], self._batch_tokens_max)]

    async def _ask(self, batch: ExtractionBatch) -> tuple[ExtractedDraft, ...]:
        length_max = text_length_max(batch.strategy)
        return await self._gate.ask(
            Purpose.EXTRACTION,
            instructions=self._instructions(batch),
            content=fenced(batch, summary_length_max=self._batch_tokens_max * _CHARS_A_TOKEN),
            schema=EXTRACTION_SCHEMA,
            schema_name="memories",
            parse=lambda answer: parse_extraction(answer, batch.messages, length_max=length_max),
            output_tokens_max=max(_OUTPUT_TOKENS_MAX, length_max // _CHARS_A_TOKEN),
        )

    def _instructions(self, batch: ExtractionBatch) -> str:
        rules = fill_template(prompts.load("extraction_rules"), {"top_k_topics": str(self._top_k_topics)})
        match batch.strategy.name:
            case StrategyName.SUMMARY:
                words = {"max_summary_length": str(summary_words(batch.strategy))}
                task = fill_template(prompts.load("extraction_summary"), words)
            case StrategyName.PREFERENCES:
                task = prompts.load("extraction_preferences")
            case StrategyName.CUSTOM:
                task = fill_template(str(batch.strategy.config["custom_prompt"]), _variables(batch, self._gate))
            case _:
                task = prompts.load("extraction_discrete")
        return f"{rules}\n\nYour task:\n{task}"


def _variables(batch: ExtractionBatch, gate: LanguageGate) -> dict[str, str]:
    """What a custom prompt may name (wire contract, section 7.11). Stored text is not among the instructions: ``message``
    and ``context`` say where the model finds it."""
    return {
        "message": "(the messages in the JSON input)",
        "context": "(the context in the JSON input)",
        "current_datetime": batch.now.isoformat(),
        "session_id": batch.scope.session_id or "",
        "namespace": batch.scope.namespace or "",
        "user_id": batch.scope.user_id or "",
        "model_name": gate.choice.generation,
        "topics": "",
        "entities": "",
    }
