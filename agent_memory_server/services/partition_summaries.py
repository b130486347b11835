"""The two ways to make one text of a partition's memories: by a language model, and by choosing sentences without one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agent_memory_server import prompts
from agent_memory_server.domain.context_window import DEFAULT_WINDOW_TOKENS, window_tokens
from agent_memory_server.domain.extractive_summary import extractive_summary
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.summary_views import Group, PromptBudget, summary_content
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.services.language import LanguageGate

_EXTRACT_CHARS_MAX = 1_500
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["summary"],
    "properties": {"summary": {"type": "string"}},
}


class ExtractivePartitions:
    """``ports.summarizer.Summarizer`` without a model: the sentences that say most of what the memories say.

    A view's prompt and model have no effect here, and so none on when a summary is due.
    """

    def method(self, *, prompt: str | None, model_name: str | None) -> str:
        del prompt, model_name
        return "extractive 1"

    async def summarize(
        self, memories: Sequence[Memory], /, *, group: Group, total: int, prompt: str | None, model_name: str | None
    ) -> str:
        del group, total, prompt, model_name
        texts = [memory.text for memory in memories]
        # Many long texts take a while: requests go on meanwhile.
        chosen = await asyncio.to_thread(extractive_summary, texts, budget_chars=_EXTRACT_CHARS_MAX)
        # Texts without a single word (numbers, signs) leave nothing to choose: then the newest speaks for itself.
        return chosen or texts[-1][:_EXTRACT_CHARS_MAX]


class ModelPartitions:
    """``ports.summarizer.Summarizer`` by a language model, through the gate."""

    def __init__(self, gate: LanguageGate, *, threshold: float) -> None:
        self._gate = gate
        self._threshold = threshold

    def method(self, *, prompt: str | None, model_name: str | None) -> str:
        return "\n".join(("model", prompts.VERSION, self._model(model_name), prompt or prompts.load("summary_view")))

    async def summarize(
        self, memories: Sequence[Memory], /, *, group: Group, total: int, prompt: str | None, model_name: str | None
    ) -> str:
        instructions = f"{(prompt or prompts.load('summary_view')).strip()}\n\n{prompts.load('summary_view_rules')}"
        window = window_tokens(self._model(model_name), None) or DEFAULT_WINDOW_TOKENS
        return await self._gate.ask(
            Purpose.SUMMARY_VIEW,
            instructions=instructions,
            content=summary_content(
                memories,
                group=group,
                total=total,
                budget=PromptBudget(window_tokens=window, threshold=self._threshold),
                instructions_length=len(instructions),
            ),
            schema=_SCHEMA,
            schema_name="summary",
            parse=_summary_of,
            model=model_name,
        )

    def _model(self, model_name: str | None) -> str:
        return model_name or self._gate.choice.for_purpose(Purpose.SUMMARY_VIEW)


def _summary_of(answer: Mapping[str, Any]) -> str:
    summary = answer.get("summary")
    if not isinstance(summary, str) or not summary.strip() or summary.strip().upper() == "NONE":
        raise ValueError("it holds no summary")
    return summary.strip()
