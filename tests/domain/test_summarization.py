"""Which messages leave a session's window, and in which portions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.sessions import Message
from agent_memory_server.domain.summarization import (
    PORTION_MESSAGES_MAX,
    pieces,
    portion_tokens,
    portions,
    summary_tokens,
    to_summarize,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)


def talk(*tokens: int) -> list[Message]:
    return [
        Message(id=f"m{n}", role="user", content="x" * 4 * count, created_at=AT, token_count=count)
        for n, count in enumerate(tokens)
    ]


def test_up_to_the_threshold_everything_stays() -> None:
    """700 of 1,000 tokens at 70 % is not beyond it; one more is."""
    assert to_summarize(talk(350, 350), 1_000, 0.7) == ()
    assert [each.id for each in to_summarize(talk(351, 350), 1_000, 0.7)] == ["m0"]


def test_forty_percent_stay() -> None:
    """The newest that fit into 40 % of the window."""
    leaving = to_summarize(talk(*[100] * 10), 1_000, 0.7)
    assert [each.id for each in leaving] == [f"m{n}" for n in range(6)]


def test_the_last_message_always_stays() -> None:
    """Also when it alone is more than the window; a single message cannot be summarised away."""
    assert [each.id for each in to_summarize(talk(10, 5_000), 1_000, 0.7)] == ["m0"]
    assert to_summarize(talk(5_000), 1_000, 0.7) == []


@given(st.lists(st.integers(1, 500), max_size=30), st.integers(50, 2_000), st.floats(0.05, 1))
def test_a_session_beyond_its_threshold_always_gets_room(tokens: list[int], window: int, threshold: float) -> None:
    """Whatever the threshold: several messages beyond it leave one at least, and what stays is the newest."""
    messages = talk(*tokens)
    leaving = to_summarize(messages, window, threshold)
    if sum(tokens) > int(window * threshold) and len(messages) > 1:
        assert leaving
    assert list(leaving) == messages[: len(leaving)]
    assert len(leaving) < max(1, len(messages))
    kept = messages[len(leaving) :]
    assert len(kept) <= 1 or sum(each.token_count for each in kept) <= window * threshold


@given(st.lists(st.integers(1, 3_000), max_size=500), st.integers(300, 5_000))
def test_portions_hold_every_message_once_and_in_order(tokens: list[int], tokens_max: int) -> None:
    """Each within its bounds unless one message alone is beyond them."""
    messages = talk(*tokens)
    found = portions(messages, tokens_max)
    assert [each for portion in found for each in portion] == messages
    for portion in found:
        assert 0 < len(portion) <= PORTION_MESSAGES_MAX
        assert len(portion) == 1 or sum(each.token_count for each in portion) <= tokens_max


def test_a_long_message_is_read_in_pieces() -> None:
    """All of its words, in order; a short one as it is."""
    (short, long) = talk(10, 1_000)
    assert pieces(short, 300) == [short]
    parts: Sequence[Message] = pieces(long, 300)
    assert "".join(part.content for part in parts) == long.content
    assert len(parts) == 4
    assert {part.id for part in parts} == {long.id}


@pytest.mark.parametrize(
    ("window", "summary"), [(4_096, 512), (8_192, 1_024), (16_000, 1_600), (128_000, 6_400), (400_000, 20_000)]
)
def test_a_question_fits_into_the_window(window: int, summary: int) -> None:
    """Old summary (up to twice its aim), new one (the same) and portion leave room for instructions."""
    assert summary_tokens(window) == summary
    assert 256 <= portion_tokens(window) <= window - 3 * summary
