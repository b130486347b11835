"""What someone does, can do, likes, and did: all verbs but "be" and "have"."""

from __future__ import annotations

from agent_memory_server.domain.extraction_rules import lexicon
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
from agent_memory_server.domain.extraction_rules.plans import is_plan
from agent_memory_server.domain.extraction_rules.subjects import bare
from agent_memory_server.domain.extraction_rules.verbs import (
    AGE,
    DONE,
    JOURNEYS,
    TAKEN,
    Predicate,
    Verb,
    finite,
    skip_adverbs,
)


def do(verb: Verb) -> Predicate | None:
    """ "does not eat pork", "does yoga"; "did not …" is left alone unless dated."""
    if not verb.rest or talks_to_someone(verb.rest) or not verb.about_someone:
        return None
    if bare(verb.rest[0]) in DONE and verb.low != "did":
        return Predicate([*verb.adverbs, finite(verb, "do")], verb.rest, "habit", 0.85, present=True)
    if bare(verb.rest[0]) != "not":
        return None
    adverbs, rest = skip_adverbs(verb.rest[1:])
    base = base_of(bare(rest[0]), Form.BASE) if rest else None
    if base is None:
        return None
    after = rest[1:]
    if verb.low == "did":
        known = told(Predicate(["did not", *adverbs], rest, "event", 0.75, past=True), base, after)
        return known if known and says_when(after) else None
    if base == "do" and after and bare(after[0]) not in DONE:
        return None
    words = [*verb.adverbs, "do" if verb.subject.plural else "does", "not", *adverbs]
    if base in lexicon.PREFERENCE_VERBS:
        return Predicate(words, rest, "preference", 0.9, present=True) if likes_something(after) else None
    if base == "have" and after and bare(after[0]) == "any":
        after = after[1:]
    plain = base in lexicon.HABIT_VERBS_NEGATED and not starts_vaguely(after) and not talks_of_the_moment(after[:4])
    if not plain or (after and bare(after[0]) in ("to", "the", "enough", "that", "your")):
        return None
    enough = is_telling(after) or base in ("smoke", "drink", "drive", "eat", "swim", "cook")
    return Predicate(words, rest, "habit", 0.9, present=True) if enough else None


def cannot(verb: Verb) -> Predicate | None:
    rest = verb.rest
    if verb.low == "can" and rest and bare(rest[0]) == "not":
        rest = rest[1:]
    elif verb.low == "can":
        known = rest and bare(rest[0]) in lexicon.SKILL_VERBS and is_telling(rest[1:]) and not talks_to_someone(rest)
        return Predicate([*verb.adverbs, "can"], rest, "skill", 0.8) if known and not starts_vaguely(rest[1:]) else None
    if not rest or not verb.about_someone or talks_to_someone(rest):
        return None
    base, after = bare(rest[0]), rest[1:]
    if base not in (
        "eat",
        "have",
        "drink",
        "drive",
        "swim",
        "stand",
        "tolerate",
        "digest",
        "ride",
        "cook",
    ) or starts_vaguely(after):
        return None
    enough = is_telling(after) or base in ("drive", "swim", "cook")
    if after and bare(after[0]) in ("the", "that", "to"):
        return None
    return (
        Predicate([*verb.adverbs, "cannot"], rest, "health" if base != "stand" else "preference", 0.85)
        if enough
        else None
    )


def used(verb: Verb) -> Predicate | None:
    """ "used to be a teacher", "used to swim in college"; a used object is the past of "use" and no event."""
    rest = verb.rest
    if len(rest) < 3 or bare(rest[0]) != "to" or talks_to_someone(rest):
        return None
    base = bare(rest[1])
    if base not in ("be", "have") and base_of(base, Form.BASE) is None:
        return None
    if (
        (base == "be" and bare(rest[2]) not in ("a", "an", "in", "married"))
        or not is_telling(rest[2:])
        or starts_vaguely(rest[2:])
    ):
        return None
    return Predicate([*verb.adverbs, "used"], rest, "past habit", 0.85, past=True)


def passed(verb: Verb) -> Predicate | None:
    """ "passed away" of someone, "passed the exam" of anyone."""
    if verb.rest and bare(verb.rest[0]) == "away":
        return Predicate([*verb.adverbs, "passed"], verb.rest, "event", 0.9, past=True) if verb.about_someone else None
    return event(verb)


def lexical(verb: Verb) -> Predicate | None:
    if talks_to_someone(verb.rest):
        return None
    if verb.first_person or verb.subject.plural:
        base = base_of(verb.low, Form.BASE)
        is_past = base is None or base in ("quit", "hurt", "set", "hit") or (base == "read" and _was_read(verb))
    else:
        base = base_of(verb.low, Form.THIRD)
        is_past = base is None
    if is_past:
        return event(verb)
    return _present(verb, base or "")


def _was_read(verb: Verb) -> bool:
    """ "read" is spelled alike in both tenses: one book, or "recently", make it the past."""
    first = bare(verb.rest[0]) if verb.rest else ""
    return (
        says_when(verb.rest)
        or bare(verb.subject.rest[0]) in lexicon.FILLER_ADVERBS
        or (first in ("a", "an", "another") and "lot" not in verb.rest)
    )


_REGULARLY = words(
    "every times weekly regularly daily kindergarten school college university preschool daycare church "
)


def _present(verb: Verb, base: str) -> Predicate | None:
    if not verb.about_someone:
        return None
    words = [*verb.adverbs, finite(verb, base)]
    rest = verb.rest
    if base in lexicon.PREFERENCE_VERBS:
        return Predicate(words, rest, "preference", 0.9, present=True) if likes_something(rest) else None
    if base == "turn" and rest and (AGE.match(bare(rest[0])) or says_when(rest)):
        return Predicate(words, rest, "age", 0.85, present=True)
    lows = [bare(word) for word in rest]
    if base == "take" and any(low in TAKEN for low in lows[:4]):
        return Predicate(words, rest, "health", 0.85, present=True)
    if base == "go" and lows[:1] == ["to"] and any(low in _REGULARLY for low in lows):
        return Predicate(words, rest, "habit", 0.85, present=True)
    if base not in lexicon.HABIT_VERBS or starts_vaguely(rest) or talks_of_the_moment(rest[:4]):
        return (
            Predicate(words, rest, "habit", 0.85, present=True)
            if base in ("smoke", "vape", "meditate") and not rest
            else None
        )
    first = bare(rest[0]) if rest else ""
    if base == "write" and first == "to":
        return None
    if (base == "come" and first != "from") or any(bare(word) in lexicon.WORKING_NOUNS for word in rest[:4]):
        return None
    if base in ("run", "watch", "read", "write", "play", "draw", "avoid", "program", "lead", "support") and first in (
        "the",
        "this",
        "that",
        "it",
    ):
        return None if base != "lead" else Predicate(words, rest, "habit", 0.85, present=True)
    enough = is_telling(rest) or base in ("smoke", "vape", "meditate", "snowboard", "freelance", "surf")
    return Predicate(words, rest, "habit", 0.85, present=True) if enough else None


def likes_something(rest: list[str]) -> bool:
    """An object that one can like for longer than this conversation."""
    first = bare(rest[0]) if rest else ""
    if first in (
        "how",
        "what",
        "when",
        "your",
        "the",
        "this",
        "that",
        "to",
        "being",
        "hearing",
        "seeing",
        "about",
    ) and (
        first != "to"
        or talks_of_the_moment(rest[:4])
        or not is_telling(rest[2:])
        or bare(rest[1]) in ("see", "hear", "know", "think", "say")
    ):
        return first == "the" and names_something(rest[1:2]) and not talks_to_someone(rest)
    return (
        is_telling(rest)
        and not starts_vaguely(rest)
        and not talks_of_the_moment(rest[:3])
        and not talks_to_someone(rest)
    )


def event(verb: Verb) -> Predicate | None:
    base = base_of(verb.low, Form.PAST)
    if base is None or talks_to_someone(verb.rest):
        return None
    if base in ("decide", "plan"):
        known = len(verb.rest) > 2 and bare(verb.rest[0]) == "to" and is_plan(verb.rest[1:])
        return Predicate([*verb.adverbs, verb.low], verb.rest, "plan", 0.8, past=False) if known else None
    known = told(Predicate([*verb.adverbs, verb.spelled], verb.rest, "event", 0.85, past=True), base, verb.rest)
    if known is None or verb.about_someone:
        return known
    return known if says_when(verb.rest) else None  # "my router stopped working": only worth keeping when dated


_WORKED = words(
    "create write open build make run read get see check fix do have publish design submit complete finish "
    "start change take break lose submit upgrade install use move join "
)


def told(predicate: Predicate, base: str, after: list[str]) -> Predicate | None:
    """The event, if what follows the verb says what happened."""
    if base in lexicon.PREFERENCE_VERBS:
        return predicate if names_something(after) and likes_something(after) else None
    if base in lexicon.HABIT_VERBS and base not in lexicon.EVENT_VERBS:
        return (
            predicate
            if is_telling(after) and not starts_vaguely(after) and (says_when(after) or names_something(after))
            else None
        )
    if (
        base not in lexicon.EVENT_VERBS
        or talks_of_the_moment(after[:3])
        or (base in _WORKED and any(bare(word) in lexicon.WORKING_NOUNS for word in after[:4]))
    ):
        return None
    lows = [bare(word) for word in after[:2]]
    if (base == "break" and lows[:1] in (["up"], ["down"])) or (
        base in ("get", "give", "grow", "break", "sign", "move", "call") and lows[:1] in (["up"], ["birth"])
    ):
        return predicate if is_telling(after[1:]) or says_when(after) or base in ("break", "move") else None
    if starts_vaguely(after) or talks_to_someone(after):
        return (
            predicate
            if lows[:1] in (["back"], ["out"], ["off"], ["away"]) and says_when(after) and names_something(after)
            else None
        )
    if base == "get" and lows[:1] in (
        ["married"],
        ["engaged"],
        ["divorced"],
        ["promoted"],
        ["fired"],
        ["hired"],
        ["accepted"],
    ):
        return predicate
    if base == "take" and any(bare(word) in JOURNEYS for word in after[:4]):
        return predicate
    if base in lexicon.EVENT_VERBS_DATED and not (says_when(after) or names_something(after)):
        return None
    return predicate if is_telling(after) or (base in lexicon.INTRANSITIVE) else None
