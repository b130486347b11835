"""What a file of conversations with questions becomes, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from agent_memory_server.importers.conversations import FileSession


class UnknownFormat(ValueError):
    """The file is in none of the formats that are read here, or breaks its own; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    text: str
    category: str
    evidence: frozenset[str]
    """Ids of the messages that hold the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One conversation, which is indexed for a user of its own."""

    name: str
    sessions: Sequence[FileSession]
    questions: Sequence[Question]
    unanswerable: Sequence[str] = ()
    """Questions to which the conversation holds no answer."""
    left_out: int = 0
    """Questions that cannot be scored: no evidence is named, or it names no message of the conversation."""

    @property
    def messages(self) -> int:
        return sum(len(session.messages) for session in self.sessions)


def fields_of(value: Any) -> dict[str, Any]:
    """An object of a file; what is none has no fields."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items_of(value: Any) -> list[Any]:
    """A list of a file; what is none is empty."""
    return cast("list[Any]", value) if isinstance(value, list) else []
