"""Questions to ask of the words after a verb: is there something to remember, is it named, is it dated, is it only talk?"""

from __future__ import annotations

import re

from agent_memory_server.domain.extraction_rules import lexicon
from agent_memory_server.domain.extraction_rules.inflection import readings
from agent_memory_server.domain.extraction_rules.lexicon import words
from agent_memory_server.domain.extraction_rules.subjects import bare

DATE_MARK = re.compile(r"⟦(\d+)⟧")
"""Stands in a clause for a date expression that was found there."""
_CAPITAL = re.compile(r"^[\"'(]?[A-Z][\w'&.-]*[A-Za-z0-9)]?")
_VERY_SHORT = 3
_EMPTY = lexicon.FUNCTION_WORDS | lexicon.VAGUE_OBJECTS | lexicon.FILLER_ADVERBS | words("lot bit ton tons bunch")


def is_telling(words: list[str]) -> bool:
    """True when at least one word carries content: a name, a number, or a word that is neither common nor vague."""
    for word in words:
        low = bare(word)
        if DATE_MARK.search(word) or not low:
            continue
        if low[0].isdigit() or (len(low) >= _VERY_SHORT and low not in _EMPTY):
            return True
        if word[:1].isupper() and low not in lexicon.FUNCTION_WORDS:
            return True
    return False


def names_something(words: list[str]) -> bool:
    """True when a word is capitalised as a name is (a clause's first word is not among those asked about)."""
    return any(_CAPITAL.match(word) and bare(word) not in lexicon.FUNCTION_WORDS for word in words)


def says_when(words: list[str]) -> bool:
    return any("⟦" in word for word in words)


def starts_vaguely(words: list[str]) -> bool:
    """True when the object is a pronoun or nothing that can be remembered ("it", "that for you", "so much")."""
    if not words:
        return False
    first = bare(words[0])
    if first in ("that", "this") and says_when(words) and is_telling(words[2:]):
        return False  # "painted that lake sunrise ⟦0⟧"
    if first in lexicon.VAGUE_OBJECTS:
        return True
    if any(bare(word) in ("something", "stuff", "things") for word in words[:3]):
        return True
    if [bare(word) for word in words[:3]] == ["a", "lot", "to"]:
        return True
    return (
        first in ("the", "a", "an", "some", "her", "his", "their")
        and len(words) > 1
        and bare(words[1]) in ("one", "same", "other", "thing", "way")
    )


_POINTS_BACK = words("it them him this that these those")
_TAKEN_THERE = words("me us him her them it be been")
_PERSONAL = words("he she they his her their him them hers theirs")


def refers_back(words: list[str], *, someone: bool) -> bool:
    """True when a pronoun stands for something that only the conversation knows ("grown fond of them", "love his tech").

    ``someone``: the clause is about another person, whom "he" and "their" can mean.
    """
    if not words:
        return False
    if bare(words[-1]) in _POINTS_BACK or (bare(words[-1]) in ("he", "she", "they", "her") and not someone):
        return True
    before = bare(words[-2]) if len(words) > 1 else ""
    if before in ("that", "this") or (bare(words[-1]) in ("here", "there") and before in _TAKEN_THERE):
        return True  # "escaping to that world", "books that take me there"
    for at, word in enumerate(words):
        low = bare(word)
        if low in ("these", "those") and (at + 1 >= len(words) or bare(words[at + 1]) != "days"):
            return True
        if low in ("it", *_PERSONAL) and not (someone and low in _PERSONAL):
            return not any(_is_noun(each) for each in words[:at])
    return False


def _is_noun(word: str) -> bool:
    low = bare(word)
    return is_telling([word]) and not readings(low) and not low.endswith(("ing", "ly"))


def talks_of_the_moment(words: list[str]) -> bool:
    """True when a word belongs to this conversation rather than to a life ("question", "issue", "the following code")."""
    return any(bare(word) in lexicon.TRANSIENT_NOUNS for word in words)


def talks_to_someone(words: list[str]) -> bool:
    """True when the words address whoever reads them."""
    return any(bare(word) in ("you", "yours", "yourself", "u", "y'all", "you're", "you've", "you'll") for word in words)
