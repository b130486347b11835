"""What someone is doing, or means to do: "is learning", "is going to", "wants to", "will", "would love to"."""

from __future__ import annotations

from collections.abc import Callable

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
from agent_memory_server.domain.extraction_rules.subjects import bare
from agent_memory_server.domain.extraction_rules.verbs import AGE, DONE, TAKEN, Predicate, Verb, finite, skip_adverbs

_TRIED = words("learn lose quit become save")
_THINKING = {
    "trying": ("to",),
    "thinking": ("about", "of"),
    "planning": ("to", "on"),
    "hoping": ("to",),
    "considering": (),
    "dreaming": ("of", "about"),
}


def progressive(words: list[str], rest: list[str], *, past: bool) -> Predicate | None:
    """ "is learning Portuguese"; "is going to Japan ⟦0⟧"; "is thinking about going camping"."""
    first, after = bare(rest[0]), rest[1:]
    if past or talks_to_someone(rest):
        return None
    plan = Predicate(words, rest, "plan", 0.8, present=True)
    if first == "going" and after and bare(after[0]) == "to":
        if base_of(bare(after[1]), Form.BASE) if len(after) > 1 else False:
            return plan if is_plan(after[1:]) else None
        return plan if says_when(after) or names_something(after[1:5]) else None
    if first in _THINKING and after:
        return plan if _is_considered(first, after) else None
    verb = base_of(first, Form.PROGRESSIVE)
    if verb is None:
        return None
    if (first == "taking" and any(bare(word) in TAKEN for word in after[:4])) or (
        first == "doing" and after and bare(after[0]) in DONE
    ):
        return Predicate(words, rest, "activity", 0.8, present=True)
    if first == "getting" and after and bare(after[0]) in ("married", "divorced", "engaged", "surgery"):
        return plan
    if verb in ("read", "watch") and names_something(after[:4]) and not starts_vaguely(after):
        return Predicate(words, rest, "activity", 0.8, present=True)
    if verb in lexicon.PROGRESSIVE_VERBS_DATED:
        return plan if says_when(after) and is_telling(after) and not starts_vaguely(after) else None
    if verb not in lexicon.PROGRESSIVE_VERBS or talks_of_the_moment(after[:3]) or starts_vaguely(after):
        return None
    return Predicate(words, rest, "activity", 0.8, present=True) if is_telling(after) or says_when(after) else None


def _is_considered(first: str, after: list[str]) -> bool:
    links = _THINKING[first]
    if first == "planning" and bare(after[0]) in ("a", "an", "my", "our"):
        return is_telling(after[1:]) and not talks_of_the_moment(after[:4])
    if first == "trying" and (len(after) < 2 or bare(after[1]) not in _TRIED):
        return False
    if links and bare(after[0]) not in links:
        return False
    action = after[1:] if links else after
    if not action or not is_telling(action[1:]):
        return False
    low = bare(action[0])
    verb = base_of(low, Form.BASE) if bare(after[0]) == "to" else base_of(low, Form.PROGRESSIVE)
    return verb in lexicon.PLAN_VERBS and not starts_vaguely(action[1:])


def is_plan(action: list[str]) -> bool:
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


def is_due(action: list[str]) -> bool:
    """ "(have to) finish the report ⟦0⟧": any verb, if it says when and what."""
    return len(action) > 1 and says_when(action) and is_telling(action[1:]) and not starts_vaguely(action[1:])


def will(verb: Verb) -> Predicate | None:
    adverbs, rest = skip_adverbs(verb.rest)
    if not rest or bare(rest[0]) == "not" or talks_to_someone(rest):
        return None
    if bare(rest[0]) == "be" and len(rest) > 2 and (says_when(rest) or AGE.match(bare(rest[1]))):
        base = base_of(bare(rest[1]), Form.PROGRESSIVE)
        if base in lexicon.PROGRESSIVE_VERBS | lexicon.PROGRESSIVE_VERBS_DATED and is_telling(rest[2:]):
            return Predicate(["will", *adverbs], rest, "plan", 0.8)
        return Predicate(["will", *adverbs], rest, "plan", 0.8) if AGE.match(bare(rest[1])) else None
    known = says_when(rest) and (is_plan(rest) or bare(rest[0]) == "turn")
    return Predicate(["will", *adverbs], rest, "plan", 0.8) if known else None


_DREAMS = words("visit travel learn live move become retire")


def would(verb: Verb) -> Predicate | None:
    """Only wishes for oneself: "would love to visit Japan"."""
    adverbs, rest = skip_adverbs(verb.rest)
    lows = [bare(word) for word in rest[:4]]
    if (
        len(lows) < 4
        or lows[0] not in ("love", "like")
        or lows[1] != "to"
        or lows[2] not in _DREAMS
        or talks_to_someone(rest)
    ):
        return None
    if not is_telling(rest[3:]) or starts_vaguely(rest[3:]):
        return None
    return Predicate(["would", *adverbs], rest, "plan", 0.75)


def intention(base: str, *, past: bool) -> Callable[[Verb], Predicate | None]:
    """ "wants to run a marathon": a plan when what follows makes one."""

    def rule(verb: Verb) -> Predicate | None:
        if len(verb.rest) < 2 or bare(verb.rest[0]) != "to" or not verb.about_someone or talks_to_someone(verb.rest):
            return None
        if not (is_due(verb.rest[1:]) if base == "need" else is_plan(verb.rest[1:])):
            return None
        shown = verb.low if past else finite(verb, base)
        return Predicate([*verb.adverbs, shown], verb.rest, "plan", 0.8, past=False, present=not past)

    return rule
