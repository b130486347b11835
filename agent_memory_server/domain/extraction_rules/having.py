"""What someone *has*, and what they have done."""

from __future__ import annotations

from agent_memory_server.domain.extraction_rules import lexicon
from agent_memory_server.domain.extraction_rules.acting import told
from agent_memory_server.domain.extraction_rules.being import be_a
from agent_memory_server.domain.extraction_rules.inflection import Form, base_of
from agent_memory_server.domain.extraction_rules.lexicon import words
from agent_memory_server.domain.extraction_rules.objects import (
    is_telling,
    names_something,
    says_when,
    starts_vaguely,
    talks_of_the_moment,
    talks_to_someone,
)
from agent_memory_server.domain.extraction_rules.plans import is_due
from agent_memory_server.domain.extraction_rules.subjects import bare
from agent_memory_server.domain.extraction_rules.verbs import Predicate, Verb, finite, skip_adverbs

_HAD = words(
    "baby surgery accident operation miscarriage stroke heart interview appointment son daughter twins child "
    "party wedding meeting "
)


_PARTICIPLES = words(
    "seen heard thought told said known found left felt kept put let meant understood sent shown gone "
)


_TRIED = words("learn get quit lose")
_STATES = words("married divorced vegan vegetarian sober retired diagnosed promoted accepted")


def have(verb: Verb) -> Predicate | None:
    if talks_to_someone(verb.rest):
        return None
    past = verb.low == "had"
    has = "had" if past else finite(verb, "have")
    rest = verb.rest
    negated = bool(rest) and bare(rest[0]) == "not"
    adverbs, rest = skip_adverbs(rest[1:] if negated else rest)
    if not rest:
        return None
    words = [*verb.adverbs, has, *(["not"] if negated else []), *adverbs]
    low = bare(rest[0])
    if low == "to" and not past and not negated:
        return Predicate(words, rest, "plan", 0.75, present=True) if is_due(rest[1:]) else None
    if low == "got" and not past and len(rest) > 1 and bare(rest[1]) in ("a", "an", "two", "three", "four"):
        rest, low = rest[1:], bare(rest[1])
    if low == "been" and not past:
        return _have_been(words, rest)
    if not past and base_of(low, Form.PARTICIPLE):
        return _perfect(words, rest, negated=negated)
    if negated or not verb.about_someone:
        return None
    return _possession([*verb.adverbs, *adverbs, has], rest, past=past)


def _possession(words: list[str], rest: list[str], *, past: bool) -> Predicate | None:
    low = bare(rest[0])
    if any(bare(word) in lexicon.WORKING_NOUNS for word in rest[:5]):
        return None
    if low in ("to", "the", "no", "some", "more", "enough", "such", "so", "your", "any") or starts_vaguely(rest):
        return None
    if (
        talks_of_the_moment(rest[:5])
        or not is_telling(rest)
        or (low.endswith("ed") and low not in ("red", "bed", "naked"))
        or low in _PARTICIPLES
    ):
        return None
    if past and not (any(bare(word) in _HAD for word in rest[:4]) or (says_when(rest) and low not in ("fun",))):
        return None
    return Predicate(words, rest, "event" if past else "possession", 0.85, past=past, present=not past)


def _have_been(words: list[str], rest: list[str]) -> Predicate | None:
    after = rest[1:]
    adverbs, after = skip_adverbs(after)
    if not after:
        return None
    rest = [rest[0], *adverbs, *after]
    low, told_of = bare(after[0]), after[1:]
    if base_of(low, Form.PROGRESSIVE) in lexicon.PROGRESSIVE_VERBS:
        known = is_telling(told_of) and not starts_vaguely(told_of) and not talks_of_the_moment(told_of[:3])
    elif low == "trying":
        known = len(told_of) > 1 and bare(told_of[0]) == "to" and bare(told_of[1]) in _TRIED and is_telling(told_of[1:])
    elif low in ("a", "an"):
        known = be_a(after) is not None
    elif low in ("to", "at", "in", "with", "on"):
        known = names_something(told_of[:4])
    else:
        known = low in _STATES
    return Predicate(words, rest, "activity", 0.8, past=True) if known else None


def _perfect(words: list[str], rest: list[str], *, negated: bool) -> Predicate | None:
    low, after = bare(rest[0]), rest[1:]
    base = base_of(low, Form.PARTICIPLE) or ""
    telling = is_telling(after) and not starts_vaguely(after)
    if base in lexicon.PREFERENCE_VERBS or (low == "wanted" and "always" in words):
        return Predicate(words, rest, "preference", 0.8, past=True) if telling else None
    if negated and not names_something(after):
        return None
    if base in lexicon.HABIT_VERBS and any(bare(word) in ("since", "for") for word in after):
        return Predicate(words, rest, "activity", 0.8, past=True) if telling else None
    if telling and "never" in words and base in ("eat", "drink", "see", "try", "drive", "fly"):
        return Predicate(words, rest, "habit", 0.8, past=True)
    return told(Predicate(words, rest, "event", 0.8, past=True), base, after)
