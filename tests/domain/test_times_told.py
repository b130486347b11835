"""Which questions ask for a time, and which texts tell one."""

from __future__ import annotations

import pytest

from agent_memory_server.domain.times_told import asks_when, tells_when


@pytest.mark.parametrize(
    ("query", "asks"),
    [
        ("When did Ana move?", True),
        ("  when is the dentist", True),
        ("Do you know when was the concert?", True),
        ("In which month did she marry?", True),
        ("How long has Ben lived there?", True),
        ("How long should replies be?", False),
        ("What did Ana do when it rained?", False),
        ("wann ist das Konzert?", False),
        ("", False),
    ],
)
def test_a_question_asks_for_a_time(query: str, asks: bool) -> None:
    """By its first word or by "when" before an auxiliary; a clause that begins with "when" asks nothing."""
    assert asks_when(query) is asks


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("I went there last Friday", True),
        ("two YEARS ago", True),
        ("since 2019", True),
        ("rent is due on the fifth", True),
        ("see you on May 7th", True),
        ("I ate 3 apples", False),
        ("room 20190", False),
        ("a blast, an agony", False),
        ("", False),
    ],
)
def test_a_text_tells_a_time(text: str, tells: bool) -> None:
    """Whole words only, and no plain numbers."""
    assert tells_when(text) is tells
