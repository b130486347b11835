"""Dates in statements are grounded on the day of the message, whatever day it is when the rules run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.extraction_rules import RuleMemory, extract_by_rules
from agent_memory_server.domain.sessions import Message

AT = datetime(2024, 5, 14, 10, tzinfo=UTC)
"""A Tuesday."""


def extracted(content: str, at: datetime = AT) -> list[RuleMemory]:
    return extract_by_rules([Message(id="m", role="user", content=content, created_at=at)])


@pytest.mark.parametrize(
    ("when", "told", "date"),
    [
        ("yesterday", "on 13 May 2024", "2024-05-13"),
        ("last night", "on the night of 13 May 2024", "2024-05-13"),
        ("this morning", "on the morning of 14 May 2024", "2024-05-14"),
        ("the day before yesterday", "on 12 May 2024", "2024-05-12"),
        ("three days ago", "on 11 May 2024", "2024-05-11"),
        ("two weeks ago", "around 30 April 2024", "2024-04-30"),
        ("a few days ago", "around 11 May 2024", "2024-05-11"),
        ("two months ago", "in March 2024", "2024-03-01"),
        ("about five years ago", "in 2019", "2019-01-01"),
        ("last week", "in the week of 6 May 2024", "2024-05-06"),
        ("last weekend", "on the weekend of 11 May 2024", "2024-05-11"),
        ("last month", "in April 2024", "2024-04-01"),
        ("last year", "in 2023", "2023-01-01"),
        ("last summer", "in the summer of 2023", "2023-06-01"),
        ("last Friday", "on 10 May 2024", "2024-05-10"),
        ("on Saturday", "on 11 May 2024", "2024-05-11"),
        ("in October", "in October 2023", "2023-10-01"),
        ("on May 2nd", "on 2 May 2024", "2024-05-02"),
        ("on 12 April", "on 12 April 2024", "2024-04-12"),
        ("on the 3rd of June 2021", "on 3 June 2021", "2021-06-03"),
        ("on 2022-02-28", "on 28 February 2022", "2022-02-28"),
        ("in 2019", "in 2019", "2019-01-01"),
    ],
)
def test_what_happened_is_dated_into_the_past(when: str, told: str, date: str) -> None:
    """Every common way to say when becomes an absolute one, in the text and as the event's date."""
    (memory,) = extracted(f"I moved to Lisbon {when}.")
    assert memory.text == f"User moved to Lisbon {told}."
    assert memory.event_date is not None
    assert memory.event_date.date().isoformat() == date
    assert memory.event_date.tzinfo is UTC


@pytest.mark.parametrize(
    ("when", "told", "date"),
    [
        ("tomorrow", "on 15 May 2024", "2024-05-15"),
        ("on Friday", "on 17 May 2024", "2024-05-17"),
        ("next Friday", "on 17 May 2024", "2024-05-17"),
        ("this weekend", "on the weekend of 18 May 2024", "2024-05-18"),
        ("next week", "in the week of 20 May 2024", "2024-05-20"),
        ("in three weeks", "around 4 June 2024", "2024-06-04"),
        ("next month", "in June 2024", "2024-06-01"),
        ("in October", "in October 2024", "2024-10-01"),
        ("this summer", "in the summer of 2024", "2024-06-01"),
        ("next year", "in 2025", "2025-01-01"),
        ("on May 2nd", "on 2 May 2025", "2025-05-02"),
    ],
)
def test_a_plan_is_dated_into_the_future(when: str, told: str, date: str) -> None:
    """The same words point ahead when the statement does."""
    (memory,) = extracted(f"I'm flying to Japan {when}.")
    assert memory.text == f"User is flying to Japan {told}."
    assert memory.event_date is not None
    assert memory.event_date.date().isoformat() == date


def test_a_date_that_opens_the_sentence_is_read_too() -> None:
    """The writer's order does not matter."""
    assert [memory.text for memory in extracted("Yesterday, I went to Porto with Lena.")] == [
        "User went to Porto with Lena on 13 May 2024."
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("I have been a customer since 2015", "User has been a customer since 2015."),
        ("I run a choir every Friday", "User runs a choir every Friday."),
        ("I work from home on Fridays", "User works from home on Fridays."),
        ("I've lived in Paris for five years", "User has lived in Paris for five years."),
        ("My birthday is on march 3rd", "User's birthday is on march 3rd."),
        ("I may love Rome", None),
    ],
)
def test_what_is_no_date_of_an_event_makes_none(said: str, told: str | None) -> None:
    """Beginnings, habits, durations and birthdays stay as they were said, and the fact stays a lasting one."""
    memories = extracted(said)
    assert [memory.text for memory in memories] == ([told] if told else [])
    assert all(memory.event_date is None for memory in memories)


def test_the_wall_clock_has_no_say() -> None:
    """The same message gives the same memory, on whatever day it is read."""
    said = "I moved to Lisbon last Friday. I'm flying to Japan in October. I had surgery three days ago."
    found: list[list[RuleMemory]] = []
    for today in (
        datetime(1999, 12, 31, 23, 59, tzinfo=UTC),
        datetime(2024, 2, 29, tzinfo=UTC),
        datetime(2031, 7, 1, tzinfo=UTC),
    ):
        with time_machine.travel(today, tick=False):
            found.append(extracted(said))
    assert len(found[0]) == 3
    assert found[0] == found[1] == found[2]


def test_the_message_s_own_offset_is_read_as_utc() -> None:
    """A message of late evening elsewhere counts by the day in UTC: dates are compared across users."""
    late = datetime(2024, 5, 14, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    (memory,) = extracted("I moved to Lisbon yesterday.", at=late)
    assert memory.event_date == datetime(2024, 5, 14, tzinfo=UTC)


@given(
    at=st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)).map(
        lambda each: each.replace(tzinfo=UTC)
    ),
    when=st.sampled_from(
        [
            "last week",
            "next year",
            "999 years ago",
            "in 900 years",
            "on 30 February",
            "last winter",
            "next weekend",
            "tomorrow",
            "on Monday",
        ]
    ),
)
def test_the_ends_of_time_break_nothing(at: datetime, when: str) -> None:
    """Messages of the year 1 and 9999 are answered; what cannot be reckoned stays as it was said."""
    for memory in extracted(f"I moved to Lisbon {when}.", at=at):
        assert memory.text.startswith("User moved to Lisbon")
