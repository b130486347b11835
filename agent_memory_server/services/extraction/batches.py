"""What an extractor is given: the new messages of a thread and as much before them as they need to be understood."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.sessions import Message, Strategy
from agent_memory_server.domain.strategies import ExtractedDraft

CONTEXT_MESSAGES = 8
"""Messages before the new ones that go along: enough for pronouns, constant for a conversation of any length."""
NEW_MESSAGES_MAX = 40
"""New messages in one question to a model; a longer backlog takes several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionBatch:
    """``summary``: the thread's summary record until now (summary strategy), or the session's running summary."""

    scope: Scope
    strategy: Strategy
    messages: Sequence[Message]
    before: Sequence[Message] = ()
    summary: str = ""
    now: datetime


class Extractor(Protocol):
    """One way of turning a batch into drafts."""

    @property
    def name(self) -> str:
        """``model`` or ``rules``: recorded with each memory."""
        ...

    async def extract(self, batch: ExtractionBatch, /) -> tuple[ExtractedDraft, ...]:
        """Raises ModelUnavailable (retryable) when a model does not answer; then nothing of the batch is marked done."""
        ...


def fenced(batch: ExtractionBatch) -> str:
    """The batch as one JSON document: stored text cannot leave its string, so it stays data."""
    document: dict[str, Any] = {
        "now": batch.now.isoformat(),
        "context": {"summary": batch.summary, "messages": [_line(message) for message in batch.before]},
        "messages": [{"n": number, **_line(message)} for number, message in enumerate(batch.messages, start=1)],
    }
    return fenced_json(document)


def fenced_json(document: object) -> str:
    """JSON in which no angle bracket stands bare, so that no text can pose as a tag of the prompt around it."""
    return json.dumps(document, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")


def _line(message: Message) -> dict[str, Any]:
    line: dict[str, Any] = {"time": message.created_at.isoformat(), "role": message.role}
    if message.name:
        line["name"] = message.name
    line["text"] = message.content
    return line
