"""Files of conversations with questions: every format that the retrieval benchmark reads, and what it says of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.retrieval.datasets import read_samples
from benchmarks.retrieval.figures import at_least, least_that_keeps
from benchmarks.retrieval.samples import Sample, UnknownFormat


def _read(tmp_path: Path, content: Any, name: str = "data.json") -> tuple[Sample, ...]:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_samples(path)


def _own(**changes: Any) -> dict[str, Any]:
    messages = [
        {
            "id": "m1",
            "role": "user",
            "name": "Ana",
            "content": "I moved to Lisbon.",
            "created_at": "2025-03-03T18:42:00Z",
        },
        {"id": "m2", "role": "assistant", "content": "How nice!"},
    ]
    return {
        "name": "ana",
        "sessions": [{"session_id": "monday", "messages": messages}],
        "questions": [
            {"question": "Where does Ana live?", "evidence": ["m1"], "category": "facts"},
            {"question": "What is her cat called?", "evidence": []},
        ],
        **changes,
    }


def test_longmemeval_files_are_read(tmp_path: Path) -> None:
    """Turns that are marked are evidence, dates are kept, and a question that has no answer is asked apart."""
    turns = [
        {"role": "user", "content": "I moved to Lisbon in March.", "has_answer": True},
        {"role": "assistant", "content": "How nice! Which quarter?"},
    ]
    common = {"question_type": "single-session-user", "haystack_dates": ["2023/05/20 (Sat) 02:21"]}
    items = [
        {"question_id": "q1", "question": "Where do I live?", "haystack_sessions": [turns], **common},
        {"question_id": "q2_abs", "question": "What is my cat called?", "haystack_sessions": [turns], **common},
    ]
    data = tmp_path / "longmemeval.json"
    data.write_text(json.dumps(items))
    with_answer, without = read_samples(data)
    (asked,) = with_answer.questions
    assert (asked.category, asked.evidence) == ("single-session-user", {"q1-1-1"})
    assert (without.questions, list(without.unanswerable)) == ((), ["What is my cat called?"])
    (session,) = with_answer.sessions
    assert [str(message.created_at)[:16] for message in session.messages] == ["2023-05-20 02:21"] * 2


def test_own_conversations_are_read(tmp_path: Path) -> None:
    """Sessions of messages as the API has them; ids are told apart by conversation, and empty evidence means no answer."""
    ana, ben = _read(tmp_path, [_own(), _own(name="ben")])
    (asked,) = ana.questions
    assert (asked.text, asked.category, asked.evidence) == ("Where does Ana live?", "facts", {"ana-m1"})
    assert ana.unanswerable == ["What is her cat called?"]
    (session,) = ben.sessions
    assert (session.session_id, [each.id for each in session.messages]) == ("ben-monday", ["ben-m1", "ben-m2"])
    first, second = session.messages
    assert (first.name, str(first.created_at)) == ("Ana", "2025-03-03 18:42:00+00:00")
    assert (second.name, second.created_at) == (None, None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "data.json is not JSON"),
        ([], "no format that is read here"),
        ([{"text": "hello"}], "docs/howto/measure-your-own-search.md"),
        (_own(sessions={}), "conversation ana: sessions must be a list"),
        (_own(sessions=[{"messages": ["hi"]}]), "conversation ana, session 1, message 1: id must be a text"),
        (
            _own(questions=[{"question": "Where?", "evidence": ["m9"]}]),
            "question 1: the evidence 'm9' is no message's id",
        ),
        (_own(questions=[{"question": "Where?"}]), "question 1: evidence must be a list"),
        (_own(sessions=_own()["sessions"] * 2), "the message id 'm1' stands there twice"),
        ([_own(), _own()], "two conversations are called 'ana'"),
        (
            _own(sessions=[{"messages": [{"id": "1", "role": "user", "content": "x", "created_at": "May"}]}]),
            "created_at 'May' is not a time in ISO 8601",
        ),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path: Path, content: Any, said: str) -> None:
    """One sentence with the place, for whoever wrote the file."""
    with pytest.raises(UnknownFormat) as raised:
        _read(tmp_path, content)
    assert said in str(raised.value)


def test_questions_without_known_evidence_are_counted(tmp_path: Path) -> None:
    """In the LoCoMo form what cannot be scored is left out and said; a category of one's own is kept."""
    turn = {"speaker": "Ana", "dia_id": "D1:1", "text": "I moved to Lisbon."}
    asked = [
        {"question": "Where to?", "evidence": ["D1:1"], "category": "places"},
        {"question": "When?", "evidence": ["D7:1"], "category": 2},
        {"question": "Why?", "category": 1},
        {"question": "Where did Ben move?", "category": 5},
    ]
    (sample,) = _read(
        tmp_path, [{"sample_id": "a", "conversation": {"speaker_a": "Ana", "session_1": [turn]}, "qa": asked}]
    )
    assert [each.category for each in sample.questions] == ["places"]
    assert (sample.left_out, sample.unanswerable) == (2, ["Where did Ben move?"])


def test_realtalk_files_are_read(tmp_path: Path) -> None:
    """Every message has its own time, evidence is named by dialogue ids, and sessions go by their numbers."""
    turn = {"clean_text": "Morning run done!", "speaker": "Ana", "date_time": "29.12.2023, 07:51:12", "dia_id": "D1:1"}
    reply = {"clean_text": "", "speaker": "Ben", "date_time": "29.12.2023, 07:52:00", "dia_id": "D1:2"}
    chat: dict[str, Any] = {
        "name": {"speaker_1": "Ana", "speaker_2": "Ben"},
        "session_10": [{**turn, "dia_id": "D10:1", "speaker": "Ben"}],
        "session_1": [turn, reply],
        "session_1_date_time": "29.12.2023, 07:51:12",
        "events_session_1": {"agent_a": []},
        "qa": [
            {"question": "When did Ana run?", "answer": "29 December", "evidence": ["D1:1"], "category": 2},
            {"question": "What else?", "answer": "", "evidence": [], "category": 1},
        ],
    }
    (sample,) = _read(tmp_path, chat, "Chat_1.json")
    assert [session.session_id for session in sample.sessions] == ["Chat_1-session_1", "Chat_1-session_10"]
    (first,), (last,) = (session.messages for session in sample.sessions)
    assert (first.name, first.role, str(first.created_at)) == ("Ana", "user", "2023-12-29 07:51:12+00:00")
    assert (last.name, last.role) == ("Ben", "assistant")
    (asked,) = sample.questions
    assert (asked.category, asked.evidence, sample.left_out) == ("date", {"Chat_1-D1:1"}, 1)
    with pytest.raises(UnknownFormat, match=r"session_1, message 1: date_time 'today' is not like"):
        _read(tmp_path, {**chat, "session_1": [{**turn, "date_time": "today"}]})


def test_beam_files_are_read(tmp_path: Path) -> None:
    """Batches at any depth are sessions; what refers to an id of several messages cannot be scored; abstention is asked apart."""
    turns = [
        [
            {"role": "user", "id": 0, "content": "My deadline is 1 April.", "time_anchor": "March-15-2024"},
            {"role": "assistant", "id": 1, "content": "Noted."},
        ],
        [{"role": "user", "id": 7, "content": "A"}, {"role": "user", "id": 7, "content": "B"}],
    ]
    probing = {
        "temporal_reasoning": [
            {"question": "When is my deadline?", "source_chat_ids": {"first": [0], "second": [1]}},
            {"question": "What of A?", "source_chat_ids": [7]},
            {"question": "What of nothing?"},
        ],
        "abstention": [{"question": "What is my dog called?"}],
    }
    batches = [{"batch_number": 1, "time_anchor": "March-15-2024", "turns": turns}]
    folder = tmp_path / "3" / "probing_questions"
    with pytest.raises(UnknownFormat, match="probing_questions"):
        _read(tmp_path, batches, "3/chat.json")
    folder.mkdir()
    (folder / "probing_questions.json").write_text(json.dumps(probing))
    for content in (batches, [{"plan-1": batches}]):
        (sample,) = _read(tmp_path, content, "3/chat.json")
        (session,) = sample.sessions
        assert [message.content for message in session.messages] == ["My deadline is 1 April.", "Noted.", "A", "B"]
        assert len({message.id for message in session.messages}) == 4
        assert str(session.messages[0].created_at) == "2024-03-15 00:00:00+00:00"
        (asked,) = sample.questions
        assert (asked.category, asked.evidence) == ("temporal reasoning", {"3-0", "3-1"})
        assert (sample.unanswerable, sample.left_out) == (["What is my dog called?"], 2)


def test_the_least_score_that_keeps_a_share_of_recall() -> None:
    """The highest cut under which no more than the rest is lost; a question's evidence counts for one together."""
    asked = [([("a", 0.9), ("x", 0.8), ("b", 0.1)], {"a", "b"}), ([("c", 0.5)], {"c", "missing"})]

    def recall(least: float) -> float:
        return sum(at_least(scored, evidence, least)["R@10"] for scored, evidence in asked)

    for share, least in ((1.0, 0.1), (0.6, 0.5), (0.3, 0.9)):
        assert least_that_keeps(asked, share) == least
        assert recall(least) >= share * recall(0.0)
    assert least_that_keeps([], 0.9) == 0.0
