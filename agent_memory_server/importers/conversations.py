"""Conversation files as sessions of messages: a JSON list of messages, or the LoCoMo format.

A message's id depends on the file alone (its own id, LoCoMo's dialogue id, or a digest of place and content), so importing
the same file again, or a longer version of it, adds only what is new. Raises InvalidInput that says where the file is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from agent_memory_server.errors import InvalidInput

SECONDS_PER_TURN = 5
"""LoCoMo dates sessions, not turns: each turn is placed this long after the one before."""
_LOCOMO_TIME = "%I:%M %p on %d %B, %Y"
_LOCOMO_SESSION = re.compile(r"session_(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMessage:
    id: str
    role: str
    content: str
    created_at: datetime | None = None
    """None: the file does not say; the time of the import."""
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSession:
    """``blank`` counts messages without any text, which are left out."""

    session_id: str
    messages: tuple[FileMessage, ...]
    blank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose sessions they become; a file does not say."""

    namespace: str | None
    user_id: str | None


def read_sessions(
    path: Path, *, session_id: str | None = None, conversation: str | None = None
) -> tuple[FileSession, ...]:
    """The sessions of the file in their order. ``conversation`` picks one of several by sample id or number from 1."""
    content = _parsed(path)
    if _is_locomo(content):
        content = [content]
    if not isinstance(content, list) or not content:
        raise InvalidInput(
            f"{path.name} holds no conversation: expected a list of messages with role and content, or a LoCoMo file"
        )
    items = cast("list[Any]", content)
    if not _is_locomo(items[0]):
        if conversation is not None:
            raise InvalidInput(f"{path.name} is a list of messages; --conversation picks one of several conversations")
        return (_plain_session(items, session_id or path.stem),)
    chosen = _chosen(items, conversation, path.name)
    return tuple(session for each in chosen for session in _locomo_sessions(each, session_id))


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path.name} is not JSON: {error}") from error


def _is_locomo(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(cast("dict[str, Any]", value).get("conversation"), dict)


def _chosen(conversations: Sequence[Any], wanted: str | None, file_name: str) -> Sequence[Any]:
    for place, each in enumerate(conversations, start=1):
        if not _is_locomo(each):
            raise InvalidInput(f"conversation {place} of {file_name} has no 'conversation' object")
    if wanted is None:
        return conversations
    named = [each for each in conversations if each.get("sample_id") == wanted]
    if not named and wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(conversations):
        named = [conversations[int(wanted) - 1]]
    if not named:
        known = ", ".join(str(each.get("sample_id")) for each in conversations[:20])
        raise InvalidInput(f"{file_name} has no conversation {wanted}; it has {known} (or a number from 1)")
    return named[:1]


def _plain_session(messages: Sequence[Any], session_id: str) -> FileSession:
    found: list[FileMessage] = []
    for place, each in enumerate(messages, start=1):
        message = _plain_message(each, place, session_id)
        if message is not None:
            found.append(message)
    return FileSession(session_id=session_id, messages=tuple(found), blank=len(messages) - len(found))


def _plain_message(value: Any, place: int, session_id: str) -> FileMessage | None:
    if not isinstance(value, dict):
        raise InvalidInput(f"message {place} is not an object with role and content")
    fields = cast("dict[str, Any]", value)
    role, content = fields.get("role"), fields.get("content")
    for field, text in (("role", role), ("content", content)):
        if not isinstance(text, str):
            raise InvalidInput(f"message {place}: {field} must be a string")
    if not cast(str, content).strip():
        return None
    return FileMessage(
        id=_optional_text(fields, "id", place) or _digest(session_id, str(place), cast(str, role), cast(str, content)),
        role=cast(str, role),
        content=cast(str, content),
        created_at=_time(fields.get("created_at"), place),
        name=_optional_text(fields, "name", place),
    )


def _digest(*parts: str) -> str:
    from agent_memory_server.domain.records import derived_id

    return derived_id("import-conversation", *parts)


def _optional_text(fields: dict[str, Any], field: str, place: int) -> str | None:
    value = fields.get(field)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"message {place}: {field} must be a string")
    return value or None


def _time(value: Any, place: int) -> datetime | None:
    """ISO 8601 (naive is UTC) or seconds since 1970."""
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        parsed = datetime.fromisoformat(cast(str, value))
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"message {place}: created_at {value!r} is not a time (ISO 8601 or seconds)") from error


def _locomo_sessions(sample: dict[str, Any], prefix: str | None) -> list[FileSession]:
    """One session a LoCoMo session, in order of their numbers, named ``<sample_id>-session_N``."""
    conversation: dict[str, Any] = sample["conversation"]
    sample_id = str(sample.get("sample_id") or "conversation")
    numbers = sorted(
        int(match[1]) for key in conversation if (match := _LOCOMO_SESSION.fullmatch(key)) and conversation[key]
    )
    if not numbers:
        raise InvalidInput(f"conversation {sample_id} has no session_1")
    sessions: list[FileSession] = []
    for number in numbers:
        started = _locomo_time(conversation.get(f"session_{number}_date_time"), sample_id, number)
        turns = cast("list[Any]", conversation[f"session_{number}"])
        messages = [
            message
            for place, turn in enumerate(turns)
            if (message := _locomo_message(turn, place, started, conversation, sample_id, number)) is not None
        ]
        sessions.append(
            FileSession(
                session_id=f"{prefix or sample_id}-session_{number}",
                messages=tuple(messages),
                blank=len(turns) - len(messages),
            )
        )
    return sessions


def _locomo_message(
    turn: Any, place: int, started: datetime | None, conversation: dict[str, Any], sample_id: str, number: int
) -> FileMessage | None:
    where = f"conversation {sample_id}, session_{number}, turn {place + 1}"
    fields = cast("dict[str, Any]", turn) if isinstance(turn, dict) else {}
    speaker, text = fields.get("speaker"), fields.get("text")
    if not isinstance(speaker, str) or not isinstance(text, str):
        raise InvalidInput(f"{where}: speaker and text must be strings")
    caption = fields.get("blip_caption")
    content = text.strip()
    if isinstance(caption, str) and caption.strip():
        content = f"{content} [shares {caption.strip()}]".strip()
    if not content:
        return None
    return FileMessage(
        id=f"{sample_id}-{fields.get('dia_id') or f'D{number}:{place + 1}'}",
        role="assistant" if speaker == conversation.get("speaker_b") else "user",
        content=content,
        created_at=None if started is None else started + timedelta(seconds=SECONDS_PER_TURN * place),
        name=speaker,
    )


def _locomo_time(value: Any, sample_id: str, number: int) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.strptime(str(value), _LOCOMO_TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput(
            f"conversation {sample_id}: session_{number}_date_time {value!r} is not like '1:56 pm on 8 May, 2023'"
        ) from error
