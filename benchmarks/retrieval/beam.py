"""BEAM ("Beyond a Million Tokens"): long chats with an assistant, a folder each, from what is publicly told of its format.

    1/chat.json                                     [{"batch_number": 1, "time_anchor": "March-15-2024",
                                                      "turns": [[{"role": "user", "id": 0, "content": "…"}, …], …]}, …]
    1/probing_questions/probing_questions.json      {"information_extraction": [{"question": "…", "source_chat_ids": [0]}],
                                                     "abstention": [{"question": "…"}], …}

DATA names a ``chat.json``; its questions stand beside it. Chats of ten million tokens hold their batches in plans: batches are
looked for at any depth. ``source_chat_ids`` are lists, or objects of lists. Where an id stands for several messages of a chat,
what refers to it is left out. The data themselves were not at hand: what is proven is that this form is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent_memory_server.importers.conversations import FileMessage, FileSession
from benchmarks.retrieval.samples import Question, Sample, UnknownFormat, fields_of, items_of

_ABSTENTION = "abstention"
_TIME = "%B-%d-%Y"
_BETWEEN_TURNS = timedelta(seconds=5)


def is_beam(items: Any) -> bool:
    return next(_batches(items), None) is not None


def beam_sample(items: list[Any], path: Path) -> Sample:
    """Raises UnknownFormat where the questions are missing or a message is wrong."""
    asked_path = path.parent / "probing_questions" / "probing_questions.json"
    if not asked_path.is_file():
        raise UnknownFormat(
            f"the questions about {path.name} are expected in probing_questions/probing_questions.json beside it"
        )
    name = path.parent.name
    sessions = [_session(batch, number, name) for number, batch in enumerate(_batches(items), start=1)]
    times_held = Counter(message.id for session in sessions for message in session.messages)
    questions: list[Question] = []
    unanswerable: list[str] = []
    left_out = 0
    for category, asked in json.loads(asked_path.read_bytes()).items():
        for each in asked:
            evidence = {f"{name}-{number}" for number in _numbers(each.get("source_chat_ids"))}
            if category == _ABSTENTION:
                unanswerable.append(str(each["question"]))
            elif evidence and all(times_held[identity] == 1 for identity in evidence):
                questions.append(
                    Question(
                        text=str(each["question"]), category=category.replace("_", " "), evidence=frozenset(evidence)
                    )
                )
            else:
                left_out += 1
    return Sample(
        name=name,
        sessions=_told_apart(sessions, times_held),
        questions=questions,
        unanswerable=unanswerable,
        left_out=left_out,
    )


def _batches(value: Any) -> Iterator[dict[str, Any]]:
    found = fields_of(value)
    if isinstance(found.get("turns"), list):
        yield found
    else:
        for each in (*found.values(), *items_of(value)):
            yield from _batches(each)


def _session(batch: dict[str, Any], number: int, name: str) -> FileSession:
    messages: list[FileMessage] = []
    anchor = batch.get("time_anchor")
    for turn in items_of(batch["turns"]):
        for each in map(fields_of, items_of(turn) or [turn]):
            if not isinstance(each.get("content"), str):
                raise UnknownFormat(f"{name}, batch {number}: expected messages with role, id and content")
            anchor = each.get("time_anchor") or anchor
            if each["content"].strip():
                started = _time(anchor, f"{name}, batch {number}")
                messages.append(
                    FileMessage(
                        id=f"{name}-{each.get('id')}",
                        role=str(each.get("role") or "user"),
                        content=each["content"],
                        created_at=None if started is None else started + _BETWEEN_TURNS * len(messages),
                    )
                )
    return FileSession(session_id=f"{name}-{number}", messages=tuple(messages))


def _told_apart(sessions: list[FileSession], times_held: Counter[str]) -> list[FileSession]:
    """Messages whose id several have get one of their own: all of them are indexed."""
    return [
        FileSession(
            session_id=session.session_id,
            messages=tuple(
                message
                if times_held[message.id] == 1
                else FileMessage(
                    id=f"{session.session_id}-{place}-{message.id}",
                    role=message.role,
                    content=message.content,
                    created_at=message.created_at,
                )
                for place, message in enumerate(session.messages)
            ),
        )
        for session in sessions
    ]


def _numbers(value: Any) -> Iterator[int | str]:
    if isinstance(value, int | str):
        yield value
    else:
        for each in (*fields_of(value).values(), *items_of(value)):
            yield from _numbers(each)


def _time(anchor: Any, where: str) -> datetime | None:
    if not anchor:
        return None
    try:
        return datetime.strptime(str(anchor), _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise UnknownFormat(f"{where}: time_anchor {anchor!r} is not like 'March-15-2024'") from error
