"""What an extractor is given: the new messages of a thread and as much before them as they need to be understood.

Whatever a conversation's length, each message is new once and context a bounded number of times: the cost grows with the
conversation, not with its square.
"""

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
CONTEXT_LENGTH_MAX = 2_000
"""Characters of one message of the context; of a longer one its end goes along, which the new messages follow."""
NEW_MESSAGES_MAX = 40
"""New messages in one question to a model; a longer backlog takes several."""
_NEVER_EXTRACTED = frozenset({"system", "developer"})
_ASSISTANTS = frozenset({"assistant", "ai"})


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

    @property
    def model(self) -> str | None:
        """Which model, where one is asked: recorded with each operation."""
        ...

    @property
    def batch_tokens_max(self) -> int:
        """How many tokens of new messages it takes at a time; one longer message it takes as well."""
        ...

    async def extract(self, batch: ExtractionBatch, /) -> tuple[ExtractedDraft, ...]:
        """Raises ModelUnavailable (retryable) when a model does not answer; then nothing of the batch is marked done."""
        ...


def is_part_of_the_talk(message: Message) -> bool:
    """Instructions to the assistant are neither a source of memories nor context: they say nothing about anybody."""
    return message.role.lower() not in _NEVER_EXTRACTED


def is_assistants(message: Message) -> bool:
    """The assistant's own words: context for what others say. With a name it is somebody who speaks in that role."""
    return message.role.lower() in _ASSISTANTS and message.name is None


def fenced(batch: ExtractionBatch, *, summary_length_max: int) -> str:
    """The batch as one JSON document: stored text cannot leave its string, so it stays data."""
    document: dict[str, Any] = {
        "now": batch.now.isoformat(),
        "context": {
            "summary": batch.summary[-summary_length_max:],
            "messages": [_line(message, CONTEXT_LENGTH_MAX) for message in batch.before],
        },
        "messages": [{"n": number, **_line(message)} for number, message in enumerate(batch.messages, start=1)],
    }
    return fenced_json(document)


def fenced_json(document: object) -> str:
    """JSON in which no angle bracket stands bare, so that no text can pose as a tag of the prompt around it."""
    return json.dumps(document, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")


def _line(message: Message, length_max: int | None = None) -> dict[str, Any]:
    line: dict[str, Any] = {"time": message.created_at.isoformat(), "role": message.role}
    if message.name:
        line["name"] = message.name
    line["text"] = message.content if length_max is None else message.content[-length_max:]
    return line
