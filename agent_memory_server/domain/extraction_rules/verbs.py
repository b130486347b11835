"""A verb phrase as it stands in a clause, and as it goes into the sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent_memory_server.domain.extraction_rules import lexicon
from agent_memory_server.domain.extraction_rules.inflection import third_person
from agent_memory_server.domain.extraction_rules.lexicon import words
from agent_memory_server.domain.extraction_rules.subjects import Person, Subject, bare


@dataclass(frozen=True, slots=True)
class Predicate:
    """``words``: the verb phrase, inflected; what follows it is still in the writer's words. ``past`` grounds its dates."""

    words: list[str]
    rest: list[str]
    rule: str
    confidence: float
    past: bool = False
    present: bool = False
    """Its verb is in the third person present, so coordinated verbs must be too."""


@dataclass(frozen=True, slots=True)
class Verb:
    """The verb phrase at hand: the word itself (lower case), the adverbs before it that matter, and all that follows."""

    low: str
    adverbs: list[str]
    rest: list[str]
    subject: Subject
    spelled: str = ""
    """``low`` with the comma after it, if there is one."""

    @property
    def first_person(self) -> bool:
        return self.subject.person in (Person.WRITER, Person.TOGETHER, Person.ELIDED)

    @property
    def about_someone(self) -> bool:
        return self.first_person or any(
            part in lexicon.RELATIONS for part in (self.subject.head, self.subject.head.split("-")[0])
        )


AGE = re.compile(r"^(?:\d{1,3}|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\w+)?)$")


TAKEN = words(
    "class classes course courses lessons medication pills antibiotics antidepressants metformin insulin "
    "statins vitamins "
)


DONE = words(
    "yoga pilates kickboxing karate judo crossfit ceramics pottery ballet research boxing gymnastics freelance "
)


JOURNEYS = words("trip course class job exam vacation lessons sabbatical holiday cruise bus train")


def skip_adverbs(words: list[str]) -> tuple[list[str], list[str]]:
    """Adverbs that change the meaning, and the words after all adverbs."""
    kept: list[str] = []
    if [bare(word) for word in words[:2]] == ["no", "longer"]:
        return ["no longer"], words[2:]
    for at, word in enumerate(words):
        low = bare(word)
        if low in lexicon.MEANINGFUL_ADVERBS:
            kept.append(low)
        elif low not in lexicon.FILLER_ADVERBS:
            return kept, words[at:]
    return kept, []


def finite(verb: Verb, base: str) -> str:
    return base if verb.subject.plural else third_person(base)
