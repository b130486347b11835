"""Dates in a statement: found by our own rules, grounded on the day the message was written, never on the wall clock.

``dateparser`` reads the calendar expressions ("two weeks ago", "friday", "5 May"); periods that it does not know (weeks,
weekends, seasons) are counted here. An expression that stays ambiguous is left in the text as it was written.
The event date is the first moment (UTC) of the day, week, month, season or year that was meant; ``phrase`` says which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
_WEEKDAY = "(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
_WEEKDAY_SHORT = "(?:mon|tues?|wed|thurs?|thu|fri|sat|sun)"
_SEASON = "(?:spring|summer|fall|autumn|winter)"
_NUMBER = (
    "(?:\\d{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|a couple of|"
    "a couple|couple of|a few|several)"
)
_ORDINAL = "\\d{1,2}(?:st|nd|rd|th)?"
_PART = "(?: (?P<{name}>morning|afternoon|evening|night))?"

_DATE = re.compile(
    r"(?<![\w-])(?:(?P<preposition>on|in|since|until|till|by|from|before|after|around|during|"
    r"over|for|back in|starting|as of)\s+)?"
    r"(?:the\s+)?(?:"
    r"(?P<iso>(?:19|20)\d\d-\d\d-\d\d)"
    rf"|(?P<day>(?:{_ORDINAL}(?: of)? {_MONTH}|{_MONTH} (?:the )?{_ORDINAL}(?![\d:]))(?:,? (?P<day_year>(?:19|"
    rf"20)\d\d))?)"
    rf"|(?P<ago>(?:(?:about|almost|nearly|roughly|over|more than|just|only|like)\s+)?(?P<count>{_NUMBER}) (?P<unit>day|"
    rf"week|month|year)s? (?P<way>ago|back|from now))"
    rf"|(?P<within>(?P<within_count>{_NUMBER}) (?P<within_unit>day|week|month|year)s?(?=$|[ ,.!]))"
    r"|(?P<named>day before yesterday|day after tomorrow|last night|tonight|this (?:morning|afternoon|evening)"
    r"|(?:yesterday|tomorrow|today)" + _PART.format(name="part") + ")"
    rf"|(?P<period>(?P<which>last|next|this past|this coming|this|coming|past) (?P<what>week|"
    rf"weekend|month|year|{_SEASON}|{_WEEKDAY}|{_WEEKDAY_SHORT}|{_MONTH}))"
    rf"|(?P<weekday>{_WEEKDAY})"
    + _PART.format(name="weekday_part")
    + rf"|(?P<month>{_MONTH})(?:(?: of|,)? (?P<month_year>(?:19|20)\d\d))?"
    r"|(?P<year>(?:19|20)\d\d)"
    r")(?![\w-])",
    re.IGNORECASE,
)
_HINT = re.compile(
    r"\d|ago|day|last|next|night|morning|evening|afternoon|week|month|year|tomorrow|summer|winter|spring|"
    r"autumn|fall|january|february|march|april"
    r"|may|june?|july?|august|sept?|october|november|december|\b(?:jan|feb|mar|apr|aug|oct|nov|dec)\b",
    re.IGNORECASE,
)
_RECURRENT = re.compile(r"\b(?:every|each|any|most|all|one|first|second|third)\s+$", re.IGNORECASE)
_KEPT_PREPOSITIONS = frozenset(
    {"since", "until", "till", "by", "from", "before", "after", "around", "for", "starting", "as of"}
)
_MONTH_NAMES = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_SEASON_MONTH = {"spring": 3, "summer": 6, "fall": 9, "autumn": 9, "winter": 12}
_AMBIGUOUS_MONTHS = frozenset({"may", "march", "mar", "jan", "dec", "sep", "jun"})


@dataclass(frozen=True, slots=True)
class Span:
    """A date expression in a text, with its parts; ``start`` and ``end`` include its preposition."""

    start: int
    end: int
    text: str
    parts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Grounded:
    """The absolute form of an expression, with its preposition, and the first moment of what it names."""

    phrase: str
    date: datetime


def find_dates(text: str) -> list[Span]:
    """The date expressions of a text, in order. Recurrent ones ("every Friday", "on Thursdays") are none."""
    if not _HINT.search(text):
        return []
    found: list[Span] = []
    for match in _DATE.finditer(text):
        parts = {name: value.lower() for name, value in match.groupdict().items() if value is not None}
        if _is_date(match, parts, text):
            found.append(Span(match.start(), match.end(), match.group(), parts))
    return found


def _is_date(match: re.Match[str], parts: dict[str, str], text: str) -> bool:
    if _RECURRENT.search(text, max(0, match.start() - 12), match.start()):
        return False
    preposition = parts.get("preposition")
    if "within" in parts:
        return preposition == "in"
    if "year" in parts:
        return preposition is not None and preposition not in ("for", "over", "on")
    if "month" in parts and "month_year" not in parts:
        named = match.group("month")
        return preposition is not None or (named[0].isupper() and parts["month"] not in _AMBIGUOUS_MONTHS)
    if "period" in parts and parts["what"] in _AMBIGUOUS_MONTHS:
        return match.group("what")[0].isupper()
    return True


def ground(span: Span, spoken_at: datetime, *, past: bool) -> Grounded | None:
    """What the expression means when said at ``spoken_at``; ``past`` is the statement's tense and decides "friday", "in May".

    None when it cannot be told: then the text is best left as it is.
    """
    base = spoken_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        core = _core(span.parts, base, past=past)
    except (OverflowError, ValueError):
        return None  # beyond the years that dates can hold: not a date that anyone means
    if core is None:
        return None
    default, phrase, date = core
    preposition = span.parts.get("preposition")
    kept = preposition if preposition in _KEPT_PREPOSITIONS else default
    return Grounded(f"{kept} {phrase}", date)


_Core = tuple[str, str, datetime]


def _core(parts: dict[str, str], base: datetime, *, past: bool) -> _Core | None:
    if parts.get("preposition") == "since":
        past = True
    if "named" in parts:
        return _named(parts["named"], base)
    if "period" in parts:
        return _period(parts["which"], parts["what"], base)
    if "ago" in parts or "within" in parts:
        return _counted(parts, base, past=past)
    if "year" in parts:
        return _year(int(parts["year"]))
    if "month" in parts:
        found = _parse(f"{parts['month']} {parts.get('month_year', '')}".strip(), base, past=past)
        return None if found is None else _month(found)
    if "weekday" in parts:
        found = _parse(parts["weekday"], base, past=past)
        return None if found is None else _day(found, parts.get("weekday_part"))
    if "iso" in parts:
        return _day(datetime.fromisoformat(parts["iso"]).replace(tzinfo=UTC))
    found = _parse(parts["day"].replace(" the ", " "), base, past=past)
    return None if found is None else _day(found)


def _parse(expression: str, base: datetime, *, past: bool, counted: bool = False) -> datetime | None:
    """One expression by dateparser, in English, relative to ``base`` alone."""
    import dateparser  # imported when the first date is read: 70 ms that a server without local extraction never pays

    settings: dict[str, Any] = {
        "RELATIVE_BASE": base.replace(tzinfo=None),
        "PREFER_DATES_FROM": "past" if past else "future",
        "PREFER_DAY_OF_MONTH": "first",
        "TIMEZONE": "UTC",
        "RETURN_AS_TIMEZONE_AWARE": False,
        # Naming the one parser that fits halves the time.
        "PARSERS": ["relative-time" if counted else "absolute-time"],
    }
    found = dateparser.parse(expression, languages=["en"], settings=cast("Any", settings))
    return None if found is None else found.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)


def _named(name: str, base: datetime) -> _Core:
    words = name.split()
    offset = {"yesterday": -1, "tomorrow": 1}.get(words[0], 0)
    if name == "day before yesterday":
        return _day(base - timedelta(days=2))
    if name == "day after tomorrow":
        return _day(base + timedelta(days=2))
    if name == "last night":
        return _day(base - timedelta(days=1), "night")
    if name == "tonight":
        return _day(base, "evening")
    return _day(base + timedelta(days=offset), words[1] if len(words) > 1 else None)


def _period(which: str, what: str, base: datetime) -> _Core | None:
    step = {"last": -1, "past": -1, "this past": -1, "next": 1, "coming": 1, "this coming": 1, "this": 0}[which]
    monday = base - timedelta(days=base.weekday())
    if what == "week":
        if which == "past":
            return None
        return "in", f"the week of {_written(monday + timedelta(weeks=step))}", monday + timedelta(weeks=step)
    if what == "weekend":
        saturday = monday + timedelta(weeks=0 if which in ("coming", "this coming") else step, days=5)
        return "on", f"the weekend of {_written(saturday)}", saturday
    if what == "month":
        months = base.year * 12 + base.month - 1 + step
        return _month(base.replace(year=months // 12, month=months % 12 + 1, day=1))
    if what == "year":
        return None if which == "past" else _year(base.year + step)
    if what in _SEASON_MONTH:
        return _season(what, step, base)
    found = _parse(what, base, past=step < 0)
    if found is None:
        return None
    return _month(found) if re.fullmatch(_MONTH, what) else _day(found)


def _season(name: str, step: int, base: datetime) -> _Core:
    start = base.replace(month=_SEASON_MONTH[name], day=1)
    ends = start + timedelta(days=91)
    if step < 0 and ends > base:
        start = start.replace(year=start.year - 1)
    elif step > 0 and start <= base:
        start = start.replace(year=start.year + 1)
    return "in", f"the {name} of {start.year}", start


def _counted(parts: dict[str, str], base: datetime, *, past: bool) -> _Core | None:
    if "within" in parts:
        if past:
            return None  # "I read it in two days" is a duration
        count, unit, direction = parts["within_count"], parts["within_unit"], "in {}"
    else:
        count, unit = parts["count"], parts["unit"]
        direction = "in {}" if parts["way"] == "from now" else "{} ago"
    vague = {"a couple of": "2", "a couple": "2", "couple of": "2", "a few": "3", "several": "4"}
    found = _parse(direction.format(f"{vague.get(count, count)} {unit}s"), base, past=past, counted=True)
    if found is None:
        return None
    if unit == "year":
        _, phrase, date = _year(found.year)
        return "in", phrase if count not in vague else f"about {phrase}", date
    if unit == "month":
        _, phrase, date = _month(found)
        return "in", phrase if count not in vague else f"about {phrase}", date
    if unit == "week" or count in vague:
        # Counted back from the day itself: dateparser moves to the first day only where months are meant.
        return "around", _written(found), found
    return _day(found)


def _day(date: datetime, part: str | None = None) -> _Core:
    return "on", f"the {part} of {_written(date)}" if part else _written(date), date


def _month(date: datetime) -> _Core:
    return "in", f"{_MONTH_NAMES[date.month - 1]} {date.year}", date.replace(day=1)


def _year(year: int) -> _Core:
    return "in", str(year), datetime(year, 1, 1, tzinfo=UTC)


def _written(date: datetime) -> str:
    return f"{date.day} {_MONTH_NAMES[date.month - 1]} {date.year}"
