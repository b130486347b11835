"""English verb forms: to read the tense of a verb, and to write it in the third person singular."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType

from agent_memory_server.domain.extraction_rules import lexicon

_VOWELS = "aeiou"


class Form(Enum):
    BASE = "base"
    THIRD = "third"
    PAST = "past"
    PARTICIPLE = "participle"
    PROGRESSIVE = "progressive"


_SPECIAL_THIRD = MappingProxyType(
    {"have": "has", "do": "does", "go": "goes", "be": "is", "am": "is", "are": "is", "were": "was"}
)


def third_person(verb: str) -> str:
    """``have`` -> ``has``, ``study`` -> ``studies``, ``watch`` -> ``watches``; not for modals and pasts."""
    if verb in _SPECIAL_THIRD:
        return _SPECIAL_THIRD[verb]
    if verb.endswith("y") and len(verb) > 1 and verb[-2] not in _VOWELS:
        return verb[:-1] + "ies"
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        return verb + "es"
    return verb + "s"


def past(verb: str) -> str:
    """The simple past of a verb of the lexicon."""
    if verb in lexicon.IRREGULAR:
        return lexicon.IRREGULAR[verb][0]
    return _regular_past(verb)


def participle(verb: str) -> str:
    """The past participle of a verb of the lexicon."""
    if verb in lexicon.IRREGULAR:
        return lexicon.IRREGULAR[verb][1]
    return _regular_past(verb)


def progressive(verb: str) -> str:
    """``move`` -> ``moving``, ``run`` -> ``running``, ``die`` -> ``dying``."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    if verb in lexicon.DOUBLED:
        return verb + verb[-1] + "ing"
    return verb + "ing"


def _regular_past(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return verb[:-1] + "ied"
    if verb in lexicon.DOUBLED:
        return verb + verb[-1] + "ed"
    return verb + "ed"


def _forms() -> dict[str, tuple[tuple[str, Form], ...]]:
    """Every form of every verb of the lexicon, with the readings it has."""
    verbs = (
        lexicon.PREFERENCE_VERBS
        | lexicon.HABIT_VERBS_NEGATED
        | lexicon.EVENT_VERBS
        | lexicon.PROGRESSIVE_VERBS
        | lexicon.PLAN_VERBS
        | lexicon.ABILITY_VERBS
        | lexicon.SKILL_VERBS
    )
    found: dict[str, list[tuple[str, Form]]] = {}
    for verb in sorted(verbs):
        spelled: list[tuple[str, Form]] = [
            (verb, Form.BASE),
            (third_person(verb), Form.THIRD),
            (past(verb), Form.PAST),
            (participle(verb), Form.PARTICIPLE),
            (progressive(verb), Form.PROGRESSIVE),
        ]
        if verb in ("travel", "cancel"):
            spelled += [(verb + "ed", Form.PAST), (verb + "ed", Form.PARTICIPLE), (verb + "ing", Form.PROGRESSIVE)]
        if verb == "get":
            spelled.append(("got", Form.PARTICIPLE))
        if verb == "learn":
            spelled += [("learnt", Form.PAST), ("learnt", Form.PARTICIPLE)]
        for form in spelled:
            if (verb, form[1]) not in found.setdefault(form[0], []):
                found[form[0]].append((verb, form[1]))
    return {word: tuple(readings) for word, readings in found.items()}


_READINGS = MappingProxyType(_forms())


def readings(word: str) -> tuple[tuple[str, Form], ...]:
    """The (verb, form) pairs that a lower-case word can be; none when the lexicon does not know it."""
    return _READINGS.get(word, ())


def base_of(word: str, form: Form) -> str | None:
    """The verb whose ``form`` this word is, or None."""
    for verb, each in readings(word):
        if each is form:
            return verb
    return None
