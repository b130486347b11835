"""What a clause says of its subject, and whether that lasts: each rule reads one kind of verb phrase and answers None
unless it is sure. The rule's name and confidence are kept with the memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agent_memory_server.domain.extraction_rules import lexicon
from agent_memory_server.domain.extraction_rules.inflection import Form, base_of, third_person
from agent_memory_server.domain.extraction_rules.objects import (
    is_telling,
    names_something,
    refers_back,
    says_when,
    starts_vaguely,
    talks_of_the_moment,
)
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


_Rest = list[str]


@dataclass(frozen=True, slots=True)
class _Verb:
    """The verb phrase at hand: the word itself (lower case), the adverbs before it that matter, and all that follows."""

    low: str
    adverbs: list[str]
    rest: _Rest
    subject: Subject
    spelled: str = ""
    """``low`` with the comma after it, if there is one."""

    @property
    def first_person(self) -> bool:
        return self.subject.person in (Person.WRITER, Person.TOGETHER, Person.ELIDED)

    @property
    def about_someone(self) -> bool:
        return self.first_person or any(part in lexicon.RELATIONS for part in (self.subject.head, self.subject.head.split("-")[0]))


def read_predicate(subject: Subject) -> Predicate | None:
    """The first rule that understands the words after the subject, or None."""
    adverbs, rest = _skip_adverbs(subject.rest)
    if not rest:
        return None
    verb = _Verb(bare(rest[0]), adverbs, rest[1:], subject, bare(rest[0]) + ("," if rest[0].endswith(",") else ""))
    if refers_back(verb.rest, someone=subject.person is Person.OTHER) or bare(subject.rest[0]) in ("all", "each", "humans", "people"):
        return None
    rule = _RULES.get(verb.low)
    if subject.person is Person.ELIDED:
        return _event(verb)
    if rule is not None:
        return rule(verb)
    return _lexical(verb)


def _skip_adverbs(words: list[str]) -> tuple[list[str], list[str]]:
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


def _finite(verb: _Verb, base: str) -> str:
    return base if verb.subject.plural else third_person(base)


# ── to be ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_ON_SOMETHING = frozenset("leave medication antidepressants diet plan insulin vacation holiday shift sabbatical call probation board team".split())
_ADJECTIVE_OF = {
    "good": ("at",),
    "bad": ("at",),
    "terrible": ("at", "with"),
    "interested": ("in",),
    "passionate": ("about",),
    "obsessed": ("with",),
    "addicted": ("to",),
    "afraid": ("of",),
    "scared": ("of",),
    "terrified": ("of",),
    "fond": ("of",),
    "responsible": ("for",),
    "allergic": ("to",),
    "married": ("to",),
    "engaged": ("to",),
    "related": ("to",),
    "originally": ("from",),
}
_PASSIVES = frozenset(
    "born raised diagnosed promoted hired fired accepted laid admitted rejected selected elected adopted injured named brought invited "
    "nominated awarded offered".split()
)
_ROLES = frozenset(
    "head ceo cto cfo coo founder owner director manager lead oldest youngest eldest only mother father chair president captain author "
    "maintainer tech team product project vp engineering vice co-founder cofounder principal single".split()
)
_AGE = re.compile(r"^(?:\d{1,3}|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\w+)?)$")


def _be(verb: _Verb) -> Predicate | None:
    past = verb.low in ("was", "were")
    be = ("were" if verb.subject.plural else "was") if past else ("are" if verb.subject.plural else "is")
    rest = verb.rest
    negated = bool(rest) and bare(rest[0]) == "not"
    adverbs, rest = _skip_adverbs(rest[1:] if negated else rest)
    if not rest:
        return None
    words = [*verb.adverbs, be, *(["not"] if negated else []), *adverbs]
    first = bare(rest[0])
    telling = _be_known(verb, first, rest, negated=negated) or (
        None if negated and verb.first_person else _be_of_attribute(verb, first, rest)
    )
    if telling:
        return Predicate(words, rest, telling, 0.9, past=past, present=not past)
    if negated:
        return None
    if first.endswith("ing"):
        return _progressive(words, rest, past=past)
    if past and first in _PASSIVES and is_telling(rest[1:]):
        return Predicate(words, rest, "event", 0.85, past=True)
    return None


def _be_known(verb: _Verb, first: str, rest: _Rest, *, negated: bool) -> str | None:
    """The name of the rule that reads "is <rest>" as a lasting fact of a person."""
    if not verb.about_someone or talks_to_someone(rest):
        return None
    second = bare(rest[1]) if len(rest) > 1 else ""
    if first in ("a", "an"):
        return _be_a(rest)
    if first in lexicon.LASTING_ADJECTIVES and (first != "born" or not negated):
        return "state"
    if second in _ADJECTIVE_OF.get(first, ()) and is_telling(rest[2:]) and not starts_vaguely(rest[2:]):
        return "preference" if first in ("interested", "passionate", "obsessed", "fond") else "state"
    if negated:
        return None
    if len(rest) == 1 and rest[0].isalpha() and rest[0].istitle() and first not in lexicon.FUNCTION_WORDS:
        return "name"  # "I'm Ivan"; "I'm Hungarian" reads as well
    if first == "the" and second in _ROLES:
        return "role"
    if _AGE.match(first) and (len(rest) == 1 or rest[0].endswith(",") or second in ("years", "year", "yo", "and", "months", "weeks")):
        return "age"
    return _be_at(first, rest, past=verb.low in ("was", "were"))


def _be_a(rest: _Rest) -> str | None:
    lows = [bare(word) for word in rest[1:6]]
    if "fan" in lows[:3]:
        return "preference" if "of" in lows and not starts_vaguely(rest[lows.index("of") + 2 :]) else None
    if not lows or lows[0] in lexicon.TRANSIENT_PREDICATES or talks_of_the_moment(rest[:4]):
        return None
    return "role" if is_telling(rest[1:]) else None


def _be_at(first: str, rest: _Rest, *, past: bool) -> str | None:
    """"is from Porto", "is on parental leave", "is into climbing", "is out of office"."""
    lows = [bare(word) for word in rest]
    if (first in ("from", "in") or (first == "at" and past)) and names_something(rest[:4]) and not says_when(rest[:2]):
        return "place"
    if first == "into" and is_telling(rest[1:]) and not starts_vaguely(rest[1:]):
        return "preference"
    if first == "on" and any(low in _ON_SOMETHING for low in lows[1:4]):
        return "state"
    if lows[:3] == ["out", "of", "office"] or lows[:3] in (["in", "charge", "of"], ["in", "love", "with"]):
        return "state"
    if first == "in" and any(low in ("college", "grade", "university", "remission", "therapy") for low in lows[1:4]):
        return "state"
    return None


def _be_of_attribute(verb: _Verb, first: str, rest: _Rest) -> str | None:
    """"my birthday is …", "my favourite band is …", "my manager is called …"."""
    if verb.subject.person is not Person.OTHER or talks_to_someone(rest):
        return None
    head, text = verb.subject.head, verb.subject.text.lower()
    if first in ("called", "named") and len(rest) > 1:
        return "name"
    attribute = head in lexicon.ATTRIBUTES or "favo" in text or head.split("-")[0] in lexicon.ATTRIBUTES
    if head == "name" and first in lexicon.FUNCTION_WORDS:
        return None
    if head in ("favorite", "favourite", "name") and first in ("the", "a", "an", "like") or first == "like":
        return None
    if attribute and not starts_vaguely(rest) and not first.endswith("ing") and not talks_of_the_moment(rest[:2]):
        return "preference" if "favo" in text else "attribute"
    if head in lexicon.RELATIONS and rest[0][:1].isupper() and first not in lexicon.FUNCTION_WORDS:
        return "name"
    return None


_TAKEN = frozenset("class classes course courses lessons medication pills antibiotics antidepressants metformin insulin statins vitamins".split())
_DONE = frozenset("yoga pilates kickboxing karate judo crossfit ceramics pottery ballet research boxing gymnastics freelance".split())
_THINKING = {"thinking": ("about", "of"), "planning": ("to", "on"), "hoping": ("to",), "considering": (), "dreaming": ("of", "about")}


def _progressive(words: list[str], rest: _Rest, *, past: bool) -> Predicate | None:
    """"is learning Portuguese"; "is going to Japan ⟦0⟧"; "is thinking about going camping"."""
    first, after = bare(rest[0]), rest[1:]
    if past or talks_to_someone(rest):
        return None
    plan = Predicate(words, rest, "plan", 0.8, present=True)
    if first == "going" and after and bare(after[0]) == "to":
        if base_of(bare(after[1]), Form.BASE) if len(after) > 1 else False:
            return plan if _is_plan(after[1:]) else None
        return plan if says_when(after) or names_something(after[1:5]) else None
    if first in _THINKING and after:
        return plan if _is_considered(first, after) else None
    verb = base_of(first, Form.PROGRESSIVE)
    if verb is None:
        return None
    if first == "taking" and any(bare(word) in _TAKEN for word in after[:4]) or first == "doing" and after and bare(after[0]) in _DONE:
        return Predicate(words, rest, "activity", 0.8, present=True)
    if first == "getting" and after and bare(after[0]) in ("married", "divorced", "engaged", "surgery"):
        return plan
    if verb in lexicon.PROGRESSIVE_VERBS_DATED:
        return plan if says_when(after) and is_telling(after) and not starts_vaguely(after) else None
    if verb not in lexicon.PROGRESSIVE_VERBS or talks_of_the_moment(after[:3]) or starts_vaguely(after):
        return None
    return Predicate(words, rest, "activity", 0.8, present=True) if is_telling(after) or says_when(after) else None


def _is_considered(first: str, after: _Rest) -> bool:
    links = _THINKING[first]
    if links and bare(after[0]) not in links:
        return False
    action = after[1:] if links else after
    if not action or not is_telling(action[1:]):
        return False
    low = bare(action[0])
    verb = base_of(low, Form.BASE) if bare(after[0]) == "to" else base_of(low, Form.PROGRESSIVE)
    return verb in lexicon.PLAN_VERBS and not starts_vaguely(action[1:])


def _is_plan(action: _Rest) -> bool:
    """``action`` begins with a base verb that makes a plan, with enough behind it."""
    if not action or talks_to_someone(action):
        return False
    verb = base_of(bare(action[0]), Form.BASE)
    if bare(action[0]) == "be" and len(action) > 2:
        return base_of(bare(action[1]), Form.PROGRESSIVE) in lexicon.PROGRESSIVE_VERBS and is_telling(action[2:])
    if verb not in lexicon.PLAN_VERBS or starts_vaguely(action[1:]) or talks_of_the_moment(action[1:4]):
        return verb in ("move", "retire", "quit", "marry") and says_when(action)
    if not is_telling(action[1:]) and not says_when(action):
        return False
    return verb not in lexicon.PLAN_VERBS_VAGUE or says_when(action) or names_something(action[1:])


def _is_due(action: _Rest) -> bool:
    """"(have to) finish the report ⟦0⟧": any verb, if it says when and what."""
    return len(action) > 1 and says_when(action) and is_telling(action[1:]) and not starts_vaguely(action[1:])


# ── to have ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_HAD = frozenset(
    "baby surgery accident operation miscarriage stroke heart interview appointment son daughter twins child party wedding meeting".split()
)


_PARTICIPLES = frozenset("seen heard thought told said known found left felt kept put let meant understood sent shown gone".split())


def _have(verb: _Verb) -> Predicate | None:
    if talks_to_someone(verb.rest):
        return None
    past = verb.low == "had"
    has = "had" if past else _finite(verb, "have")
    rest = verb.rest
    negated = bool(rest) and bare(rest[0]) == "not"
    adverbs, rest = _skip_adverbs(rest[1:] if negated else rest)
    if not rest:
        return None
    words = [*verb.adverbs, has, *(["not"] if negated else []), *adverbs]
    low = bare(rest[0])
    if low == "to" and not past and not negated:
        return Predicate(words, rest, "plan", 0.75, present=True) if _is_due(rest[1:]) else None
    if low == "got" and not past and len(rest) > 1 and bare(rest[1]) in ("a", "an", "two", "three", "four"):
        rest, low = rest[1:], bare(rest[1])
    if low == "been" and not past:
        return _have_been(words, rest)
    if not past and base_of(low, Form.PARTICIPLE):
        return _perfect(verb, words, rest, negated=negated)
    if negated or not verb.about_someone:
        return None
    return _possession(words, rest, past=past)


def _possession(words: list[str], rest: _Rest, *, past: bool) -> Predicate | None:
    low = bare(rest[0])
    if any(bare(word) in lexicon.WORKING_NOUNS for word in rest[:5]):
        return None
    if low in ("to", "the", "no", "some", "more", "enough", "such", "so", "your", "any") or starts_vaguely(rest):
        return None
    if talks_of_the_moment(rest[:5]) or not is_telling(rest) or (low.endswith("ed") and low not in ("red", "bed", "naked")) or low in _PARTICIPLES:
        return None
    if past and not (any(bare(word) in _HAD for word in rest[:4]) or (says_when(rest) and low not in ("fun",))):
        return None
    return Predicate(words, rest, "event" if past else "possession", 0.85, past=past, present=not past)


def _have_been(words: list[str], rest: _Rest) -> Predicate | None:
    after = rest[1:]
    adverbs, after = _skip_adverbs(after)
    if not after:
        return None
    rest = [rest[0], *adverbs, *after]
    low = bare(after[0])
    verb = base_of(low, Form.PROGRESSIVE)
    known = (
        (verb in lexicon.PROGRESSIVE_VERBS and is_telling(after[1:]) and not starts_vaguely(after[1:]))
        or (low == "trying" and len(after) > 2 and is_telling(after[2:]) and bare(after[1]) == "to" and bare(after[2]) in ("learn", "get", "quit"))
        or (low in ("a", "an") and _be_a(after) is not None)
        or (low in ("to", "at", "in", "with", "on") and names_something(after[1:5]))
        or low in ("married", "divorced", "vegan", "vegetarian", "sober", "retired", "diagnosed", "promoted", "accepted")
    )
    return Predicate(words, rest, "activity", 0.8, past=True) if known else None


def _perfect(verb: _Verb, words: list[str], rest: _Rest, *, negated: bool) -> Predicate | None:
    low, after = bare(rest[0]), rest[1:]
    base = base_of(low, Form.PARTICIPLE) or ""
    if base in lexicon.PREFERENCE_VERBS or (low == "wanted" and any(word == "always" for word in words)):
        return Predicate(words, rest, "preference", 0.8, past=True) if is_telling(after) and not starts_vaguely(after) else None
    if negated and "never" not in verb.adverbs and not names_something(after):
        return None
    return _told(Predicate(words, rest, "event", 0.8, past=True), base, after)


# ── other verbs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _do(verb: _Verb) -> Predicate | None:
    """"does not eat pork", "does yoga"; "did not …" is left alone unless dated."""
    if not verb.rest or talks_to_someone(verb.rest) or not verb.about_someone:
        return None
    if bare(verb.rest[0]) in _DONE and verb.low != "did":
        return Predicate([*verb.adverbs, _finite(verb, "do")], verb.rest, "habit", 0.85, present=True)
    if bare(verb.rest[0]) != "not":
        return None
    adverbs, rest = _skip_adverbs(verb.rest[1:])
    base = base_of(bare(rest[0]), Form.BASE) if rest else None
    if base is None:
        return None
    after = rest[1:]
    if verb.low == "did":
        told = _told(Predicate(["did not", *adverbs], rest, "event", 0.75, past=True), base, after)
        return told if told and says_when(after) else None
    if base == "do" and after and bare(after[0]) not in _DONE:
        return None
    words = [*verb.adverbs, "do" if verb.subject.plural else "does", "not", *adverbs]
    if base in lexicon.PREFERENCE_VERBS:
        return Predicate(words, rest, "preference", 0.9, present=True) if _likes_something(after) else None
    if base == "have" and after and bare(after[0]) == "any":
        after = after[1:]
    plain = base in lexicon.HABIT_VERBS_NEGATED and not starts_vaguely(after) and not talks_of_the_moment(after[:4])
    if not plain or (after and bare(after[0]) in ("to", "the", "enough", "that", "your")):
        return None
    enough = is_telling(after) or base in ("smoke", "drink", "drive", "eat", "swim", "cook")
    return Predicate(words, rest, "habit", 0.9, present=True) if enough else None


def _cannot(verb: _Verb) -> Predicate | None:
    rest = verb.rest
    if verb.low == "can" and rest and bare(rest[0]) == "not":
        rest = rest[1:]
    elif verb.low == "can":
        known = rest and bare(rest[0]) in lexicon.SKILL_VERBS and is_telling(rest[1:]) and not talks_to_someone(rest)
        return Predicate([*verb.adverbs, "can"], rest, "skill", 0.8) if known and not starts_vaguely(rest[1:]) else None
    if not rest or not verb.about_someone or talks_to_someone(rest):
        return None
    base, after = bare(rest[0]), rest[1:]
    if base not in ("eat", "have", "drink", "drive", "swim", "stand", "tolerate", "digest", "ride", "cook") or starts_vaguely(after):
        return None
    enough = is_telling(after) or base in ("drive", "swim", "cook")
    if after and bare(after[0]) in ("the", "that", "to"):
        return None
    return Predicate([*verb.adverbs, "cannot"], rest, "health" if base != "stand" else "preference", 0.85) if enough else None


def _will(verb: _Verb) -> Predicate | None:
    adverbs, rest = _skip_adverbs(verb.rest)
    if not rest or bare(rest[0]) == "not" or talks_to_someone(rest):
        return None
    if bare(rest[0]) == "be" and len(rest) > 2 and (says_when(rest) or _AGE.match(bare(rest[1]))):
        base = base_of(bare(rest[1]), Form.PROGRESSIVE)
        if base in lexicon.PROGRESSIVE_VERBS | lexicon.PROGRESSIVE_VERBS_DATED and is_telling(rest[2:]):
            return Predicate(["will", *adverbs], rest, "plan", 0.8)
        return Predicate(["will", *adverbs], rest, "plan", 0.8) if _AGE.match(bare(rest[1])) else None
    known = says_when(rest) and (_is_plan(rest) or bare(rest[0]) == "turn")
    return Predicate(["will", *adverbs], rest, "plan", 0.8) if known else None


_DREAMS = frozenset("visit travel learn live move become retire".split())


def _would(verb: _Verb) -> Predicate | None:
    """Only wishes for oneself: "would love to visit Japan"."""
    adverbs, rest = _skip_adverbs(verb.rest)
    lows = [bare(word) for word in rest[:4]]
    if len(lows) < 4 or lows[0] not in ("love", "like") or lows[1] != "to" or lows[2] not in _DREAMS or talks_to_someone(rest):
        return None
    if not is_telling(rest[3:]) or starts_vaguely(rest[3:]):
        return None
    return Predicate(["would", *adverbs], rest, "plan", 0.75)


def _used(verb: _Verb) -> Predicate | None:
    """"used to be a teacher", "used to swim in college"; a used object is the past of "use" and no event."""
    rest = verb.rest
    if len(rest) < 3 or bare(rest[0]) != "to" or talks_to_someone(rest):
        return None
    base = bare(rest[1])
    if base not in ("be", "have") and base_of(base, Form.BASE) is None:
        return None
    if base == "be" and bare(rest[2]) not in ("a", "an", "in", "married") or not is_telling(rest[2:]) or starts_vaguely(rest[2:]):
        return None
    return Predicate([*verb.adverbs, "used"], rest, "past habit", 0.85, past=True)


def _intention(base: str, *, past: bool) -> Callable[[_Verb], Predicate | None]:
    """"wants to run a marathon": a plan when what follows makes one."""

    def rule(verb: _Verb) -> Predicate | None:
        if len(verb.rest) < 2 or bare(verb.rest[0]) != "to" or not verb.about_someone or talks_to_someone(verb.rest):
            return None
        if not (_is_due(verb.rest[1:]) if base == "need" else _is_plan(verb.rest[1:])):
            return None
        shown = verb.low if past else _finite(verb, base)
        return Predicate([*verb.adverbs, shown], verb.rest, "plan", 0.8, past=False, present=not past)

    return rule


def _passed(verb: _Verb) -> Predicate | None:
    """"passed away" of someone, "passed the exam" of anyone."""
    if verb.rest and bare(verb.rest[0]) == "away":
        return Predicate([*verb.adverbs, "passed"], verb.rest, "event", 0.9, past=True) if verb.about_someone else None
    return _event(verb)


def _lexical(verb: _Verb) -> Predicate | None:
    if talks_to_someone(verb.rest):
        return None
    if verb.first_person or verb.subject.plural:
        base = base_of(verb.low, Form.BASE)
        is_past = base is None or base in ("quit", "hurt", "set", "hit") or (base == "read" and says_when(verb.rest))
    else:
        base = base_of(verb.low, Form.THIRD)
        is_past = base is None
    if is_past:
        return _event(verb)
    return _present(verb, base or "")


_REGULARLY = frozenset("every times weekly regularly daily kindergarten school college university preschool daycare church".split())


def _present(verb: _Verb, base: str) -> Predicate | None:
    if not verb.about_someone:
        return None
    words = [*verb.adverbs, _finite(verb, base)]
    rest = verb.rest
    if base in lexicon.PREFERENCE_VERBS:
        return Predicate(words, rest, "preference", 0.9, present=True) if _likes_something(rest) else None
    if base == "turn" and rest and (_AGE.match(bare(rest[0])) or says_when(rest)):
        return Predicate(words, rest, "age", 0.85, present=True)
    lows = [bare(word) for word in rest]
    if base == "take" and any(low in _TAKEN for low in lows[:4]):
        return Predicate(words, rest, "health", 0.85, present=True)
    if base == "go" and lows[:1] == ["to"] and any(low in _REGULARLY for low in lows):
        return Predicate(words, rest, "habit", 0.85, present=True)
    if base not in lexicon.HABIT_VERBS or starts_vaguely(rest) or talks_of_the_moment(rest[:4]):
        return Predicate(words, rest, "habit", 0.85, present=True) if base in ("smoke", "vape", "meditate") and not rest else None
    first = bare(rest[0]) if rest else ""
    if (base == "come" and first != "from") or any(bare(word) in lexicon.WORKING_NOUNS for word in rest[:4]):
        return None
    if base in ("run", "read", "write", "play", "draw", "avoid", "program", "lead", "support") and first in ("the", "this", "that", "it"):
        return None if base != "lead" else Predicate(words, rest, "habit", 0.85, present=True)
    enough = is_telling(rest) or base in ("smoke", "vape", "meditate", "snowboard", "freelance", "surf")
    return Predicate(words, rest, "habit", 0.85, present=True) if enough else None


def _likes_something(rest: _Rest) -> bool:
    """An object that one can like for longer than this conversation."""
    first = bare(rest[0]) if rest else ""
    if first in ("how", "what", "when", "your", "the", "this", "that", "to", "being", "hearing", "seeing", "about") and (
        first != "to" or talks_of_the_moment(rest[:4]) or not is_telling(rest[2:]) or bare(rest[1]) in ("see", "hear", "know", "think", "say")
    ):
        return first == "the" and names_something(rest[1:2]) and not talks_to_someone(rest)
    return is_telling(rest) and not starts_vaguely(rest) and not talks_of_the_moment(rest[:3]) and not talks_to_someone(rest)


def _event(verb: _Verb) -> Predicate | None:
    base = base_of(verb.low, Form.PAST)
    if base is None or talks_to_someone(verb.rest):
        return None
    if base in ("decide", "plan"):
        known = len(verb.rest) > 2 and bare(verb.rest[0]) == "to" and _is_plan(verb.rest[1:])
        return Predicate([*verb.adverbs, verb.low], verb.rest, "plan", 0.8, past=False) if known else None
    told = _told(Predicate([*verb.adverbs, verb.spelled], verb.rest, "event", 0.85, past=True), base, verb.rest)
    if told is None or verb.about_someone:
        return told
    return told if says_when(verb.rest) else None  # "my router stopped working": only worth keeping when dated


_WORKED = frozenset("create write open build make run read get see check fix do have publish design submit complete finish start change take break lose submit upgrade install use".split())


def _told(predicate: Predicate, base: str, after: _Rest) -> Predicate | None:
    """The event, if what follows the verb says what happened."""
    if base in lexicon.PREFERENCE_VERBS:
        return predicate if names_something(after) and _likes_something(after) else None
    if base in lexicon.HABIT_VERBS and base not in lexicon.EVENT_VERBS:
        return predicate if is_telling(after) and not starts_vaguely(after) and (says_when(after) or names_something(after)) else None
    if base not in lexicon.EVENT_VERBS or talks_of_the_moment(after[:3]) or (base in _WORKED and any(bare(word) in lexicon.WORKING_NOUNS for word in after[:4])):
        return None
    lows = [bare(word) for word in after[:2]]
    if base == "break" and lows[:1] in (["up"], ["down"]) or base in ("get", "give", "grow", "break", "sign", "move", "call") and lows[:1] in (["up"], ["birth"]):
        return predicate if is_telling(after[1:]) or says_when(after) or base in ("break", "move") else None
    if starts_vaguely(after) or talks_to_someone(after):
        return predicate if lows[:1] in (["back"], ["out"], ["off"], ["away"]) and says_when(after) and names_something(after) else None
    if base == "get" and lows[:1] in (["married"], ["engaged"], ["divorced"], ["promoted"], ["fired"], ["hired"], ["accepted"]):
        return predicate
    if base in lexicon.EVENT_VERBS_DATED and not (says_when(after) or names_something(after)):
        return None
    return predicate if is_telling(after) or (base in lexicon.INTRANSITIVE) else None


def talks_to_someone(words: _Rest) -> bool:
    """True when the words address whoever reads them."""
    return any(bare(word) in ("you", "yours", "yourself", "u", "y'all", "you're", "you've", "you'll") for word in words)


_RULES: dict[str, Callable[[_Verb], Predicate | None]] = {
    "am": _be,
    "is": _be,
    "are": _be,
    "was": _be,
    "were": _be,
    "have": _have,
    "has": _have,
    "had": _have,
    "do": _do,
    "does": _do,
    "did": _do,
    "can": _cannot,
    "cannot": _cannot,
    "will": _will,
    "would": _would,
    "used": _used,
    "passed": _passed,
    "need": _intention("need", past=False),
    "needs": _intention("need", past=False),
    "want": _intention("want", past=False),
    "wants": _intention("want", past=False),
    "plan": _intention("plan", past=False),
    "plans": _intention("plan", past=False),
    "hope": _intention("hope", past=False),
    "hopes": _intention("hope", past=False),
    "intend": _intention("intend", past=False),
    "aim": _intention("aim", past=False),
}
