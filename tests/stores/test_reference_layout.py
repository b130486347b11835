"""The reference server's values and records, decoded: every form that any of its versions wrote, and what cannot be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from ulid import ULID

from agent_memory_server.domain.identity import DEFAULT_TENANT, Scope
from agent_memory_server.domain.records import Source, content_hash
from agent_memory_server.stores.reference import layout, sessions
from agent_memory_server.stores.reference.layout import Notes, Reading
from agent_memory_server.stores.reference.values import (
    CannotRead,
    flag_of,
    moment_of,
    moment_of_ulid,
    number_of,
    tags_of,
)

T0 = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
READING = Reading(begun_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1760000000", T0),
        (1_760_000_000, T0),
        ("1760000000.25", T0.replace(microsecond=250_000)),
        ("2025-10-09T08:53:20Z", T0),
        ("2025-10-09T08:53:20", T0),
        ("2025-10-09T10:53:20.123456789+02:00", T0.replace(microsecond=123_456)),
        ("", None),
        (None, None),
        (0, None),
        ("0.0", None),
    ],
)
def test_times_of_every_form(written: object, read: datetime | None) -> None:
    """Epoch seconds as numbers and texts, ISO 8601 with and without a zone, and nothing at all."""
    assert moment_of(written, "created_at") == read


@pytest.mark.parametrize("written", ["soon", "nan", "1e300", True, [1], "2025-13-01"])
def test_times_that_are_none(written: object) -> None:
    """The reason names the field."""
    with pytest.raises(CannotRead, match="created_at"):
        moment_of(written, "created_at")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a,b", ("a", "b")),
        ("a|b, c |", ("a", "b", "c")),
        (["a", "b,c", " "], ("a", "b", "c")),
        ("a,a", ("a",)),
        ("", ()),
        (None, ()),
    ],
)
def test_tags_of_every_form(written: object, read: tuple[str, ...]) -> None:
    """Commas, bars and lists; no tag ever holds a comma."""
    assert tags_of(written, "topics") == read


def test_flags_and_numbers() -> None:
    """1 and 0, t and f, and JSON's own; numbers that became decimals."""
    assert [flag_of(each, "pinned", absent=False) for each in ("1", 0, "t", "f", True, "", None)] == [
        True, False, True, False, True, False, False,
    ]  # fmt: skip
    assert [number_of(each, "n", absent=3) for each in ("7", "7.0", 7, "", None)] == [7, 7, 7, 3, 3]
    for refused in ("yes please", "2"):
        with pytest.raises(CannotRead):
            flag_of(refused, "pinned", absent=False)
    for refused in ("x", "inf", "1e99"):
        with pytest.raises(CannotRead):
            number_of(refused, "n", absent=0)


def test_a_ulid_says_when_it_was_made() -> None:
    """Any other id says nothing."""
    assert moment_of_ulid(str(ULID.from_datetime(T0))) == T0
    assert moment_of_ulid("order-66") is None


def decoded(fields: dict[str, Any], identity: str = "m1", reading: Reading = READING) -> tuple[Any, list[str]]:
    packed = {
        name.encode(): value if isinstance(value, bytes) else str(value).encode() for name, value in fields.items()
    }
    notes = Notes()
    return layout.decode_memory(identity, packed, reading, notes), notes.found


def test_a_hash_with_nothing_but_a_text() -> None:
    """Everything else has a place of its own, the same in each run."""
    record, notes = decoded({"text": "tea"})
    again, _ = decoded({"text": "tea"})
    memory = record.memory
    assert record == again
    assert memory.scope == Scope(DEFAULT_TENANT)
    assert (memory.memory_type.value, memory.extracted, memory.created_at) == ("message", False, READING.begun_at)
    assert memory.memory_hash == content_hash("tea", memory.scope, memory.memory_type)
    assert set(notes) == {layout.NO_HASH, layout.NO_TIME, layout.NO_VECTOR}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": None}, "no text"),
        ({"memory_type": "rumour"}, "memory_type"),
        ({"metadata": "[1]"}, "metadata is not an object"),
        ({"extraction_strategy_config": "{"}, "not JSON"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"pinned": "maybe"}, "pinned"),
        ({"user_id": b"\xff"}, "user_id is not UTF-8"),
    ],
)
def test_hashes_that_cannot_be_read(changes: dict[str, Any], reason: str) -> None:
    """Nothing is guessed that would change what a record says."""
    fields = {name: value for name, value in {"text": "tea", **changes}.items() if value is not None}
    with pytest.raises(CannotRead, match=reason):
        decoded(fields)


def test_whose_words_a_memory_is() -> None:
    """A message's text says who spoke; what was extracted was made by a model."""
    said = {"tool: 42": Source.TOOL, "assistant: hm": Source.ASSISTANT, "user: hi": Source.USER, "hi": Source.USER}
    for text, source in said.items():
        assert decoded({"text": text, "memory_type": "message"})[0].memory.source is source
    assert decoded({"text": "x", "memory_type": "semantic", "extracted_from": "m1"})[0].memory.source is Source.DERIVED


def test_vectors_are_taken_only_when_they_are_the_models() -> None:
    """Of the same size and of some direction; then unit-length."""
    known = Reading(begun_at=T0, vector_model="m", vector_dimensions=4)
    record, notes = decoded({"text": "x", "vector": np.array([3, 0, 4, 0], dtype="<f4").tobytes()}, reading=known)
    assert record.vectors[0].vector.tolist() == pytest.approx([0.6, 0, 0.8, 0])
    assert layout.OTHER_VECTOR not in notes
    for other in ([1, 2, 3], [0, 0, 0, 0], [np.nan, 1, 1, 1]):
        record, notes = decoded({"text": "x", "vector": np.array(other, dtype="<f4").tobytes()}, reading=known)
        assert record.vectors == ()
        assert layout.OTHER_VECTOR in notes


@pytest.mark.parametrize(
    ("key", "document", "scope"),
    [
        ("working_memory:s", {"session_id": "s"}, (None, None, "s")),
        ("working_memory:s", {}, (None, None, "s")),
        ("working_memory:n:s", {"session_id": "s", "namespace": "n", "user_id": ""}, ("n", None, "s")),
        ("working_memory:n:a:b", {"namespace": "n"}, ("n", None, "a:b")),
        ("working_memory:a:b:c", {"session_id": "b:c", "user_id": "a"}, (None, "a", "b:c")),
        ("working_memory:a:b", {}, None),
        ("working_memory:x:y", {"namespace": "n"}, None),
    ],
)
def test_whose_session_it_is(key: str, document: dict[str, Any], scope: tuple[str | None, ...] | None) -> None:
    """The document says so; the key only where there is no doubt."""
    value = json.dumps(document).encode()

    def read() -> Scope:
        record, _ = sessions.decode_session(key, value, READING, Notes(), expires_at=None, count=len)
        return record.session.scope

    if scope is None:
        with pytest.raises(CannotRead, match="several ways"):
            read()
    else:
        assert read() == Scope(DEFAULT_TENANT, *scope)


def test_a_status_key_may_be_a_session() -> None:
    """The migration of the reference's own left strings among the sessions; a session may have such a name."""
    assert sessions.is_status("working_memory:migration:complete", b"true")
    assert not sessions.is_status("working_memory:migration:complete", b'{"session_id": "migration:complete"}')
    assert not sessions.is_status("working_memory:s", b"true")
