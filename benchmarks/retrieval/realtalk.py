"""REALTALK: chats of real people over three weeks, a file each, from what is publicly told of its format.

    {"name": {"speaker_1": "Ana", "speaker_2": "Ben"},
     "session_1_date_time": "29.12.2023, 00:51:12",
     "session_1": [{"clean_text": "Hey", "speaker": "Ana", "date_time": "29.12.2023, 00:51:12", "dia_id": "D1:1"}],
     "events_session_1": …, "qa": [{"question": …, "answer": …, "evidence": ["D1:1"], "category": 2}]}

Categories: 1 facts, 2 dates, 3 inference. The data themselves were not at hand: what is proven is that this form is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent_memory_server.importers.conversations import FileMessage, FileSession
from benchmarks.retrieval.samples import Question, Sample, UnknownFormat, fields_of, items_of

_CATEGORIES = {1: "fact", 2: "date", 3: "inference"}
_SESSION = re.compile(r"session_(\d+)")
_TURN = re.compile(r"D\d+:\d+")
_TIME = "%d.%m.%Y, %H:%M:%S"


def is_realtalk(item: Any) -> bool:
    found = fields_of(item)
    return "qa" in found and any(isinstance(found[key], list) for key in _sessions(found))


def realtalk_sample(item: Mapping[str, Any], name: str) -> Sample:
    """Raises UnknownFormat that says which message is wrong."""
    sessions = [
        _session(item, key, name) for key in sorted(_sessions(item), key=lambda key: int(key[len("session_") :]))
    ]
    known = {message.id for session in sessions for message in session.messages}
    questions: list[Question] = []
    for asked in item["qa"]:
        named = {f"{name}-{turn}" for each in asked.get("evidence") or () for turn in _TURN.findall(str(each))}
        if named & known:
            category = _CATEGORIES.get(asked.get("category"), "question")
            questions.append(
                Question(text=str(asked["question"]), category=category, evidence=frozenset(named & known))
            )
    return Sample(name=name, sessions=sessions, questions=questions, left_out=len(item["qa"]) - len(questions))


def _sessions(item: Mapping[str, Any]) -> list[str]:
    return [key for key in item if _SESSION.fullmatch(key)]


def _session(item: Mapping[str, Any], key: str, name: str) -> FileSession:
    people = list(fields_of(item.get("name")).values())
    messages: list[FileMessage] = []
    for place, each in enumerate(items_of(item[key]), start=1):
        turn, where = fields_of(each), f"{name}, {key}, message {place}"
        if not isinstance(turn.get("speaker"), str):
            raise UnknownFormat(f"{where}: expected an object with clean_text, speaker, date_time and dia_id")
        text = str(turn.get("clean_text") or "").strip()
        if text:
            role = "assistant" if turn["speaker"] in people[1:] else "user"
            messages.append(
                FileMessage(
                    id=f"{name}-{turn.get('dia_id')}",
                    role=role,
                    content=text,
                    created_at=_time(turn.get("date_time") or item.get(f"{key}_date_time"), where),
                    name=turn["speaker"],
                )
            )
    return FileSession(session_id=f"{name}-{key}", messages=tuple(messages))


def _time(value: Any, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.strptime(str(value), _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise UnknownFormat(f"{where}: date_time {value!r} is not like '29.12.2023, 00:51:12'") from error
