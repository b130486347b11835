"""Reading conversation files: what a message becomes, and that ids depend on the file alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.errors import InvalidInput
from agent_memory_server.importers.conversations import SECONDS_PER_TURN, read_sessions


def _file(folder: Path, content: Any, name: str = "talk.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def _locomo(sample_id: str = "s1", **sessions: Any) -> dict[str, Any]:
    turns = [
        {"speaker": "Ana", "dia_id": "D1:1", "text": "Look!", "blip_caption": "a photo of a dog"},
        {"speaker": "Ben", "dia_id": "D1:2", "text": "Nice."},
        {"speaker": "Ben", "dia_id": "D1:3", "text": " "},
    ]
    conversation = {
        "speaker_a": "Ana",
        "speaker_b": "Ben",
        "session_1": turns,
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        **sessions,
    }
    return {"sample_id": sample_id, "conversation": conversation, "qa": []}


def test_a_list_of_messages_is_one_session_named_after_the_file(tmp_path: Path) -> None:
    """Fields are kept as they are; what the file does not say stays unsaid."""
    path = _file(
        tmp_path,
        [
            {"role": "user", "content": "hi", "id": "m1", "name": "Ana", "created_at": "2024-01-02T03:04:05Z"},
            {"role": "assistant", "content": "hello"},
        ],
    )
    (session,) = read_sessions(path)
    assert session.session_id == "talk"
    first, second = session.messages
    assert (first.id, first.role, first.content, first.name) == ("m1", "user", "hi", "Ana")
    assert first.created_at == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (second.created_at, second.name) == (None, None)


def test_ids_are_the_same_in_every_import_and_in_a_longer_version_of_the_file(tmp_path: Path) -> None:
    """Otherwise importing a grown file would store its old messages twice."""
    messages = [{"role": "user", "content": "same"}, {"role": "user", "content": "same"}]
    before = read_sessions(_file(tmp_path, messages))[0].messages
    after = read_sessions(_file(tmp_path, [*messages, {"role": "user", "content": "new"}]))[0].messages
    assert [each.id for each in before] == [each.id for each in after[:2]]
    assert len({each.id for each in after}) == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-01-02T03:04:05", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05+02:00", datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC)),
        (1704164645, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_times_are_iso_or_seconds_and_naive_ones_are_utc(tmp_path: Path, given: Any, expected: datetime) -> None:
    """The forms that exports of chat programs use."""
    (session,) = read_sessions(_file(tmp_path, [{"role": "user", "content": "hi", "created_at": given}]))
    assert session.messages[0].created_at == expected


def test_a_locomo_conversation_is_one_session_a_session(tmp_path: Path) -> None:
    """Speakers become roles and names, captions join the text, and each turn is a little later than the one before."""
    later = [{"speaker": "Ben", "dia_id": "D2:1", "text": "Back again"}]
    path = _file(tmp_path, _locomo(session_10=later, session_2=[], session_10_date_time="12:01 am on 1 June, 2023"))
    first, second = read_sessions(path)
    assert [first.session_id, second.session_id] == ["s1-session_1", "s1-session_10"]
    assert first.blank == 1
    assert [(each.id, each.role, each.name, each.content) for each in first.messages] == [
        ("s1-D1:1", "user", "Ana", "Look! [shares a photo of a dog]"),
        ("s1-D1:2", "assistant", "Ben", "Nice."),
    ]
    assert first.messages[0].created_at == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    assert first.messages[1].created_at == datetime(2023, 5, 8, 13, 56, SECONDS_PER_TURN, tzinfo=UTC)
    assert second.messages[0].created_at == datetime(2023, 6, 1, 0, 1, tzinfo=UTC)


def test_one_of_several_conversations_is_picked_by_its_id_or_its_number(tmp_path: Path) -> None:
    """Without a choice all of them are read."""
    path = _file(tmp_path, [_locomo("a"), _locomo("b")])
    assert [each.session_id for each in read_sessions(path)] == ["a-session_1", "b-session_1"]
    assert [each.session_id for each in read_sessions(path, conversation="b")] == ["b-session_1"]
    assert [each.session_id for each in read_sessions(path, conversation="1")] == ["a-session_1"]
    assert [each.session_id for each in read_sessions(path, conversation="2", session_id="x")] == ["x-session_1"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "talk.json is not JSON"),
        ("[" * 100_000, "talk.json is not JSON"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "talk.json is not JSON"),
        ({}, "holds no conversation"),
        ([], "holds no conversation"),
        (["hi"], "message 1 is not an object"),
        ([{"role": "user"}], "message 1: content must be a string"),
        ([{"content": "x"}], "message 1: role must be a string"),
        ([{"role": "user", "content": "x", "id": 5}], "message 1: id must be a string"),
        ([{"role": "user", "content": "x", "created_at": "soon"}], "message 1: created_at 'soon' is not a time"),
        ([{"role": "user", "content": "x", "created_at": 1e300}], "message 1: created_at 1e+300 is not a time"),
        ([_locomo(), {"role": "user"}], "conversation 2 of talk.json has no 'conversation' object"),
        ({"sample_id": "s", "conversation": {"speaker_a": "A"}}, "conversation s has no session_1"),
        (_locomo(session_1_date_time="yesterday"), "session_1_date_time 'yesterday' is not like"),
        (_locomo(session_1=[{"speaker": "Ana"}]), "session_1, turn 1: speaker and text must be strings"),
    ],
)
def test_a_file_that_is_not_a_conversation_is_refused_with_its_place(
    tmp_path: Path, content: Any, sentence: str
) -> None:
    """A sentence that says where to look, never a traceback."""
    with pytest.raises(InvalidInput) as refused:
        read_sessions(_file(tmp_path, content))
    assert sentence in str(refused.value)


def test_a_missing_file_and_an_unknown_conversation_are_said(tmp_path: Path) -> None:
    """What exists is named."""
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_sessions(tmp_path / "absent.json")
    with pytest.raises(InvalidInput, match="no conversation z; it has a"):
        read_sessions(_file(tmp_path, [_locomo("a")]), conversation="z")
    with pytest.raises(InvalidInput, match="list of messages"):
        read_sessions(_file(tmp_path, [{"role": "user", "content": "x"}]), conversation="1")
