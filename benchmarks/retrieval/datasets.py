"""Conversations with questions whose evidence is known, from the files that people publish, or one's own.

Formats, told apart by their keys: one's own (``own.py``: sessions of messages, as the API has them), LoCoMo (a list of
``{sample_id, conversation, qa}``, or one such object), LongMemEval (a list of ``{question_id, question, question_type,
haystack_sessions, haystack_dates, answer_session_ids, …}`` whose turns are marked with ``has_answer``), REALTALK
(``realtalk.py``) and BEAM (``beam.py``).

Evidence that names no turn of the conversation, and questions without any evidence, are left out and counted. Questions that
the conversation does not answer (LoCoMo's category 5, adversarial; LongMemEval's ids that end with ``_abs``; BEAM's
abstention; one's own with empty evidence) are kept apart: the right answer is none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from agent_memory_server.importers.conversations import FileMessage, FileSession, read_sessions
from benchmarks.retrieval.beam import beam_sample, is_beam
from benchmarks.retrieval.own import is_own, own_sample
from benchmarks.retrieval.realtalk import is_realtalk, realtalk_sample
from benchmarks.retrieval.samples import Question, Sample, UnknownFormat

_LOCOMO_ADVERSARIAL = 5
_LONGMEMEVAL_ABSTENTION = "_abs"
_LOCOMO_CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
_TURN_ID = re.compile(r"D\d+:\d+")
_LONGMEMEVAL_TIMES = ("%Y/%m/%d (%a) %H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_BETWEEN_TURNS = timedelta(seconds=5)


def read_samples(path: Path) -> tuple[Sample, ...]:
    """Raises UnknownFormat, or InvalidInput that says where a LoCoMo file is wrong."""
    try:
        content: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnknownFormat(f"{path.name} is not JSON: {error}") from error
    items = cast("list[Any]", content if isinstance(content, list) else [content])
    if items and all(is_own(each) for each in items):
        return _named_apart([own_sample(each, number) for number, each in enumerate(items, start=1)])
    if items and all(isinstance(each, dict) and "conversation" in each for each in items):
        return _named_apart(list(_locomo(path, items)))
    if items and all(isinstance(each, dict) and "haystack_sessions" in each for each in items):
        return tuple(_longmemeval(each) for each in items)
    if items and all(is_realtalk(each) for each in items):
        names = [path.stem if len(items) == 1 else f"{path.stem}-{number}" for number in range(1, len(items) + 1)]
        return tuple(realtalk_sample(each, name) for each, name in zip(items, names, strict=True))
    if is_beam(items):
        return (beam_sample(items, path),)
    raise UnknownFormat(
        f"{path.name} is in no format that is read here: one's own (sessions, questions), LoCoMo (conversation, qa), "
        "LongMemEval (haystack_sessions), REALTALK (session_1, qa) or BEAM (chat.json). "
        "docs/howto/measure-your-own-search.md shows how to write one"
    )


def _named_apart(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Each is indexed for a user of its own, so no two may have one name."""
    names = [sample.name for sample in samples]
    for name in names:
        if names.count(name) > 1:
            raise UnknownFormat(f"two conversations are called {name!r}")
    return tuple(samples)


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
            category = _LOCOMO_CATEGORIES.get(asked.get("category"), str(asked.get("category") or "question"))
            named = {f"{name}-{turn}" for each in asked.get("evidence") or () for turn in _TURN_ID.findall(str(each))}
            if _is_adversarial(asked):
                continue
            if named & known:
                questions.append(
                    Question(text=str(asked["question"]), category=category, evidence=frozenset(named & known))
                )
        adversarial = [str(each["question"]) for each in item.get("qa") or () if _is_adversarial(each)]
        yield Sample(
            name=name,
            sessions=sessions,
            questions=questions,
            unanswerable=adversarial,
            left_out=len(item.get("qa") or ()) - len(adversarial) - len(questions),
        )


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
    return Sample(name=name, sessions=sessions, questions=questions if evidence else (), left_out=int(not evidence))


def _longmemeval_time(text: str) -> datetime:
    for form in _LONGMEMEVAL_TIMES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise UnknownFormat(f"{text!r} is no time as LongMemEval writes it")
