"""One's own conversations, in the words of this server's API:

    [{"name": "ana",
      "sessions": [{"session_id": "monday",
                    "messages": [{"id": "m1", "role": "user", "name": "Ana", "content": "…", "created_at": "2025-03-03T18:42"}]}],
      "questions": [{"question": "Where does Ana live?", "evidence": ["m1"], "category": "facts"},
                    {"question": "What is her cat called?", "evidence": []}]}]

``id`` is unique within its conversation. ``name``, ``created_at`` and ``category`` may be missing. A question with empty
evidence is one that the conversation does not answer. What is wrong is said with its place, rather than left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agent_memory_server.importers.conversations import FileMessage, FileSession
from benchmarks.retrieval.samples import Question, Sample, UnknownFormat, fields_of, items_of


def is_own(item: Any) -> bool:
    return "sessions" in fields_of(item)


def own_sample(item: Mapping[str, Any], number: int) -> Sample:
    """Raises UnknownFormat that says where the conversation is wrong."""
    name = str(item.get("name") or number)
    where = f"conversation {name}"
    sessions = [
        _session(each, f"{where}, session {place}", name, place)
        for place, each in enumerate(_list(item, "sessions", where), start=1)
    ]
    ids = [message.id for session in sessions for message in session.messages]
    if len(set(ids)) < len(ids):
        twice = next(each for each in ids if ids.count(each) > 1)
        raise UnknownFormat(f"{where}: the message id {twice.removeprefix(f'{name}-')!r} stands there twice")
    questions: list[Question] = []
    unanswerable: list[str] = []
    for place, each in enumerate(_list(item, "questions", where), start=1):
        here = f"{where}, question {place}"
        text = _text(each, "question", here)
        named = {f"{name}-{identity}" for identity in _list(each, "evidence", here)}
        if unknown := named - set(ids):
            missing = min(unknown).removeprefix(f"{name}-")
            raise UnknownFormat(f"{here}: the evidence {missing!r} is no message's id")
        if named:
            category = str(fields_of(each).get("category") or "question")
            questions.append(Question(text=text, category=category, evidence=frozenset(named)))
        else:
            unanswerable.append(text)
    return Sample(name=name, sessions=sessions, questions=questions, unanswerable=unanswerable)


def _session(value: Any, where: str, name: str, number: int) -> FileSession:
    messages = [
        _message(each, f"{where}, message {place}", name)
        for place, each in enumerate(_list(value, "messages", where), start=1)
    ]
    return FileSession(session_id=f"{name}-{fields_of(value).get('session_id') or number}", messages=tuple(messages))


def _message(value: Any, where: str, name: str) -> FileMessage:
    return FileMessage(
        id=f"{name}-{_text(value, 'id', where)}",
        role=_text(value, "role", where),
        content=_text(value, "content", where),
        created_at=_time(value.get("created_at"), where),
        name=_text(value, "name", where) if value.get("name") is not None else None,
    )


def _list(value: Any, field: str, where: str) -> Sequence[Any]:
    found = fields_of(value).get(field)
    if not isinstance(found, list):
        raise UnknownFormat(f"{where}: {field} must be a list")
    return items_of(found)


def _text(value: Any, field: str, where: str) -> str:
    found = fields_of(value).get(field)
    if not isinstance(found, str) or not found.strip():
        raise UnknownFormat(f"{where}: {field} must be a text that is not blank")
    return found


def _time(value: Any, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise UnknownFormat(f"{where}: created_at {value!r} is not a time in ISO 8601") from error
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed
