"""Conversations with questions whose evidence is known, from the files that people publish.

Formats, told apart by their keys: LoCoMo (a list of ``{sample_id, conversation, qa}``, or one such object) and LongMemEval (a
list of ``{question_id, question, question_type, haystack_sessions, haystack_dates, answer_session_ids, …}`` whose turns are
marked with ``has_answer``). One's own conversations in the LoCoMo form are read the same.

Evidence that names no turn of the conversation, and questions without any evidence, are left out. Questions that the conversation
does not answer (LoCoMo's category 5, adversarial; LongMemEval's ids that end with ``_abs``) are kept apart: the right answer is
none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from agent_memory_server.importers.conversations import FileMessage, FileSession, read_sessions

_LOCOMO_ADVERSARIAL = 5
_LONGMEMEVAL_ABSTENTION = "_abs"
_LOCOMO_CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
_TURN_ID = re.compile(r"D\d+:\d+")
_LONGMEMEVAL_TIMES = ("%Y/%m/%d (%a) %H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_BETWEEN_TURNS = timedelta(seconds=5)


class UnknownFormat(ValueError):
    """The file is in none of the formats that are read here."""


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

    @property
    def messages(self) -> int:
        return sum(len(session.messages) for session in self.sessions)


def read_samples(path: Path) -> tuple[Sample, ...]:
    """Raises UnknownFormat, or InvalidInput that says where a LoCoMo file is wrong."""
    content: Any = json.loads(path.read_bytes())
    items = cast("list[Any]", content if isinstance(content, list) else [content])
    if items and all(isinstance(each, dict) and "conversation" in each for each in items):
        return tuple(_locomo(path, items))
    if items and all(isinstance(each, dict) and "haystack_sessions" in each for each in items):
        return tuple(_longmemeval(each) for each in items)
    raise UnknownFormat(f"{path.name} is neither LoCoMo nor LongMemEval")


def digest(path: Path) -> str:
    """SHA-256 of the file: which data a figure was measured on."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _locomo(path: Path, items: Sequence[dict[str, Any]]) -> Iterator[Sample]:
    for number, item in enumerate(items, start=1):
        name = str(item.get("sample_id") or number)
        sessions = read_sessions(path, conversation=name if len(items) > 1 else None)
        known = {message.id for session in sessions for message in session.messages}
        questions: list[Question] = []
        for asked in item.get("qa") or ():
            category = _LOCOMO_CATEGORIES.get(asked.get("category"))
            named = {f"{name}-{turn}" for each in asked.get("evidence") or () for turn in _TURN_ID.findall(str(each))}
            if category is not None and named & known:
                questions.append(
                    Question(text=str(asked["question"]), category=category, evidence=frozenset(named & known))
                )
        adversarial = [str(each["question"]) for each in item.get("qa") or () if _is_adversarial(each)]
        yield Sample(name=name, sessions=sessions, questions=questions, unanswerable=adversarial)


def _is_adversarial(asked: dict[str, Any]) -> bool:
    return asked.get("category") == _LOCOMO_ADVERSARIAL


def _longmemeval(item: dict[str, Any]) -> Sample:
    name = str(item["question_id"])
    sessions: list[FileSession] = []
    evidence: set[str] = set()
    dates = item.get("haystack_dates") or [None] * len(item["haystack_sessions"])
    for number, (turns, said_at) in enumerate(zip(item["haystack_sessions"], dates, strict=True), start=1):
        started = None if said_at is None else _longmemeval_time(str(said_at))
        messages: list[FileMessage] = []
        for place, turn in enumerate(turns, start=1):
            if not str(turn.get("content", "")).strip():
                continue
            identity = f"{name}-{number}-{place}"
            at = None if started is None else started + _BETWEEN_TURNS * place
            messages.append(FileMessage(id=identity, role=turn["role"], content=turn["content"], created_at=at))
            if turn.get("has_answer"):
                evidence.add(identity)
        sessions.append(FileSession(session_id=f"{name}-{number}", messages=tuple(messages)))
    category, text = str(item.get("question_type", "question")), str(item["question"])
    if name.endswith(_LONGMEMEVAL_ABSTENTION):
        return Sample(name=name, sessions=sessions, questions=(), unanswerable=(text,))
    questions = [Question(text=text, category=category, evidence=frozenset(evidence))]
    return Sample(name=name, sessions=sessions, questions=questions if evidence else ())


def _longmemeval_time(text: str) -> datetime:
    for form in _LONGMEMEVAL_TIMES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise UnknownFormat(f"{text!r} is no time as LongMemEval writes it")
