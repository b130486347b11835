"""The second stage of hybrid search: from what is known of each candidate to the chance that it answers the query.

Seven signals, each on a scale of its own that queries share:

    words         the share of the query's information (BM25, ``keyword_ranking``) that a message holds together with its
                  neighbours: each query word counts where it stands best, a little less the further away. Names of the
                  people who speak are left to ``person``.
    meaning       the cosine with the query, averaged over a message and its neighbours
    conversation  how near to the query the best parts of its session are
    person        1 when the query names who said it (or, where nobody is named, a person whom the text names)
    date          1 when it falls into a time that the query names (``query_dates``)
    question      1 for a question: who asks does not tell
    time          1 when the query asks for a time and the text tells one (``times_told``), or it has a date of its own

and with an embedder that gives every word a vector in its context an eighth (late interaction):

    senses        how near a message and its neighbours come to each query word in its sense, the rarer words counting more;
                  ``conversation`` is then what the best two of a session reach

    relevance = 1 / (1 + exp(-(bias + sum of weight * signal - doubt)))

``doubt`` is the same for all candidates of a query, so it changes no order, only how sure the answer is: a query that names
Ana, answered best by what only Ben said of himself, is probably not answered at all. It is above zero when somebody else's
message, which does not mention the named, comes nearer (all signals but ``person``) than the best of the named.

A memory that stands alone (a fact, a note) has no neighbours: its words are its own, and so are meaning and conversation.
So facts and messages are ranked on one scale. No score depends on the page.

The weights were fitted by ``make fit-retrieval DATA=…`` (leave one conversation out; ``benchmarks/retrieval/fitting.py``) and
rounded; ``docs/decisions/0006-retrieval-pipeline.md`` says on what, and what was tried and dropped.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.instants import micros, micros_or_none
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import Handle

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scale:
    """What the signals are called, what each is multiplied by, and what comes on top."""

    signals: tuple[str, ...]
    weights: Numbers
    bias: float


PLAIN = Scale(
    ("words", "meaning", "conversation", "person", "date", "question", "time"),
    np.array([9.0, 5.0, 3.0, 1.5, 3.5, -0.7, 1.0]),
    -9.0,
)
WITH_SENSES = Scale((*PLAIN.signals, "senses"), np.array([4.0, 4.0, 4.0, 1.5, 3.5, -0.7, 1.0, 6.0]), -11.5)
DOUBT = 5.0
"""By how much the log-odds fall for each by which somebody else's words come nearer than those of whom the query names."""
_SHORTFALL_MAX = 1.0
"""More says nothing more; and chances that are too small to tell apart would lose their order."""
ALPHA_DEFAULT = 0.7
DECIMALS = 9
"""Of relevances: enough to tell the unlikely apart, too few to tell apart two ways of computing the same sum."""

WINDOW = 2
"""Neighbours on each side that count."""
_WORDS_BEFORE = (0.8, 0.5)
_WORDS_AFTER = (0.5, 0.3)
"""What a query word in the message one or two places before (after) counts, against one of its own. An answer leaves out
the words of the question before it; so what came before says more."""
_MEANING_BESIDE = (0.5, 0.25)
_BEST_OF_CONVERSATION = 3
_BEST_SENSES_OF_CONVERSATION = 2
_UNKNOWN_QUANTILE = 0.25
"""Of the pool's senses: what stands for those of a candidate whose words were not compared."""
_NEVER_WRITTEN = 0.5
"""What a query word weighs that stands in no memory of the caller's scope: more likely said otherwise than not at all."""
_TOLD_AGAIN = 0.25
"""How likely a memory is needed besides the message that it came from."""
ENDING_CHARACTERS = 4
"""Of a text: enough to see whether it ends as a question."""
OPENING_CHARACTERS = 300
SOURCES_MAX = 4
"""Messages that a memory came from which are looked at beside it: the first ones."""


class Passage(NamedTuple):
    """What the second stage looks at of a candidate beside its words and its vector."""

    id: str
    session: Hashable | None
    """Equal for the memories of one owner's session; None outside of sessions."""
    is_message: bool
    name: str | None
    created_us: int
    accessed_us: int
    event_us: int | None
    opening: str
    """The text's first ``OPENING_CHARACTERS``: enough for what a short message says, little of a long one."""
    ending: str
    """The text's last ``ENDING_CHARACTERS``."""
    sources: tuple[str, ...]
    """Ids of the messages of its session that a memory, which is no message itself, came from."""

    @property
    def sources_looked_at(self) -> Sequence[str]:
        """The messages that are looked at beside it: none of a summary's hundreds says alone what it says."""
        return self.sources[:SOURCES_MAX] if self.session is not None else ()

    @property
    def is_question(self) -> bool:
        return self.ending.rstrip().endswith(("?", "？", "؟"))


def passage_of(memory: Memory) -> Passage:
    """What stores that read whole memories look at; one that reads columns selects the same."""
    is_message = memory.memory_type is MemoryType.MESSAGE
    return Passage(
        id=memory.id,
        session=None if memory.scope.session_id is None else memory.scope,
        is_message=is_message,
        name=memory.name,
        created_us=micros(memory.created_at),
        accessed_us=micros(memory.last_accessed),
        event_us=micros_or_none(memory.event_date),
        opening=memory.text[:OPENING_CHARACTERS],
        ending=memory.text[-ENDING_CHARACTERS:],
        sources=() if is_message else memory.extracted_from or (),
    )


class Pool(NamedTuple):
    """The best candidates, the messages that those came from which are none, and the messages around all of these."""

    passages: Mapping[Handle, Passage]
    """The candidates first, in their order, then the messages that they came from, then what stands around them."""
    around: Mapping[Handle, Sequence[Handle]]
    """For each candidate and source that is a message of a session: itself and its neighbours in order, all in ``passages``."""

    @classmethod
    def of(cls, passages: Mapping[Handle, Passage], around: Mapping[Handle, Sequence[Handle]]) -> Pool:
        """What the filter leaves out (it has no passage) stays out, whoever its neighbours are."""
        kept = {
            handle: [each for each in window if each in passages]
            for handle, window in around.items()
            if handle in passages
        }
        return cls(passages, kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Everything the signals are made of, one row a candidate. Rows of -1 in ``before`` and ``after`` mean "none"."""

    parts: Numbers
    """Shape (candidates, query words): how much of each word's weight the text earns, 0..1 (``keyword_parts``)."""
    word_weights: Numbers
    """``inverse_document_frequency``; of words that are in no memory a part of it (``in_question``)."""
    is_name: NDArray[np.bool_]
    """Shape (query words,): whether the word is part of a speaker's name."""
    meaning: Numbers
    """Cosines; where ``has_vector`` is False they are not looked at."""
    has_vector: NDArray[np.bool_]
    before: Places
    after: Places
    conversation: Places
    """Number of the conversation, -1 for none."""
    person: Numbers
    of_another: NDArray[np.bool_]
    """Whether somebody said it whom the query, which names a speaker, does not name; never for what mentions the named."""
    date: Numbers
    question: Numbers
    time: Numbers
    told: tuple[Places, Places]
    """Pairs: a memory, and a message among the candidates that it came from."""
    senses: Senses | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """How near candidates come to each token of the query in its context, where the embedder can tell."""

    places: Places
    """The candidates that were compared, at least one."""
    parts: Numbers
    """Shape (places, query tokens), 0..1."""
    weights: Numbers
    is_name: NDArray[np.bool_]
    """Shape (query tokens,): whether the token belongs to a speaker's name."""


def in_question(weights: Numbers, is_written: NDArray[np.bool_]) -> Numbers:
    """The words' weights for the share that a message holds; ``is_written`` where some memory of the scope has the word."""
    return np.where(is_written, weights, _NEVER_WRITTEN * weights)


def scale_of(candidates: Candidates) -> Scale:
    return PLAIN if candidates.senses is None else WITH_SENSES


def signals(candidates: Candidates, *, context: float = 1.0) -> Numbers:
    """Shape (candidates, signals of their scale).

    ``context`` from 1 down to 0 fades out all but each candidate's own words and meaning.
    """
    own_words = _share(candidates.parts, candidates.word_weights)
    # What has no vector is judged by its words, also where meaning is asked for.
    meaning = np.where(candidates.has_vector, candidates.meaning, own_words)
    links = [_steps(candidates.before, WINDOW), _steps(candidates.after, WINDOW)]
    values = np.empty((len(meaning), len(scale_of(candidates).signals)))
    values[:, 0] = _faded(_words_in_window(candidates, links, own_words), own_words, context)
    values[:, 1] = _faded(_meaning_in_window(meaning, links), meaning, context)
    if candidates.senses is None:
        conversation = _best_of_conversation(meaning, candidates.conversation, _BEST_OF_CONVERSATION)
    else:
        values[:, 7] = senses = _senses_in_window(candidates.senses, len(meaning), links)
        conversation = _best_of_conversation(senses, candidates.conversation, _BEST_SENSES_OF_CONVERSATION)
    values[:, 2] = _faded(conversation, meaning, context)
    values[:, 3] = context * candidates.person
    values[:, 4] = context * candidates.date
    values[:, 5] = context * candidates.question
    values[:, 6] = context * candidates.time
    return values


@dataclass(frozen=True, slots=True)
class Weighed:
    """The signals of all candidates, one row each, and what they are multiplied by; the scale's bias comes on top."""

    values: Numbers
    weights: Numbers
    context: float
    scale: Scale
    shortfall: float
    """By how much the best of the people whom the query names falls short of the best of the others, 0..``_SHORTFALL_MAX``."""

    @property
    def chances(self) -> Numbers:
        return 1.0 / (1.0 + np.exp(-(self.scale.bias + self.values @ self.weights - DOUBT * self.shortfall)))


def weighed(candidates: Candidates, alpha: float = ALPHA_DEFAULT) -> Weighed:
    """What ``relevances`` adds up.

    ``alpha`` tilts: at its default the weights are those that were fitted; towards 0 meaning fades out and towards 1 words do,
    and at both ends context has: 0 orders by each memory's own words alone, 1 by its own meaning.
    """
    alpha = min(1.0, max(0.0, alpha))
    by_meaning = min(1.0, alpha / ALPHA_DEFAULT)
    by_words = min(1.0, (1.0 - alpha) / (1.0 - ALPHA_DEFAULT))
    context = min(by_meaning, by_words)
    scale = scale_of(candidates)
    tilt = np.array([by_words, by_meaning, by_meaning, 1.0, 1.0, 1.0, 1.0, context])[: len(scale.signals)]
    values, weights = signals(candidates, context=context), scale.weights * tilt
    return Weighed(values, weights, context, scale, context * _shortfall(candidates, values, weights))


def _shortfall(candidates: Candidates, values: Numbers, weights: Numbers) -> float:
    of_named = candidates.person > 0
    if not of_named.any() or not candidates.of_another.any():
        return 0.0
    place = PLAIN.signals.index("person")
    nearness = values @ weights - values[:, place] * weights[place]
    short = float(nearness[candidates.of_another].max() - nearness[of_named].max())
    return min(_SHORTFALL_MAX, max(0.0, short))


def relevances(candidates: Candidates, alpha: float = ALPHA_DEFAULT) -> Numbers:
    """The chance of each candidate to answer the query, 0..1; ``alpha`` as in ``weighed``."""
    found = weighed(candidates, alpha)
    chances = found.chances
    return np.round(_faded(_said_once(chances, candidates.told), chances, found.context), DECIMALS)


def _said_once(chances: Numbers, told: tuple[Places, Places]) -> Numbers:
    """A memory whose source message was found as well says the same again: it comes after that message, not before it."""
    memories, messages = told
    if not len(memories):
        return chances
    highest = np.zeros(len(chances))
    np.maximum.at(highest, memories, chances[messages])
    once = chances.copy()
    once[memories] = np.minimum(chances[memories], _TOLD_AGAIN * highest[memories])
    return once


def chained(handles: Mapping[Handle, int], around: Mapping[Handle, Sequence[Handle]]) -> tuple[Places, Places]:
    """From windows of messages in order to each place's place before and after it, -1 for none known."""
    before = np.full(len(handles), -1, dtype=np.int64)
    after = np.full(len(handles), -1, dtype=np.int64)
    if not around:
        return before, after
    places = [[handles[each] for each in window] for window in around.values()]
    earlier = [place for window in places for place in window[:-1]]
    later = [place for window in places for place in window[1:]]
    before[later], after[earlier] = earlier, later
    return before, after


def _faded(within_context: Numbers, own: Numbers, context: float) -> Numbers:
    return own if context == 0.0 or within_context is own else own + context * (within_context - own)


def _share(parts: Numbers, weights: Numbers) -> Numbers:
    total = float(weights.sum())
    return parts @ weights / total if total > 0 else np.zeros(len(parts))


_Steps = Sequence[tuple[Places, Places]]


def _words_in_window(candidates: Candidates, links: Sequence[_Steps], own_words: Numbers) -> Numbers:
    if not any(links) and not candidates.is_name.any():
        return own_words
    weights = np.where(candidates.is_name, 0.0, candidates.word_weights)
    if not weights.any():
        weights = candidates.word_weights
    best = candidates.parts.copy()
    for steps, decays in zip(links, (_WORDS_BEFORE, _WORDS_AFTER), strict=True):
        for (rows, places), decay in zip(steps, decays, strict=False):
            best[rows] = np.maximum(best[rows], decay * candidates.parts[places])
    return _share(best, weights)


def _meaning_in_window(meaning: Numbers, links: Sequence[_Steps]) -> Numbers:
    if not any(links):
        return meaning
    total, weight = meaning.copy(), np.ones(len(meaning))
    for steps in links:
        for (rows, places), share in zip(steps, _MEANING_BESIDE, strict=False):
            total[rows] += share * meaning[places]
            weight[rows] += share
    return total / weight


def _steps(links: Places, length: int) -> _Steps:
    """For one step, two steps, …: the rows that have somebody there, and who that is. Ends where nobody has."""
    rows = np.flatnonzero(links >= 0)
    places = links[rows]
    steps: list[tuple[Places, Places]] = []
    while len(rows) and len(steps) < length:
        steps.append((rows, places))
        further = links[places]
        rows, places = rows[further >= 0], further[further >= 0]
    return steps


def _senses_in_window(senses: Senses, size: int, links: Sequence[_Steps]) -> Numbers:
    """Each query token where it is come nearest to; a middling value for what was not compared."""
    weights = np.where(senses.is_name, 0.0, senses.weights)
    if not weights.any():
        weights = senses.weights if senses.weights.any() else np.ones(len(weights))
    own = np.zeros((size, len(weights)))
    own[senses.places] = senses.parts
    best = own.copy()
    for steps, decays in zip(links, (_WORDS_BEFORE, _WORDS_AFTER), strict=True):
        for (rows, places), decay in zip(steps, decays, strict=False):
            best[rows] = np.maximum(best[rows], decay * own[places])
    found = np.full(size, np.nan)
    found[senses.places] = _share(best[senses.places], weights)
    return np.where(np.isnan(found), np.quantile(found[senses.places], _UNKNOWN_QUANTILE), found)


def _best_of_conversation(values: Numbers, conversation: Places, best: int) -> Numbers:
    """For each message the mean of the best few of its session; for others their own."""
    members = np.flatnonzero(conversation >= 0)
    if not len(members):
        return values
    result = values.copy()
    order = members[np.lexsort((-values[members], conversation[members]))]
    numbers = conversation[order]
    starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
    sizes = np.diff(np.concatenate([starts, [len(order)]]))
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    kept = np.where(rank < best, values[order], 0.0)
    means = np.add.reduceat(kept, starts) / np.minimum(sizes, best)
    result[order] = np.repeat(means, sizes)
    return result
