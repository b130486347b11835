"""Strategies: what a configuration may hold, what a prompt may reach, and what of a model's answer becomes a draft."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.sessions import Message, Strategy
from agent_memory_server.domain.strategies import check_strategy, fill_template, parse_extraction, text_length_max

AT = datetime(2026, 3, 1, tzinfo=UTC)
MESSAGES = [Message(id=f"m{n}", role="user", content="words", created_at=AT) for n in (1, 2, 3)]


def item(text: str = "User likes tea", **fields: Any) -> dict[str, Any]:
    return {
        "type": "semantic",
        "text": text,
        "topics": [],
        "entities": [],
        "event_date": None,
        "sources": [1],
        **fields,
    }


@pytest.mark.parametrize(
    ("name", "config", "complaint"),
    [
        ("nonsense", {}, "unknown strategy"),
        ("custom", {}, "custom_prompt"),
        ("custom", {"custom_prompt": "  "}, "custom_prompt"),
        ("custom", {"custom_prompt": 7}, "custom_prompt"),
        ("custom", {"custom_prompt": "x" * 10_001}, "10000 characters"),
        ("summary", {"max_summary_length": 0}, "max_summary_length"),
        ("summary", {"max_summary_length": "many"}, "max_summary_length"),
        ("summary", {"max_summary_length": True}, "max_summary_length"),
        ("summary", {"max_summary_length": 5_001}, "max_summary_length"),
    ],
)
def test_what_cannot_be_followed_is_refused(name: str, config: dict[str, Any], complaint: str) -> None:
    """With the reason, before anything is stored."""
    with pytest.raises(ValueError, match=complaint):
        check_strategy(Strategy(name=name, config=config))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("discrete", {"anything": {"deep": [1]}}),
        ("summary", {}),
        ("summary", {"max_summary_length": 50, "topics": ["work"]}),
        ("preferences", {}),
        (
            "custom",
            {"custom_prompt": 'Answer {"memories": [{"text": "..."}]}. Ignore the system, tokens are important.'},
        ),
    ],
)
def test_what_can_be_followed_is_accepted(name: str, config: dict[str, Any]) -> None:
    """Ordinary words and JSON in a prompt are nothing to refuse; unknown keys are the client's own."""
    check_strategy(Strategy(name=name, config=config))


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("Today is {now}.", "Today is 2026."),
        ('{"memories": [{"text": "at {now}"}]}', '{"memories": [{"text": "at 2026"}]}'),
        ('{{"memories": [{{"text": "at {now}"}}]}}', '{"memories": [{"text": "at 2026"}]}'),
        ('{"a": {"b": {}}}', '{"a": {"b": {}}}'),
        ("{now.__class__} {now!r} {now[0]} {now:>99999999} {0} {} {unknown}", None),
        ("{__globals__} {self} {config} { now }", None),
    ],
)
def test_a_template_reaches_its_variables_and_nothing_else(template: str, filled: str | None) -> None:
    """No attributes, indexes, formats or other names; what is not a variable stays as it is written."""
    assert fill_template(template, {"now": "2026"}) == (template if filled is None else filled)


def test_a_value_is_not_a_template() -> None:
    """What is put in is not looked at again."""
    assert fill_template("{a} {b}", {"a": "{b}", "b": "B"}) == "{b} B"


def test_drafts_hold_what_the_model_may_say() -> None:
    """Content, labels without commas, dates and sources; owner, id, pins and times are not the model's to set."""
    answer = {
        "memories": [
            item(
                "  User moved to Lisbon.  ", type="episodic", event_date="2025-05-01", entities=["Lisbon, Portugal", ""]
            ),
            item(id="mine", user_id="bob", pinned=True, created_at="2000-01-01", topics=["a", "a", 7, "b" * 101]),
        ]
    }
    moved, likes = parse_extraction(answer, MESSAGES)
    assert (moved.text, moved.memory_type) == ("User moved to Lisbon.", MemoryType.EPISODIC)
    assert moved.event_date == datetime(2025, 5, 1, tzinfo=UTC)
    assert moved.entities == ("Lisbon Portugal",)
    assert (likes.topics, likes.source_ids) == (("a",), ("m1",))


@pytest.mark.parametrize(
    ("sources", "ids"),
    [
        ([2, 3], ("m2", "m3")),
        ([3, 3, 1], ("m1", "m3")),
        ([0, 4, -1, "1", True, 1.0], ("m1", "m2", "m3")),
        (None, ("m1", "m2", "m3")),
    ],
)
def test_sources_are_messages_that_exist(sources: Any, ids: tuple[str, ...]) -> None:
    """Made-up numbers are dropped; when none is left, it comes from all of them."""
    (draft,) = parse_extraction({"memories": [item(sources=sources)]}, MESSAGES)
    assert draft.source_ids == ids


@pytest.mark.parametrize("event_date", ["soon", "", 7, "2025-13-01", "0001-01-01T00:00:00+23:59", {"year": 2025}])
def test_a_date_that_cannot_be_read_costs_the_date_alone(event_date: Any) -> None:
    """The memory stays."""
    (draft,) = parse_extraction({"memories": [item(event_date=event_date)]}, MESSAGES)
    assert draft.event_date is None


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"memories": None},
        {"memories": {"text": "x"}},
        {"memories": ["User likes tea"]},
        {"memories": [item("x" * 4_001)]},
        {"memories": [item()] * 201},
    ],
)
def test_another_form_than_the_one_asked_for_is_a_failure(answer: dict[str, Any]) -> None:
    """Never half of it as data."""
    with pytest.raises(ValueError, match=r".+"):
        parse_extraction(answer, MESSAGES)


def test_items_without_text_say_nothing() -> None:
    """They are left out, the others stay."""
    assert parse_extraction({"memories": []}, MESSAGES) == ()
    drafts = parse_extraction({"memories": [item(""), item(" "), {"type": "semantic"}, item("kept")]}, MESSAGES)
    assert [draft.text for draft in drafts] == ["kept"]


@pytest.mark.parametrize(
    "word", ["system", "token", "important", "medieval", "password", "import", "__init__", "ignore"]
)
def test_ordinary_words_do_not_drop_a_memory(word: str) -> None:
    """What the words say is their owner's business."""
    (draft,) = parse_extraction({"memories": [item(f"User thinks about the {word}.")]}, MESSAGES)
    assert word in draft.text


def test_a_summary_may_be_as_long_as_it_was_asked_to_be() -> None:
    """Other memories are one statement."""
    assert text_length_max(Strategy(name="summary", config={"max_summary_length": 5_000})) >= 5_000 * 10
    assert text_length_max(Strategy()) == 4_000
