"""When a query asks about: the days that its date expressions mean, and how well moments fall within them.

    "in March 2024"  that month        "in March"      March of any year       "in 2023"  that year
    "on 7 May"       that day and the two after it, when people tell of it; half for the rest of its month
    "yesterday", "last week", "two months ago", "last May"    counted back from the moment of the search

Calendar arithmetic only, no parser of free text: a search pays some ten microseconds for a query without a date.
Expressions that mean a future or nothing certain are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.extraction_rules.dates import find_dates

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SEASON_MONTH = {"spring": 3, "summer": 6, "fall": 9, "autumn": 9, "winter": 12}
_NUMBERS: Mapping[str, int] = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "a couple of": 2, "a couple": 2, "couple of": 2, "a few": 3, "several": 4,
}  # fmt: skip
_UNIT_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
_PAST = frozenset({"last", "past", "this past"})
_TOLD_WITHIN = timedelta(days=2)
_MICROSECONDS_A_DAY = 86_400_000_000
_DAY_NUMBER = re.compile(r"\d{1,2}")
AROUND_A_DAY = 0.5
"""What a moment elsewhere in the month of a day that the query names is worth."""


@dataclass(frozen=True, slots=True)
class DateWindow:
    """Days from ``first`` to ``last``, or those of a calendar month of any year; ``worth`` is what a moment within gets."""

    first: date | None = None
    last: date | None = None
    month: int | None = None
    day: int | None = None
    worth: float = 1.0


def query_windows(text: str, now: datetime) -> tuple[DateWindow, ...]:
    """The windows of the query's date expressions; empty for most queries."""
    today = now.astimezone(UTC).date()
    windows: list[DateWindow] = []
    for span in find_dates(text):
        try:
            windows += _windows(span.parts, today)
        except (ValueError, OverflowError):
            continue  # a day that no calendar has
    return tuple(windows)


def date_fit(windows: Sequence[DateWindow], moments_us: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each moment (microseconds since the epoch) the worth of the best window that it falls within, else 0."""
    fit = np.zeros(len(moments_us))
    if not windows:
        return fit
    days = moments_us // _MICROSECONDS_A_DAY
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64) % 12 + 1
    for window in windows:
        inside = np.ones(len(days), dtype=np.bool_)
        if window.first is not None:
            inside &= dates >= np.datetime64(window.first)
        if window.last is not None:
            inside &= dates <= np.datetime64(window.last)
        if window.day is not None and window.month is not None:
            inside &= _near_a_day(dates, window.month, window.day)
        elif window.month is not None:
            inside &= months == window.month
        fit = np.maximum(fit, np.where(inside, window.worth, 0.0))
    return fit


def _near_a_day(dates: NDArray[np.datetime64], month: int, day: int) -> NDArray[np.bool_]:
    inside = np.zeros(len(dates), dtype=np.bool_)
    for later in range(_TOLD_WITHIN.days + 1):
        told = dates - np.timedelta64(later, "D")
        of_month = told.astype("datetime64[M]")
        inside |= (of_month.astype(np.int64) % 12 + 1 == month) & ((told - of_month).astype(np.int64) + 1 == day)
    return inside


def _windows(parts: Mapping[str, str], today: date) -> list[DateWindow]:
    if "year" in parts:
        return [_year(int(parts["year"]))]
    if "month" in parts:
        return [_month(_month_number(parts["month"]), parts.get("month_year"))]
    if "iso" in parts:
        return _day(date.fromisoformat(parts["iso"]))
    if "day" in parts:
        return _calendar_day(parts)
    if "named" in parts:
        return _named(parts["named"], today)
    if "period" in parts:
        return _period(parts["which"], parts["what"], today)
    if "ago" in parts and parts["way"] != "from now":
        return _ago(parts["count"], parts["unit"], today)
    if "weekday" in parts:
        back = (today.weekday() - _weekday_number(parts["weekday"])) % 7
        return _day(today - timedelta(days=back))
    return []


def _month_number(name: str) -> int:
    return _MONTHS.index(name[:3]) + 1


def _weekday_number(name: str) -> int:
    return _WEEKDAYS.index(name[:3])


def _year(year: int) -> DateWindow:
    return DateWindow(date(year, 1, 1), date(year, 12, 31))


def _month(month: int, year: str | None, worth: float = 1.0) -> DateWindow:
    if year is None:
        return DateWindow(month=month, worth=worth)
    return DateWindow(date(int(year), month, 1), _end_of_month(int(year), month), worth=worth)


def _end_of_month(year: int, month: int) -> date:
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)


def _day(day: date) -> list[DateWindow]:
    return [
        DateWindow(day, day + _TOLD_WITHIN),
        DateWindow(day.replace(day=1), _end_of_month(day.year, day.month), worth=AROUND_A_DAY),
    ]


def _calendar_day(parts: Mapping[str, str]) -> list[DateWindow]:
    found = _DAY_NUMBER.search(parts["day"])
    month = next((number for number, name in enumerate(_MONTHS, start=1) if name in parts["day"]), None)
    if found is None or month is None:
        return []
    if "day_year" in parts:
        return _day(date(int(parts["day_year"]), month, int(found.group())))
    return [DateWindow(month=month, day=int(found.group())), DateWindow(month=month, worth=AROUND_A_DAY)]


def _named(name: str, today: date) -> list[DateWindow]:
    if name.startswith("day before"):
        return [DateWindow(today - timedelta(days=2), today - timedelta(days=1))]
    if name.startswith(("yesterday", "last night")):
        return [DateWindow(today - timedelta(days=1), today - timedelta(days=1))]
    if name.startswith(("today", "tonight", "this")):
        return [DateWindow(today, today)]
    return []


def _period(which: str, what: str, today: date) -> list[DateWindow]:
    if which not in _PAST and which != "this":
        return []
    back = 0 if which == "this" else 1
    monday = today - timedelta(days=today.weekday())
    if what in ("week", "weekend"):
        start = monday - timedelta(weeks=back) + timedelta(days=5 if what == "weekend" else 0)
        return [DateWindow(start, start + timedelta(days=1 if what == "weekend" else 6))]
    if what == "month":
        months = today.year * 12 + today.month - 1 - back
        return [_month(months % 12 + 1, str(months // 12))]
    if what == "year":
        return [_year(today.year - back)]
    if what in _SEASON_MONTH:
        return [_season(_SEASON_MONTH[what], today, back)]
    if what[:3] in _MONTHS:
        month = _month_number(what)
        return [_month(month, str(today.year if month < today.month or not back else today.year - 1))]
    days = (today.weekday() - _weekday_number(what)) % 7 or 7 * back
    return _day(today - timedelta(days=days))


def _season(month: int, today: date, back: int) -> DateWindow:
    start = date(today.year, month, 1)
    if start > today or (back and start + timedelta(days=91) > today):
        start = date(today.year - 1, month, 1)
    return DateWindow(start, start + timedelta(days=91))


def _ago(count: str, unit: str, today: date) -> list[DateWindow]:
    """So long ago, give or take half a unit: nobody counts days in months."""
    number = int(count) if count.isdigit() else _NUMBERS.get(count)
    if number is None:
        return []
    then = today - timedelta(days=number * _UNIT_DAYS[unit])
    spread = timedelta(days=_UNIT_DAYS[unit] // 2)
    return [DateWindow(then - spread, then + spread)]
