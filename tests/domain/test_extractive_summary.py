"""Summaries made of the conversation's own sentences: within budget, in order, and what was there before stays."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.extractive_summary import (
    PREVIOUS_SHARE,
    SENTENCE_CHARS_MAX,
    extractive_summary,
    summarize_messages,
)
from agent_memory_server.domain.sessions import Message

AT = datetime(2024, 5, 14, 10, tzinfo=UTC)

TALK = (
    ("user", "Hi! I am planning a trip to Kyoto with my sister in November. We want to see the autumn leaves."),
    ("assistant", "Great choice! Kyoto in November is beautiful. How long will you stay?"),
    ("user", "We stay for nine days. Our budget for the trip is 4000 euros. My sister needs a wheelchair."),
    ("assistant", "Kyoto's buses have ramps, so a trip with a wheelchair is possible."),
    ("user", "ok thanks"),
)


def messages(*talk: tuple[str, str]) -> list[Message]:
    return [
        Message(id=str(at), role=role, content=content, created_at=AT)
        for at, (role, content) in enumerate(talk or TALK)
    ]


def test_a_summary_holds_sentences_of_the_conversation_in_their_order() -> None:
    """Nothing is rephrased, every line names its speaker, and the order is the conversation's."""
    lines = summarize_messages(messages(), budget_chars=200).splitlines()
    assert lines
    said = " ".join(content for _, content in TALK)
    places = [said.index(line.split(": ", 1)[1]) for line in lines]
    assert places == sorted(places)
    assert all(line.startswith(("User: ", "Assistant: ")) for line in lines)


def test_what_matters_is_chosen_before_small_talk() -> None:
    """With room for little, facts of the user come before thanks and questions."""
    summary = summarize_messages(messages(), budget_chars=160)
    assert "Kyoto" in summary
    assert "thanks" not in summary
    assert "?" not in summary


def test_a_conversation_that_fits_is_kept_but_for_its_small_talk() -> None:
    """With room for all, each telling sentence is there once."""
    lines = summarize_messages(messages(), budget_chars=10_000).splitlines()
    assert len(lines) == len(set(lines))
    assert any("wheelchair." in line for line in lines)
    assert any("4000 euros" in line for line in lines)


def test_the_previous_summary_comes_first_and_is_kept() -> None:
    """Progressive summaries lose nothing while there is room."""
    first = summarize_messages(messages(*TALK[:2]), budget_chars=300)
    both = summarize_messages(messages(*TALK[2:]), previous=first, budget_chars=1_000)
    assert both.startswith(first)
    assert "4000 euros" in both


def test_a_previous_summary_that_fills_the_budget_makes_room_for_what_is_new() -> None:
    """Old sentences yield to new ones down to their share of the budget, never below it."""
    previous = "\n".join(f"User: Fact number {number} tells of {number} blue houses in Leeds." for number in range(40))
    summary = extractive_summary(
        [f"Another story {number} about {number} sailing boats on the sea." for number in range(40)],
        previous=previous,
        budget_chars=1_000,
    )
    old = [line for line in summary.splitlines() if line in previous.splitlines()]
    assert len(summary) <= 1_000
    assert 0.5 * PREVIOUS_SHARE * 1_000 <= sum(map(len, old)) <= PREVIOUS_SHARE * 1_000
    assert "sailing" in summary


def test_a_previous_summary_survives_when_nothing_is_new() -> None:
    """Repeating a summary with no messages gives the same summary."""
    previous = "User: I moved to Lisbon in April 2024.\nUser: My dog is called Rex."
    assert summarize_messages([], previous=previous, budget_chars=500) == previous


def test_repetition_is_said_once() -> None:
    """A sentence that many messages repeat takes one line."""
    assert extractive_summary(["The meeting moved to Friday."] * 50, budget_chars=500) == "The meeting moved to Friday."


def test_a_sentence_longer_than_the_budget_is_cut_at_a_word() -> None:
    """Something is said even when no sentence fits."""
    summary = extractive_summary(
        ["Lisbon harbour ferries carry commuters across the river every morning"], budget_chars=30
    )
    assert summary.endswith("…")
    assert len(summary) <= 30
    assert summary.rstrip("…") in "Lisbon harbour ferries carry commuters"


def test_text_without_full_stops_cannot_fill_a_summary() -> None:
    """Endless sentences are shortened."""
    endless = " ".join(f"word{number}" for number in range(5_000))
    summary = extractive_summary([endless, "The harbour opens at nine in Lisbon."], budget_chars=5_000)
    assert all(len(line) <= SENTENCE_CHARS_MAX for line in summary.splitlines())


@pytest.mark.parametrize("texts", [[], [""], ["   \n "], ["!!! ???"]])
def test_nothing_said_is_an_empty_summary(texts: list[str]) -> None:
    """No text, no words, no summary."""
    assert extractive_summary(texts, budget_chars=100) == ""


def test_other_scripts_are_summarised_too() -> None:
    """Sentences of scripts without spaces and capitals are found and chosen."""
    texts = ["我在里斯本工作。我喜欢里斯本的海。", "今天里斯本下雨了。我在里斯本买了一本书。", "谢谢。"]
    summary = extractive_summary(texts, budget_chars=20)
    assert "里斯本" in summary
    assert len(summary) <= 20


@given(
    texts=st.lists(st.text(max_size=120), max_size=12),
    previous=st.none() | st.text(max_size=200),
    budget_chars=st.integers(min_value=0, max_value=300),
)
def test_the_budget_holds_and_the_result_is_the_same_each_time(
    texts: list[str], previous: str | None, budget_chars: int
) -> None:
    """Whatever the text, the summary is no longer than its budget and deterministic."""
    summary = extractive_summary(texts, previous=previous, budget_chars=budget_chars)
    assert len(summary) <= budget_chars
    assert summary == extractive_summary(texts, previous=previous, budget_chars=budget_chars)


def test_ten_thousand_messages_take_seconds_at_most() -> None:
    """The time grows about linearly: a session of ten thousand messages is no trap."""
    places = ("Lisbon", "Leeds", "Kyoto", "Graz", "Bergen", "Porto", "Tucson")
    talk = [
        ("user", f"I went to {places[at % 7]} with friend {at}. We saw {at % 31} boats there. It was nice and sunny.")
        for at in range(10_000)
    ]
    started = time.process_time()
    summary = summarize_messages(messages(*talk), budget_chars=20_000)
    assert time.process_time() - started < 10.0
    assert 10_000 < len(summary) <= 20_000
