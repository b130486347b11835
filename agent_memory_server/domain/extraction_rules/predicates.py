"""What a clause says of its subject, and whether that lasts: each rule reads one kind of verb phrase and answers None
unless it is sure. The rule's name and confidence are kept with the memory.
"""

from __future__ import annotations

from collections.abc import Callable

from agent_memory_server.domain.extraction_rules.acting import cannot, do, event, lexical, passed, used
from agent_memory_server.domain.extraction_rules.being import be
from agent_memory_server.domain.extraction_rules.having import have
from agent_memory_server.domain.extraction_rules.objects import refers_back
from agent_memory_server.domain.extraction_rules.plans import intention, will, would
from agent_memory_server.domain.extraction_rules.subjects import Person, Subject, bare
from agent_memory_server.domain.extraction_rules.verbs import Predicate, Verb, skip_adverbs

_EVERYONE = frozenset({"all", "each", "humans", "people"})
"""After "we", these make a statement about everyone."""


def read_predicate(subject: Subject) -> Predicate | None:
    """The first rule that understands the words after the subject, or None."""
    adverbs, rest = skip_adverbs(subject.rest)
    if not rest:
        return None
    verb = Verb(bare(rest[0]), adverbs, rest[1:], subject, bare(rest[0]) + ("," if rest[0].endswith(",") else ""))
    if refers_back(verb.rest, someone=subject.person is Person.OTHER) or bare(subject.rest[0]) in _EVERYONE:
        return None
    if subject.person is Person.WRITER and "together" in verb.rest and "with" not in verb.rest:
        return None  # "we have played together": who else, only the conversation knows
    rule = _RULES.get(verb.low)
    if subject.person is Person.ELIDED:
        return event(verb)
    if rule is not None:
        return rule(verb)
    return lexical(verb)


_RULES: dict[str, Callable[[Verb], Predicate | None]] = {
    "am": be,
    "is": be,
    "are": be,
    "was": be,
    "were": be,
    "have": have,
    "has": have,
    "had": have,
    "do": do,
    "does": do,
    "did": do,
    "can": cannot,
    "cannot": cannot,
    "will": will,
    "would": would,
    "used": used,
    "passed": passed,
    "need": intention("need", past=False),
    "needs": intention("need", past=False),
    "want": intention("want", past=False),
    "wants": intention("want", past=False),
    "plan": intention("plan", past=False),
    "plans": intention("plan", past=False),
    "hope": intention("hope", past=False),
    "hopes": intention("hope", past=False),
    "intend": intention("intend", past=False),
    "aim": intention("aim", past=False),
}
