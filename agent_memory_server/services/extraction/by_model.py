"""Extraction by a language model: one question a batch, through the gate."""

from __future__ import annotations

from agent_memory_server import prompts
from agent_memory_server.domain.strategies import (
    EXTRACTION_SCHEMA,
    ExtractedDraft,
    StrategyName,
    fill_template,
    parse_extraction,
    summary_words,
)
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.services.extraction.batches import ExtractionBatch, fenced
from agent_memory_server.services.language import LanguageGate


class ModelExtractor:
    def __init__(self, *, gate: LanguageGate, top_k_topics: int) -> None:
        self._gate = gate
        self._top_k_topics = top_k_topics

    @property
    def name(self) -> str:
        return "model"

    async def extract(self, batch: ExtractionBatch, /) -> tuple[ExtractedDraft, ...]:
        return await self._gate.ask(
            Purpose.EXTRACTION,
            instructions=self._instructions(batch),
            content=fenced(batch),
            schema=EXTRACTION_SCHEMA,
            schema_name="memories",
            parse=lambda answer: parse_extraction(answer, batch.messages),
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
