"""What parts two texts by rule, and what a merged text may not lose."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.sameness import difference, difference_of_texts, loses
from tests.contract.stores.making import T0, memory

NEVER_THE_SAME = [
    ("likes tea", "no longer likes tea"),
    ("likes tea", "likes tea, says Ana"),
    ("likes tea", "doesn't like tea"),
    ("likes tea", "used to like tea"),
    ("User likes tea", "User stopped liking tea"),
    ("User likes tea", "User may like tea"),
    ("User likes tea", "User likes coffee"),
    ("User loves cats", "User hates cats"),
    ("Ana likes tea", "Bob likes tea"),
    ("User met Ana", "User met Ben"),
    ("Ana's dog is called Rex", "Ben's dog is called Rex"),
    ("User has 2 dogs", "User has three dogs"),
    ("User pays 1.50 euros", "User pays 1.60 euros"),
    ("User flies in May", "User flies in June"),
    ("User swims on Monday", "User swims on Tuesday"),
    ("User swims every day", "User sometimes swims"),
    ("User was born in 1984", "User was born in 1985"),
    ("User's brother is a doctor", "User's sister is a doctor"),
    ("User moved to Berlin", "User plans to move to Berlin"),
    ("User mag Tee", "User mag keinen Tee"),
    ("Le chat est là", "Le chat n'est pas là"),
    ("用户喜欢茶", "用户不喜欢茶"),
    ("Ana lent Ben 20 euros", "Ana borrowed 20 euros of Ben"),
]
MAY_BE_THE_SAME = [
    ("User likes tea", "The user enjoys drinking tea"),
    ("User bought 2 apples", "User has bought two apples"),
    ("In May 2023 the user moved to Berlin", "User moved to Berlin in May 2023"),
    ("User has a dog named Rex", "Rex is the user's dog"),
    ("User does not eat meat", "User never eats meat"),
    ("Ana said that she is ill", "According to Ana she is ill"),
    ("User's sister lives in Oslo", "The sister of the user lives in Oslo"),
]


@pytest.mark.parametrize(("one", "other"), NEVER_THE_SAME)
def test_a_no_a_number_a_name_or_a_date_parts_two_texts(one: str, other: str) -> None:
    """In both directions, with a reason in words."""
    assert difference_of_texts(one, other)
    assert difference_of_texts(other, one)


@pytest.mark.parametrize(("one", "other"), [pair for pair in MAY_BE_THE_SAME if "never" not in pair[1]])
def test_paraphrases_are_left_to_a_model(one: str, other: str) -> None:
    """The rules see nothing that parts them."""
    assert difference_of_texts(one, other) is None
    assert difference_of_texts(other, one) is None


@pytest.mark.parametrize(
    "text", [text for pair in (*NEVER_THE_SAME, *MAY_BE_THE_SAME) for text in pair] + ["", "…", "\0", "🎉"]
)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    """Whatever it holds."""
    assert difference_of_texts(text, text) is None


def test_attributes_part_memories() -> None:
    """Owner, type, who it is about, and when it happened."""
    one = memory("a")
    assert difference(one, memory("b")) is None
    assert difference(one, memory("b", memory_type=MemoryType.EPISODIC))
    assert difference(one, memory("b", name="Ana"))
    assert difference(memory("a", event_date=T0), memory("b", event_date=T0 + timedelta(days=1)))
    assert difference(memory("a", event_date=T0), memory("b")) is None


@pytest.mark.parametrize(
    "merged",
    [
        "User met at the station",
        "User did not meet Ana at 5 at the station",
        "User met Ana at 6 at the station",
        "User met Ana at the station",
        "User may have met Ana at 5 at the station",
    ],
)
def test_a_merged_text_keeps_numbers_names_and_sense(merged: str) -> None:
    """What it drops, adds or turns around makes it unusable."""
    sources = ["User met Ana at 5 at the station", "At 5 the user met Ana at the station"]
    assert loses(sources, merged)
    assert loses(sources, "The user met Ana at the station at 5") is None
