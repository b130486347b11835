"""Progressive summarisation in the background: every message stays live, or is archived under a summary that includes it.

Each portion is one step: summarise, then archive these messages and store the new summary in one commit that holds only if
summary and messages are still those that the model read. A failure in between leaves what was done and the rest live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from agent_memory_server import prompts
from agent_memory_server.domain.context_window import DEFAULT_WINDOW_TOKENS, window_tokens
from agent_memory_server.domain.extractive_summary import summarize_messages
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.sessions import Message, Session, SessionGuard
from agent_memory_server.domain.strategies import fill_template
from agent_memory_server.domain.summarization import pieces, portion_tokens, portions, summary_tokens, to_summarize
from agent_memory_server.errors import StaleRevision
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.ports.tokenizer import Tokenizer
from agent_memory_server.ports.working_memory import WorkingMemoryStore
from agent_memory_server.services.extraction.batches import fenced_json
from agent_memory_server.services.language import LanguageGate

ROUNDS_MAX = 5
"""How often a run begins anew because a client changed the session meanwhile; after that it is retried later."""
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
    def portion_tokens(self) -> int:
        """How many tokens of messages it takes at a time; one longer message it takes as well."""
        ...

    async def extend(self, previous: str, messages: Sequence[Message], /) -> str:
        """The new summary, never empty. Raises ModelUnavailable."""
        ...


class ModelSummarizer:
    """Summaries by a language model. ``prompt`` is the operator's own, which names {prev_summary} and {messages_joined}."""

    def __init__(self, gate: LanguageGate, *, prompt: str | None = None) -> None:
        self._gate = gate
        window = window_tokens(gate.choice.generation, None) or DEFAULT_WINDOW_TOKENS
        self._portion_tokens = portion_tokens(window)
        self._budget_tokens = summary_tokens(window)
        self._instructions = _instructions(prompt, words=int(self._budget_tokens * _WORDS_A_TOKEN))

    @property
    def portion_tokens(self) -> int:
        return self._portion_tokens

    async def extend(self, previous: str, messages: Sequence[Message], /) -> str:
        """A message that is longer than a portion is read in pieces, each extending the summary."""
        parts = [pieces(message, self._portion_tokens) for message in messages]
        whole = [part[0] for part in parts if len(part) == 1]
        if len(whole) == len(messages):
            return await self._ask(previous, messages)
        for part in parts:
            for piece in part:
                previous = await self._ask(previous, [piece])
        return previous

    async def _ask(self, previous: str, messages: Sequence[Message]) -> str:
        # A client's context may be of any length; its end is the newest.
        summary = previous[-2 * self._budget_tokens * _CHARS_A_TOKEN :]
        return await self._gate.ask(
            Purpose.SUMMARIZATION,
            instructions=self._instructions,
            content=fenced_json({"summary": summary, "messages": [_line(each) for each in messages]}),
            schema=_SCHEMA,
            schema_name="summary",
            parse=_parsed,
            output_tokens_max=2 * self._budget_tokens,
        )


class ExtractiveSummarizer:
    """Summaries by choosing sentences, without any model."""

    @property
    def portion_tokens(self) -> int:
        return portion_tokens(_LOCAL_WINDOW_TOKENS)

    async def extend(self, previous: str, messages: Sequence[Message], /) -> str:
        budget_chars = summary_tokens(_LOCAL_WINDOW_TOKENS) * _CHARS_A_TOKEN
        summary = summarize_messages(messages, previous=previous or None, budget_chars=budget_chars)
        # Messages without a single word leave nothing to choose; what was known before is then still all there is.
        return summary or previous or f"({len(messages)} messages without words)"


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

        Raises ModelUnavailable; portions that were done stay done. When a client changes the session meanwhile, what it
        wrote stands, and the run begins anew with it.
        """
        archived = 0
        for _ in range(ROUNDS_MAX):
            session = await self._store.load(scope, now=self._now())
            if session is None:
                return archived
            leaving = to_summarize(session.messages, window or DEFAULT_WINDOW_TOKENS, self._threshold)
            if not leaving:
                break
            archived += await self._portions(session, leaving)
        else:
            raise StaleRevision("the session is changed faster than it can be summarised; this is tried again later")
        await self._store.summarized(SessionGuard(scope=scope, epoch=session.epoch))
        return archived

    async def _portions(self, session: Session, leaving: Sequence[Message]) -> int:
        """How many messages were archived before all were, or before a client changed something."""
        guard = SessionGuard(scope=session.scope, epoch=session.epoch)
        context = session.context
        archived = 0
        for portion in portions(leaving, self._summarizer.portion_tokens):
            summary = await self._summarizer.extend(context or "", portion)
            stored = await self._store.archive(
                guard,
                messages=portion,
                context=summary,
                if_context=context,
                tokens=self._tokenizer.count(summary),
                at=self._now(),
            )
            if not stored:
                return archived
            context = summary
            archived += len(portion)
        return archived


def _instructions(prompt: str | None, *, words: int) -> str:
    """The operator's prompt points to the input as a custom extraction prompt does: stored text is never among instructions."""
    if prompt is None:
        return fill_template(prompts.load("summarization"), {"summary_words": str(words)})
    pointing = {
        "prev_summary": "(the summary in the JSON input)",
        "messages_joined": "(the messages in the JSON input, oldest first)",
    }
    return f"{fill_template(prompt, pointing)}\n\n{prompts.load('summarization_rules')}"


def _line(message: Message) -> dict[str, Any]:
    line = {"time": message.created_at.isoformat(), "role": message.role, "text": message.content}
    return {**line, "name": message.name} if message.name else line


def _parsed(answer: Mapping[str, Any]) -> str:
    summary = answer.get("summary")
    if not isinstance(summary, str) or not summary.strip() or summary.strip().strip(".").upper() == "NONE":
        raise ValueError("it holds no summary")
    return summary.strip()
