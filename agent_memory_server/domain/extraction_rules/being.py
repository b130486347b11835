"""What someone or something *is*: who they are, what state they are in, what their names and favourites are."""

from __future__ import annotations

from agent_memory_server.domain.extraction_rules import lexicon
from agent_memory_server.domain.extraction_rules.lexicon import words
from agent_memory_server.domain.extraction_rules.objects import (
    is_telling,
    names_something,
    says_when,
    starts_vaguely,
    talks_of_the_moment,
    talks_to_someone,
)
from agent_memory_server.domain.extraction_rules.plans import progressive
from agent_memory_server.domain.extraction_rules.subjects import Person, bare
from agent_memory_server.domain.extraction_rules.verbs import AGE, Predicate, Verb, skip_adverbs

_ON_SOMETHING = words(
    "leave medication antidepressants diet plan insulin vacation holiday shift sabbatical call probation board team "
)


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


_PASSIVES = words(
    "born raised diagnosed promoted hired fired accepted laid admitted rejected selected elected adopted "
    "injured named brought invited nominated awarded offered "
)


_ROLES = words(
    "head ceo cto cfo coo founder owner director manager lead oldest youngest eldest only mother father chair "
    "president captain author maintainer tech team product project vp engineering vice co-founder cofounder "
    "principal single "
)


def be(verb: Verb) -> Predicate | None:
    past = verb.low in ("was", "were")
    be = ("were" if verb.subject.plural else "was") if past else ("are" if verb.subject.plural else "is")
    if verb.subject.person is Person.OTHER and verb.low != "am":
        be = verb.low  # "my favourite films are …": as written
    rest = verb.rest
    negated = bool(rest) and bare(rest[0]) == "not"
    adverbs, rest = skip_adverbs(rest[1:] if negated else rest)
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
        return progressive(words, rest, past=past)
    if past and first in _PASSIVES and is_telling(rest[1:]):
        return Predicate(words, rest, "event", 0.85, past=True)
    return None


def _be_known(verb: Verb, first: str, rest: list[str], *, negated: bool) -> str | None:
    """The name of the rule that reads "is <rest>" as a lasting fact of a person."""
    if not verb.about_someone or talks_to_someone(rest):
        return None
    second = bare(rest[1]) if len(rest) > 1 else ""
    if first in ("a", "an"):
        return be_a(rest)
    if (first in lexicon.LASTING_ADJECTIVES or first.removesuffix("s") in lexicon.LASTING_ADJECTIVES) and (
        first != "born" or not negated
    ):
        return "state"
    if second in _ADJECTIVE_OF.get(first, ()) and is_telling(rest[2:]) and not starts_vaguely(rest[2:]):
        return "preference" if first in ("interested", "passionate", "obsessed", "fond") else "state"
    if negated:
        return None
    if len(rest) == 1 and rest[0].isalpha() and rest[0].istitle() and first not in lexicon.FUNCTION_WORDS:
        return "name"  # "I'm Ivan"; "I'm Hungarian" reads as well
    if first == "the" and second in _ROLES:
        return "role"
    if AGE.match(first) and (
        len(rest) == 1 or rest[0].endswith(",") or second in ("years", "year", "yo", "and", "months", "weeks")
    ):
        return "age"
    return _be_at(first, rest, past=verb.low in ("was", "were"))


def be_a(rest: list[str]) -> str | None:
    lows = [bare(word) for word in rest[1:6]]
    if "fan" in lows[1:3] and "of" not in lows and lows[0] not in lexicon.TRANSIENT_PREDICATES | {"huge", "big"}:
        return "preference"
    if "fan" in lows[:3]:
        return "preference" if "of" in lows and not starts_vaguely(rest[lows.index("of") + 2 :]) else None
    if not lows or lows[0] in lexicon.TRANSIENT_PREDICATES or talks_of_the_moment(rest[:4]):
        return None
    return "role" if is_telling(rest[1:]) else None


def _be_at(first: str, rest: list[str], *, past: bool) -> str | None:
    """ "is from Porto", "is on parental leave", "is into climbing", "is out of office"."""
    lows = [bare(word) for word in rest]
    if (first in ("from", "in") or (first == "at" and past)) and names_something(rest[:4]) and not says_when(rest[:2]):
        return "place"
    if first == "into" and is_telling(rest[1:]) and not starts_vaguely(rest[1:]):
        return "preference"
    if first == "on" and any(low in _ON_SOMETHING for low in lows[1:4]):
        return "state"
    if past and first == "in" and any(low in ("accident", "crash") for low in lows[1:5]):
        return "event"
    if lows[:3] == ["out", "of", "office"] or lows[:3] in (["in", "charge", "of"], ["in", "love", "with"]):
        return "state"
    if first == "in" and any(low in ("college", "grade", "university", "remission", "therapy") for low in lows[1:4]):
        return "state"
    return None


def _be_of_attribute(verb: Verb, first: str, rest: list[str]) -> str | None:
    """ "my birthday is …", "my favourite band is …", "my manager is called …"."""
    if verb.subject.person is not Person.OTHER or talks_to_someone(rest):
        return None
    head, text = verb.subject.head, verb.subject.text.lower()
    if first in ("called", "named") and len(rest) > 1:
        return "name"
    attribute = head in lexicon.ATTRIBUTES or "favo" in text or head.split("-")[0] in lexicon.ATTRIBUTES
    if head == "name" and first in lexicon.FUNCTION_WORDS:
        return None
    if (head in ("favorite", "favourite", "name") and first in ("the", "a", "an", "like")) or first == "like":
        return None
    if attribute and not starts_vaguely(rest) and not first.endswith("ing") and not talks_of_the_moment(rest[:2]):
        return "preference" if "favo" in text else "attribute"
    if head in lexicon.RELATIONS and rest[0][:1].isupper() and first not in lexicon.FUNCTION_WORDS:
        return "name"
    return None
