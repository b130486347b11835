"""Who a clause is about: its writer, the writer with someone, or someone or something of the writer's. Anyone else is no one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from agent_memory_server.domain.extraction_rules import lexicon
from agent_memory_server.domain.extraction_rules.inflection import Form, readings
from agent_memory_server.domain.extraction_rules.lexicon import words

FINITE = words(
    "am is are was were have has had do does did will would can cannot could should might may must used passed "
)
_NAME = re.compile(r"[A-Z][\w'-]+$")
_NOUN = re.compile(r"[A-Za-z][\w'-]*$")
_PLURAL_HEADS = frozenset(
    word
    for word in lexicon.RELATIONS
    if (word.endswith("s") and word not in ("ex", "boss")) or word in ("kids", "children", "in-laws")
)
_OPENERS = (
    "hey hi hello omg oh ah wow yeah yes yep yup no nope nah ok okay so well anyway anyways also and but btw "
    "fyi actually honestly haha "
    "lol thanks nice ugh sure right like tbh ps sorry cool great good guys girl man dude finally hmm aw aww "
    "unfortunately luckily "
    "thankfully fortunately because cause then plus currently recently lately nowadays usually now still yay "
    "woohoo sadly "
    "hopefully basically personally though although yet diary dear eventually sometimes often obviously oops "
    "welp gosh phew alas "
    "while since"
)
_OPENER_WORDS = frozenset(_OPENERS.split()) - {"since", "while"}
_OPENER_PHRASES = (
    "guess what",
    "by the way",
    "these days",
    "right now",
    "at the moment",
    "of course",
    "to be honest",
    "in fact",
    "after that",
    "before that",
    "since then",
    "for me",
    "as for me",
    "good news",
    "bad news",
    "thank you",
    "no way",
    "no worries",
    "oh my god",
    "as you know",
    "for context",
    "for the record",
    "just so you know",
    "on top of that",
    "in my free time",
    "in my spare time",
    "remember that",
    "remember",
    "note that",
    "please remember that",
    "please remember",
    "please note that",
    "keep in mind that",
    "keep in mind",
    "i should mention that",
    "i should mention",
    "i should add that",
    "did i mention that",
    "as i said",
    "like i said",
    "the thing is",
    "the truth is",
    "it turns out that",
    "it turns out",
    "turns out",
    "the good news is",
    "at work",
    "at home",
)


def _by_first_word() -> dict[str, tuple[list[str], ...]]:
    found: dict[str, list[list[str]]] = {}
    for phrase in _OPENER_PHRASES:
        words: list[str] = [*phrase.split()]
        found.setdefault(words[0], []).append(words)
    return {first: tuple(sorted(phrases, key=len, reverse=True)) for first, phrases in found.items()}


_PHRASES_BY_FIRST_WORD = MappingProxyType(_by_first_word())


class Person(Enum):
    WRITER = "writer"
    """I, we."""
    TOGETHER = "together"
    """My wife and I."""
    OTHER = "other"
    """My wife; my router."""
    ELIDED = "elided"
    """Nobody named: "Bought a car today"."""


@dataclass(frozen=True, slots=True)
class Subject:
    """``head`` is the noun of "my <noun>", lower case; ``plural`` decides the verb's form; ``rest`` are the words after it."""

    text: str
    person: Person
    plural: bool
    head: str
    rest: list[str]


def bare(word: str) -> str:
    """A word as the lexicon holds it: lower case, without the punctuation around it."""
    return word.lower().strip('.,!?…*_"()')


def without_openers(words: list[str]) -> list[str]:
    """The words after greetings, fillers and linking words ("hey so anyway I moved" -> "I moved")."""
    at = 0
    while at < len(words):
        low = bare(words[at])
        for phrase in _PHRASES_BY_FIRST_WORD.get(low, ()):
            if [bare(word) for word in words[at : at + len(phrase)]] == phrase:
                at += len(phrase)
                break
        else:
            if low not in _OPENER_WORDS:
                break
            at += 1
    return words[at:]


def read_subject(words: list[str], speaker: str, *, may_be_elided: bool) -> Subject | None:
    """The subject that opens the clause, or None when the clause is about no one whom we know."""
    if not words:
        return None
    first = bare(words[0])
    if first in ("i", "we"):
        return Subject(speaker, Person.WRITER, False, "", words[1:])
    if len(words) > 2 and words[1] == "and‿I" and _NAME.match(words[0]) and first not in lexicon.FUNCTION_WORDS:
        return Subject(f"{speaker} and {words[0]}", Person.TOGETHER, True, "", words[2:])
    if first == "me" and len(words) > 3 and bare(words[1]) == "and" and bare(words[2]) in ("my", "our"):
        return _possessed(words[2:], speaker, together=True)
    if first in ("my", "our"):
        return _possessed(words, speaker, together=False)
    if may_be_elided and any(form is Form.PAST for _, form in readings(first)):
        return Subject(speaker, Person.ELIDED, False, "", words)
    return None


def _possessed(words: list[str], speaker: str, *, together: bool) -> Subject | None:
    """ "my (adjective)* noun (Name)* [and I]", up to the verb."""
    end = None
    for at in range(1, min(len(words), 8)):
        low = bare(words[at])
        if words[at] == "and‿I" and at > 1:
            return Subject(f"{speaker} and their {_phrase(words[1:at])}", Person.TOGETHER, True, "", words[at + 1 :])
        if at > 1 and _may_be_verb(low, _head(words[1:at])):
            end = at
            break
        if not _NOUN.match(words[at].rstrip(",")) or low in (
            "and",
            "or",
            "to",
            "in",
            "at",
            "on",
            "for",
            "with",
            "from",
        ):
            return None
    if end is None:
        return None
    head = _head(words[1:end])
    phrase = _phrase(words[1:end])
    if together:
        return Subject(f"{speaker} and their {phrase}", Person.TOGETHER, True, "", words[end:])
    return Subject(f"{speaker}'s {phrase}", Person.OTHER, head in _PLURAL_HEADS, head, words[end:])


def _may_be_verb(low: str, head: str) -> bool:
    if low in FINITE or low in ("no",) or low in lexicon.MEANINGFUL_ADVERBS or low in lexicon.FILLER_ADVERBS:
        return True
    forms = {form for _, form in readings(low)}
    if forms & {Form.THIRD, Form.PAST}:
        return True
    return head in _PLURAL_HEADS and Form.BASE in forms


def _head(words: list[str]) -> str:
    """The last word that is no name: "best friend Ana" -> "friend"."""
    for word in reversed(words):
        if not _NAME.match(word.rstrip(",")):
            return bare(word)
    return bare(words[-1]) if words else ""


def _phrase(words: list[str]) -> str:
    return " ".join(word.rstrip(",") for word in words)
