"""Progressive summarisation in the background: every message stays live, or is archived under a summary that includes it.

Each portion is one step: summarise, then archive these messages and store the new summary in one commit that holds only if
the summary is still the one that the model read. A failure in between leaves what was done and the rest live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from agent_memory_server import prompts
from agent_memory_server.domain.context_window import DEFAULT_WINDOW_TOKENS, window_tokens
from agent_memory_server.domain.extractive_summary import summarize_messages
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.sessions import Message, SessionGuard
from agent_memory_server.domain.strategies import fill_template
from agent_memory_server.domain.summarization import portion_tokens, portions, summary_tokens, to_summarize
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.ports.tokenizer import Tokenizer
from agent_memory_server.ports.working_memory import WorkingMemoryStore
from agent_memory_server.services.extraction.batches import fenced_json
from agent_memory_server.services.language import LanguageGate

_CHARS_A_TOKEN = 4
_WORDS_A_TOKEN = 0.7
_LOCAL_WINDOW_TOKENS = 16_000
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["summary"],
    "properties": {"summary": {"type": "string"}},
}


class Summarizer(Protocol):
    """Adds messages to a running summary."""

    @property
    def window_tokens(self) -> int:
        """The context window of what does the summarising."""
        ...

    async def extend(self, previous: str, messages: Sequence[Message], /) -> str:
        """The new summary, never empty. Raises ModelUnavailable."""
        ...


class ModelSummarizer:
    """Summaries by a language model."""

    def __init__(self, gate: LanguageGate) -> None:
        self._gate = gate
        self._window = window_tokens(gate.choice.generation, None) or DEFAULT_WINDOW_TOKENS

    @property
    def window_tokens(self) -> int:
        return self._window

    async def extend(self, previous: str, messages: Sequence[Message], /) -> str:
        budget = summary_tokens(self._window)
        portion_chars = portion_tokens(self._window) * _CHARS_A_TOKEN
        words = {"summary_words": str(int(budget * _WORDS_A_TOKEN))}
        return await self._gate.ask(
            Purpose.SUMMARIZATION,
            instructions=fill_template(prompts.load("summarization"), words),
            content=fenced_json({"summary": previous, "messages": [_line(each, portion_chars) for each in messages]}),
            schema=_SCHEMA,
            schema_name="summary",
            parse=_parsed,
            output_tokens_max=2 * budget,
        )


class ExtractiveSummarizer:
    """Summaries by choosing sentences, without any model."""

    @property
    def window_tokens(self) -> int:
        return _LOCAL_WINDOW_TOKENS

    async def extend(self, previous: str, messages: Sequence[Message], /) -> str:
        budget_chars = summary_tokens(_LOCAL_WINDOW_TOKENS) * _CHARS_A_TOKEN
        return summarize_messages(messages, previous=previous or None, budget_chars=budget_chars)


class SummarizationService:
    def __init__(
        self,
        *,
        store: WorkingMemoryStore,
        summarizer: Summarizer,
        tokenizer: Tokenizer,
        threshold: float,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._summarizer = summarizer
        self._tokenizer = tokenizer
        self._threshold = threshold
        self._now = now

    async def run(self, scope: Scope, *, window: int | None = None) -> int:
        """Summarise what has to leave the session's window; returns how many messages were archived.

        Raises ModelUnavailable; portions that were done stay done.
        """
        session = await self._store.load(scope, now=self._now())
        if session is None:
            return 0
        guard = SessionGuard(scope=scope, epoch=session.epoch)
        context = session.context
        archived = 0
        leaving = to_summarize(session.messages, window or DEFAULT_WINDOW_TOKENS, self._threshold)
        for portion in portions(leaving, portion_tokens(self._summarizer.window_tokens)):
            summary = await self._summarizer.extend(context or "", portion)
            stored = await self._store.archive(
                guard,
                message_ids=[message.id for message in portion],
                context=summary,
                if_context=context,
                tokens=self._tokenizer.count(summary),
                at=self._now(),
            )
            if not stored:
                # A client wrote a summary of its own, or the session is gone: theirs stands, and the next run sees it.
                break
            context = summary
            archived += len(portion)
        await self._store.summarized(guard)
        return archived


def _line(message: Message, length_max: int) -> dict[str, Any]:
    line = {"time": message.created_at.isoformat(), "role": message.role, "text": message.content[:length_max]}
    return {**line, "name": message.name} if message.name else line


def _parsed(answer: Mapping[str, Any]) -> str:
    summary = answer.get("summary")
    if not isinstance(summary, str) or not summary.strip() or summary.strip().upper() == "NONE":
        raise ValueError("it holds no summary")
    return summary.strip()
