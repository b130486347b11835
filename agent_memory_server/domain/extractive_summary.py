"""Summaries without a language model: the sentences that say most of what is said, as they were said, in their order.

Sentences are chosen by SumBasic (Nenkova and Vanderwende, "The impact of frequency on summarization", 2005): a sentence
weighs the mean frequency of its terms, and terms that are already in the summary weigh the square of it, so that the next
sentence tells something else. Frequencies count the texts that hold a term, stemmed. Deterministic; a few seconds at most
for the largest sessions, because a sentence is only weighed again when it comes to the top (weights only ever fall).

One sentence a line. The result never exceeds its budget and is empty only when nothing was said.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent_memory_server.domain.sessions import Message
from agent_memory_server.domain.tokens import query_tokens

SENTENCE_CHARS_MAX = 320
"""Longer sentences are cut at a word: a paragraph without a full stop must not fill the summary."""
TEXT_CHARS_MAX = 4_000
"""Of a longer text only the beginning is read, so that one pasted document cannot decide the summary, or its time."""
PREVIOUS_SHARE = 0.6
"""How much of the budget the previous summary may hold against what is new."""
_TERMS_MIN = 6
"""Sentences with fewer terms are weighed as if they had this many: "Yes, Lisbon" is no summary."""
_TELLING_TERMS_MIN = 3
"""Sentences with fewer terms ("Bye!") are taken only when there are no others."""
_WEIGHT_BY_ROLE = {"user": 1.0, "assistant": 0.6}
_WEIGHT_OF_OTHER_ROLES = 0.3
_QUESTION = re.compile(r"[?？]$")
_SMALL_TALK = re.compile(
    r"^(?:(?:oh|hey|hi|hello|aww?|yeah|yep|ok|okay|so|and)\W+)*(?:wow|woah|whoa|thanks|thank|congrats|congratulations|cool|nice|great|awesome|sounds|"
    r"good|sorry|glad|sure|no problem|of course|that's|bye|see you|take care|let me know|you)\b",
    re.IGNORECASE,
)
_ADDRESSES = re.compile(r"\b(?:you|your|you're|you've)\b", re.IGNORECASE)
_OF_ONESELF = re.compile(r"\b(?:I|I'm|I've|we|we're|my|our)\b")
_PARTICULAR = re.compile(r"\d|(?<=[a-z,] )[A-Z][a-z]")
_FACTORS = ((_QUESTION, 0.3), (_SMALL_TALK, 0.4), (_ADDRESSES, 0.5), (_OF_ONESELF, 1.5), (_PARTICULAR, 1.5))
"""What a sentence's look says about its worth: questions and small talk tell little; numbers and names tell much."""
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+(?=\S)|(?<=[。！？])|\s*\n+\s*")
_ABBREVIATION = re.compile(r"(?:\b(?:St|Dr|Mr|Mrs|Ms|Prof|vs|etc|No|Jr|Sr|approx|e\.g|i\.e)|\b[A-Z]|^\d+)\.$")
_CODE = re.compile(r"```.*?(?:```|$)", re.DOTALL)


@dataclass(slots=True)
class _Sentence:
    place: int
    text: str
    terms: tuple[str, ...]
    weight: float


def summarize_messages(messages: Sequence[Message], *, previous: str | None = None, budget_chars: int) -> str:
    """A summary of a conversation: each line names its speaker. What users said weighs more than what assistants did."""
    spoken = [
        (
            message.content,
            message.name or message.role.capitalize(),
            _WEIGHT_BY_ROLE.get(message.role.lower(), _WEIGHT_OF_OTHER_ROLES),
        )
        for message in messages
    ]
    return _summarize(spoken, previous, budget_chars)


def extractive_summary(texts: Iterable[str], *, previous: str | None = None, budget_chars: int) -> str:
    """A summary of texts in at most ``budget_chars`` characters.

    The sentences of ``previous`` come first and stay as far as they fit, with ``PREVIOUS_SHARE`` of the budget at least.
    """
    return _summarize([(text, "", 1.0) for text in texts], previous, budget_chars)


def _summarize(texts: Sequence[tuple[str, str, float]], previous: str | None, budget_chars: int) -> str:
    kept = _distinct(_Sentence(0, line, query_tokens(line), _worth(line)) for line in _sentences(previous or ""))
    known = {sentence.text for sentence in kept}
    names = frozenset(term for speaker in {speaker for _, speaker, _ in texts} for term in query_tokens(speaker))
    spoken = [
        _Sentence(0, f"{speaker}: {line}" if speaker else line, _terms(line, names), weight * _worth(line))
        for text, speaker, weight in texts
        for line in _sentences(_CODE.sub(" ", text[:TEXT_CHARS_MAX]))
    ]
    unknown = [sentence for sentence in spoken if sentence.text not in known]
    new = _distinct([each for each in unknown if len(each.terms) >= _TELLING_TERMS_MIN] or unknown)
    room_for_new = budget_chars - sum(len(sentence.text) + 1 for sentence in new)
    chosen = _choose(kept, max(int(budget_chars * PREVIOUS_SHARE), room_for_new) if new else budget_chars)
    used = sum(len(line) + 1 for line in chosen)
    return "\n".join([*chosen, *_choose(new, budget_chars - used)])


def _terms(line: str, names: frozenset[str]) -> tuple[str, ...]:
    """The line's terms without the speakers' names: they stand in every second line and mean nothing."""
    return tuple(term for term in query_tokens(line) if term not in names)


def _worth(line: str) -> float:
    worth = 1.0
    for pattern, factor in _FACTORS:
        if pattern.search(line):
            worth *= factor
    return worth


def _sentences(text: str) -> list[str]:
    found: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if "\n" not in match.group() and _ABBREVIATION.search(text[max(start, match.start() - 8) : match.start()]):
            continue
        found.append(text[start : match.end()])
        start = match.end()
    found.append(text[start:])
    return [_shortened(" ".join(each.split()), SENTENCE_CHARS_MAX) for each in found if each.strip()]


def _shortened(text: str, chars_max: int) -> str:
    """The text, or its beginning up to a word's end with an ellipsis; empty when not even that fits."""
    if len(text) <= chars_max:
        return text
    if chars_max < 2:
        return ""
    head = text[: chars_max - 1]
    space = head.rfind(" ")
    return (head[:space] if space > chars_max // 2 else head).rstrip(" ,;:") + "…"


def _distinct(sentences: Iterable[_Sentence]) -> list[_Sentence]:
    """Sentences with something in them, those with the same terms once, numbered in their order."""
    found: dict[tuple[str, ...], _Sentence] = {}
    for sentence in sentences:
        if sentence.terms and sentence.terms not in found:
            sentence.place = len(found)
            found[sentence.terms] = sentence
    return list(found.values())


def _choose(sentences: Sequence[_Sentence], budget_chars: int) -> list[str]:
    """The sentences to keep, in order; the one that weighs most is cut to fit rather than nothing said at all."""
    if not sentences or budget_chars <= 0:
        return []
    if sum(len(sentence.text) + 1 for sentence in sentences) - 1 <= budget_chars:
        return [sentence.text for sentence in sentences]
    holding = Counter(term for sentence in sentences for term in sentence.terms)
    frequency = {term: count / len(sentences) for term, count in holding.items()}
    queue = [(-_weight(sentence, frequency), sentence.place) for sentence in sentences]
    heapq.heapify(queue)
    first = sentences[queue[0][1]]
    chosen: list[_Sentence] = []
    left = budget_chars
    shortest = min(len(sentence.text) for sentence in sentences)
    while queue and left >= shortest:
        _, place = heapq.heappop(queue)
        sentence = sentences[place]
        if len(sentence.text) > left:
            continue
        now = -_weight(sentence, frequency)
        if queue and (now, place) > queue[0]:
            heapq.heappush(queue, (now, place))
            continue
        chosen.append(sentence)
        left -= len(sentence.text) + 1
        for term in sentence.terms:
            frequency[term] *= frequency[term]
    if not chosen:
        cut = _shortened(first.text, budget_chars)
        return [cut] if cut else []
    return [sentence.text for sentence in sorted(chosen, key=lambda each: each.place)]


def _weight(sentence: _Sentence, frequency: dict[str, float]) -> float:
    return sentence.weight * sum(frequency[term] for term in sentence.terms) / max(_TERMS_MIN, len(sentence.terms))
