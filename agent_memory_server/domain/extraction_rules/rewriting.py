"""From the writer's own words to a sentence about the writer: pronouns turned, the verb inflected, talk trimmed off."""

from __future__ import annotations

import re

from agent_memory_server.domain.extraction_rules.inflection import Form, readings, third_person
from agent_memory_server.domain.extraction_rules.lexicon import words
from agent_memory_server.domain.extraction_rules.subjects import Person, bare

WORDS_MAX = 45
"""A longer sentence was not understood: most likely its punctuation is missing."""

_TRAILING = re.compile(
    r"(?:[\s,]+(?:lol|haha+|hehe|tho|though|rn|tbh|btw|too|anyway|anyways|of course|you know|"
    r"at this point|as well|right|now|omg|ugh|please|"
    r"thanks|thank you|guys|and|but|so|or|because|actually|either|xd|yay|again|already|lately|these days|"
    r"right now|at the moment|or something|or so|and stuff|and all|i think|i guess|it seems|"
    r"for sure|(?:which|that) (?:was|is|were) (?:so |really |very |super |pretty |just )?[a-z]+))+$",
    re.IGNORECASE,
)
_DANGLING = words(
    "the a an of to at in on with for from my their and or but is are was were which that as by about into than "
)
_FOLLOWS_VERB = words(
    "a an the my our their some it at in to for with on as from about two three four five six no any every all most "
)
_WRITER_PRONOUNS = {
    "my": "their",
    "our": "their",
    "me": "them",
    "us": "them",
    "mine": "theirs",
    "ours": "theirs",
    "myself": "themselves",
    "ourselves": "themselves",
    "i": "they",
    "we": "they",
}
_PLACED = words("from in over out up down to be near around is are was were not")
_PLAIN_ENDINGS = re.compile(r"\s+([,.;:])")


def turn_pronouns(words: list[str], speaker: str, person: Person) -> list[str]:
    """First-person words become third-person ones: "their" and "them" of the writer, "User's" and "User" beside someone else."""
    turned: list[str] = []
    for at, word in enumerate(words):
        low = word.lower().rstrip(",.!?")
        ending = word[len(low) :]
        if (
            low in ("here", "there")
            and at
            and (at + 1 == len(words) or words[at + 1].startswith("⟦"))
            and bare(words[at - 1]) not in _PLACED
        ):
            continue  # a place that only the conversation knows
        word = word.replace("and‿I", f"and {speaker}" if person is Person.OTHER else "and they")
        if person is Person.OTHER and low in ("my", "our"):
            turned.append(f"{speaker}'s{ending}")
        elif person is Person.OTHER and low in ("me", "us", "i", "we"):
            turned.append(speaker + ending)
        elif low in _WRITER_PRONOUNS:
            turned.append(_WRITER_PRONOUNS[low] + ending)
        elif low in ("am", "was") and at and bare(words[at - 1]) in ("i", "we"):
            be = {"am": "are", "was": "were"}[low]
            turned.append(("is" if be == "are" else "was") if person is Person.OTHER else be)
        else:
            turned.append(word)
    return turned


def agree_coordinated(words: list[str]) -> list[str]:
    """ "… and use a screen reader" after a present third-person verb becomes "… and uses a screen reader"."""
    agreed = list(words)
    infinitive = False
    for at, word in enumerate(words):
        low = bare(word)
        infinitive = infinitive or low in ("to", "can", "cannot", "will", "would", "could")
        if low not in ("and", "but") or at + 2 >= len(words):
            continue
        nxt, after = bare(words[at + 1]), bare(words[at + 2])
        if nxt in ("am", "are"):
            agreed[at + 1] = "is"
        elif nxt == "have" and not infinitive:
            agreed[at + 1] = "has"
        elif nxt == "do" and after == "not":
            agreed[at + 1] = "does"
        elif not infinitive and after in _FOLLOWS_VERB and any(form is Form.BASE for _, form in readings(nxt)):
            agreed[at + 1] = third_person(nxt)
    return agreed


def tidy(text: str) -> str | None:
    """The finished sentence: trimmed and capitalised. None when it dangles, or is too long to have been understood."""
    text = " ".join(text.split())
    text = _PLAIN_ENDINGS.sub(r"\1", text)
    previous = ""
    while previous != text:
        previous = text
        text = _TRAILING.sub("", text).rstrip(" ,.;:!-–—*")
    words = text.split()
    if not 3 <= len(words) <= WORDS_MAX or bare(words[-1]) in _DANGLING:
        return None
    return text[0].upper() + text[1:] + "."
