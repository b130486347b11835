"""Which days a query's dates mean, counted from the moment of the search."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from agent_memory_server.domain.query_dates import AROUND_A_DAY, date_fit, query_windows

NOW = datetime(2026, 5, 14, 12, tzinfo=UTC)  # a Thursday


def fit(query: str, *days: str) -> list[float]:
    moments = [int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000_000) for day in days]
    return date_fit(query_windows(query, NOW), np.array(moments, dtype=np.int64)).tolist()


@pytest.mark.parametrize(
    ("query", "inside", "outside"),
    [
        ("What happened in March 2024?", "2024-03-31", "2025-03-01"),
        ("What did we cook in December?", "2023-12-05", "2023-11-30"),
        ("Where was I in 2023?", "2023-12-31", "2024-01-01"),
        ("What did she say yesterday?", "2026-05-13", "2026-05-12"),
        ("What did she say last week?", "2026-05-04", "2026-05-11"),
        ("Who came last weekend?", "2026-05-10", "2026-05-11"),
        ("What was planned last month?", "2026-04-30", "2026-05-01"),
        ("Who moved last year?", "2025-07-01", "2026-01-01"),
        ("What did I say last May?", "2025-05-20", "2026-05-10"),
        ("Where were we last summer?", "2025-07-15", "2025-12-01"),
        ("What broke two weeks ago?", "2026-04-30", "2026-05-13"),
        ("What broke 3 days ago?", "2026-05-11", "2026-05-13"),
        ("Who called on Monday?", "2026-05-11", "2026-03-02"),
    ],
)
def test_what_a_query_means(query: str, inside: str, outside: str) -> None:
    """A day within the named time fits, one just beyond does not."""
    assert fit(query, inside, outside) == [1.0, 0.0]


@pytest.mark.parametrize("query", ["What happened on 7 May 2023?", "What happened on May 7th?", "and on 2023-05-07?"])
def test_a_day_is_told_of_a_little_later(query: str) -> None:
    """The day itself and the two after it fit; the rest of its month fits half."""
    days = ("2023-05-06", "2023-05-07", "2023-05-09", "2023-05-10", "2023-06-01")
    assert fit(query, *days) == [AROUND_A_DAY, 1.0, 1.0, AROUND_A_DAY, 0.0]


@pytest.mark.parametrize(
    "query", ["", "May I come in?", "every Friday", "next week", "on 31 February 2024", "in two hours", "year 99999"]
)
def test_what_names_no_past_fits_nothing(query: str) -> None:
    """Verbs, habits, futures and days that no calendar has are no windows; nothing raises."""
    assert fit(query, "2026-05-14", "2024-02-28") == [0.0, 0.0]


def test_moments_of_any_year_are_compared() -> None:
    """The first and the last day that can be stored, before 1970 too."""
    assert fit("Who was there in 1950?", "0001-01-01", "1950-06-01", "9999-12-31") == [0.0, 1.0, 0.0]
