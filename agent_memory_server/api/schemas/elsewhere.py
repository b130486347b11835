"""What a file from elsewhere holds, with the checks that a request's memories and messages get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent_memory_server.api.schemas.memories import ExtractedMemoryRecord, to_memory
from agent_memory_server.api.schemas.working_memory import MemoryMessage, to_message
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.sessions import Message
from agent_memory_server.errors import InvalidInput
from agent_memory_server.importers.contents import Elsewhere, FileFact
from agent_memory_server.importers.conversations import FileMessage
from agent_memory_server.services.taking_in import Conversation

Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    memories: Sequence[Memory]
    conversations: Sequence[Conversation]
    left_out: int
    """Items of the file that hold nothing to keep."""
    shortened: int
    """Texts that were longer than one may be here."""

    @property
    def messages(self) -> int:
        return sum(len(each.messages) for each in self.conversations)


def checked(
    found: Elsewhere, *, tenant: str, at: datetime, new_id: Callable[[], str], timestamps_required: bool = False
) -> Checked:
    """Raises InvalidInput that says which statement or message cannot be stored, and why."""
    messages = [each for session in found.sessions for each in session.messages]
    if timestamps_required and any(each.created_at is None for each in messages):
        raise InvalidInput("REQUIRE_MESSAGE_TIMESTAMPS is set, and a message of the file has no time")
    return Checked(
        memories=[
            to_memory(
                _fact(fact, number), number, tenant=tenant, at=at, new_id=new_id, default_type=MemoryType.SEMANTIC
            )
            for number, fact in enumerate(found.facts)
        ],
        conversations=[
            Conversation(
                session_id=session.session_id,
                messages=[_message(each, number, at, new_id) for number, each in enumerate(session.messages)],
            )
            for session in found.sessions
        ],
        left_out=found.left_out,
        shortened=sum(len(each.text) > LIMITS.text_length_max for each in found.facts)
        + sum(len(each.content) > LIMITS.message_length_max for each in messages),
    )


def _fact(fact: FileFact, number: int) -> ExtractedMemoryRecord:
    told = asdict(fact)
    told["memory_type"] = "episodic" if told.pop("is_episode") else "semantic"
    told["text"] = fact.text[: LIMITS.text_length_max]
    told |= {"metadata": fact.metadata or {}, "topics": list(fact.topics), "entities": list(fact.entities)}
    created_at, updated_at = fact.created_at, fact.updated_at or fact.created_at
    said = {
        "updated_at": updated_at,
        "last_accessed": created_at,
        "extraction_strategy": "imported",
        "source": "imported",
    }
    return _valid(ExtractedMemoryRecord, told | said, f"statement {number + 1}")


def _message(message: FileMessage, number: int, at: datetime, new_id: Callable[[], str]) -> Message:
    told = asdict(message) | {"content": message.content[: LIMITS.message_length_max]}
    return to_message(_valid(MemoryMessage, told, f"message {number + 1}"), at=at, new_id=new_id)


def _valid(schema: type[Schema], told: dict[str, Any], what: str) -> Schema:
    try:
        return schema.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"{what} of the file: {field}: {first['msg']}", field=("body",), kind="import_item"
        ) from error
