"""One clause to one finished sentence: dates out, subject and predicate read, words turned, dates back in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from agent_memory_server.domain.extraction_rules import requests
from agent_memory_server.domain.extraction_rules.dates import Grounded, Span, find_dates, ground
from agent_memory_server.domain.extraction_rules.objects import DATE_MARK
from agent_memory_server.domain.extraction_rules.predicates import Predicate, read_predicate
from agent_memory_server.domain.extraction_rules.rewriting import agree_coordinated, tidy, turn_pronouns
from agent_memory_server.domain.extraction_rules.sentences import Clause
from agent_memory_server.domain.extraction_rules.subjects import Person, Subject, bare, read_subject, without_openers

_YOUR_THING = re.compile(
    r"\b(bought|ordered|purchased|use|uses|installed|tried|received|cancelled|canceled)(\s+(?:the|"
    r"one of|some of))?\s+your\s+",
    re.IGNORECASE,
)
_TAKES_A_DATE = frozenset({"to", "for", "about", "until", "of", "than"})
_RECURRING = re.compile(r"\b(?:birthday|anniversary)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    text: str
    rule: str
    confidence: float
    event_date: datetime | None


def read_statement(clause: Clause, speaker: str, spoken_at: datetime, *, alone: bool) -> Statement | None:
    """What the clause asserts about its writer, or None. ``alone``: there is no other person to address but the assistant."""
    marked, spans = _mark_dates(_YOUR_THING.sub(r"\1\2 ", clause.text))
    words = without_openers(marked.split())
    plain = " ".join(words)
    if alone:
        wish = requests.standing_wish(plain, speaker)
        if wish:
            return _finish(wish, spans, spoken_at, rule="wish", confidence=0.85, past=False)
    called = requests.preferred_name(plain, speaker)
    if called:
        return _finish(called, spans, spoken_at, rule="name", confidence=0.9, past=False)
    words = _leading_date_last(words)
    subject = read_subject(words, speaker, may_be_elided=clause.first)
    if subject is None and clause.first and [bare(word) for word in words[:2]] == ["going", "to"]:
        subject = Subject(speaker, Person.WRITER, False, "", ["am", *words])
    if subject is None:
        reminded = requests.reminder(plain, speaker) if alone else None
        return _finish(reminded, spans, spoken_at, rule="plan", confidence=0.8, past=False) if reminded else None
    predicate = read_predicate(subject)
    if predicate is None or any(bare(word) == "your" for word in predicate.rest):
        return None
    return _finish(
        " ".join(_sentence(subject, predicate, speaker)),
        spans,
        spoken_at,
        rule=predicate.rule,
        confidence=predicate.confidence,
        past=predicate.past,
    )


def _sentence(subject: Subject, predicate: Predicate, speaker: str) -> list[str]:
    rest = turn_pronouns(predicate.rest, speaker, subject.person)
    if predicate.present and not subject.plural:
        rest = agree_coordinated(rest)
    return [subject.text, *predicate.words, *rest]


def _mark_dates(text: str) -> tuple[str, list[Span]]:
    spans = find_dates(text)
    marked = text
    for at in range(len(spans) - 1, -1, -1):
        marked = f"{marked[: spans[at].start]} ⟦{at}⟧ {marked[spans[at].end :].lstrip()}"
    return re.sub(r"\s+([,.;:!])", r"\1", marked).strip(), spans


def _leading_date_last(words: list[str]) -> list[str]:
    """ "Yesterday I went to …" -> "I went to … yesterday", so that every clause begins with its subject."""
    moved: list[str] = []
    while words and DATE_MARK.match(words[0]):
        moved.append(words[0].rstrip(",:"))
        words = without_openers(words[1:])
    return [*words, *moved]


def _finish(
    text: str, spans: list[Span], spoken_at: datetime, *, rule: str, confidence: float, past: bool
) -> Statement | None:
    """Put absolute dates in the place of their marks. The first one that could be grounded is the event's."""
    grounded: list[Grounded] = []
    recurring = _RECURRING.search(text) is not None and rule in ("attribute", "preference")

    def absolute(match: re.Match[str]) -> str:
        span = spans[int(match.group(1))]
        explicit = "day" in span.parts or "month" in span.parts
        before = match.string[: match.start()].split()[-1:]
        # "moved the meeting to Friday": what a date is moved to lies ahead, whatever the tense.
        found = None if recurring and explicit else ground(span, spoken_at, past=past and before != ["to"])
        if found is None:
            return span.text
        if span.parts.get("preposition") not in ("since", "until", "till"):
            grounded.append(found)
        alone = found.phrase.removeprefix("on ").removeprefix("in ")
        return alone if before and before[0].lower() in _TAKES_A_DATE else found.phrase

    finished = tidy(DATE_MARK.sub(absolute, text))
    if finished is None:
        return None
    return Statement(finished, rule, confidence, grounded[0].date if grounded else None)
