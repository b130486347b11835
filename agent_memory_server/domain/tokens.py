"""Text as index terms: what keyword search stores and looks up, the same in every engine.

The promise: a text and a query about it meet in at least one term, in any script. Words are split by Unicode's idea of
letters, digits and marks, folded (compatibility forms, case, accents), and English words are reduced to their stems.
Scripts that do not set words apart (Chinese, Japanese, Thai, Lao, Khmer, Burmese), and Korean, whose particles stick to its
words, become characters and pairs of neighbouring characters.
An emoji is a term of its own. Terms are stored, so a change of these rules needs a re-indexing.

Everything is linear in the text. A run of letters longer than ``TERM_LENGTH_MAX`` becomes several terms.
"""

from __future__ import annotations

import re
import sys
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Protocol, cast

import Stemmer

TERM_LENGTH_MAX = 64
QUERY_TERMS_MAX = 64
"""Distinct terms of a query that are looked up: the first ones."""

_POSSESSIVES_AND_CONTRACTIONS = frozenset({"s", "m", "re", "ve", "ll", "d"})
_ELISIONS = frozenset({"l", "d", "j", "c", "n", "s", "m", "t", "qu"})

STOP_WORDS = frozenset(
    """
    a about above after again against all am an and any are arent as at be because been before being below between both
    but by can cannot cant could couldnt did didnt do does doesnt doing dont down during each few for from further had
    hadnt has hasnt have havent having he her here hers herself him himself his how i if in into is isnt it its itself
    let me more most mustnt my myself no nor not of off on once only or other ought our ours ourselves out over own same
    shall shant she should shouldnt so some such than that the their theirs them themselves then there these they this
    those through to too under until up us very was wasnt we were werent what when where which while who whom whose why
    will with wont would wouldnt you your yours yourself yourselves
    """.split()  # noqa: SIM905 - two hundred quoted words read worse
)
"""English words that say nothing about what a query is after. They are indexed, so that a query of nothing else finds."""

_ASCII_WORD = re.compile(rf"[a-z0-9]{{1,{TERM_LENGTH_MAX}}}(?:'[a-z0-9]{{1,{TERM_LENGTH_MAX}}}){{0,3}}")
_PIECE = re.compile(r"\S+")
_ACCENT = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc]+"
)
"""Marks that writers leave out as they please: Latin, Greek and Cyrillic accents, Hebrew points, Arabic vowels and kashida."""
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0020-\U000e007f]+")
_APOSTROPHE = re.compile("[\u2018\u2019\u201b\u02bc\u02b9\u055a\u05f3]")
_UNSEPARATED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u1780-\u17d3\u1100-\u11ff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c\u3041-\u3096\u3099\u309a\u309d-\u309f"
    "\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_EMOJI = (
    "[\U0001f1e6-\U0001f1ff]{2}|"
    "[\u203c\u2049\u2190-\u21ff\u2300-\u23ff\u2460-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)


def index_tokens(
    text: str, name: str | None = None, topics: Iterable[str] = (), entities: Iterable[str] = ()
) -> Mapping[str, int]:
    """The terms of a memory with how often each stands in it: its text, whose it is, its topics and its entities."""
    terms = list(_index_terms(text))
    for part in (name, *topics, *entities):
        if part:
            terms += _index_terms(part)
    return Counter(terms)


def query_tokens(text: str) -> tuple[str, ...]:
    """The distinct terms to look up, in the order of the query, at most ``QUERY_TERMS_MAX``.

    Stop words are left out when anything else remains. Empty when the text holds no letter, digit or emoji.
    """
    telling = _first_distinct(_query_terms(word) for word in _words(text) if _surface(word) not in STOP_WORDS)
    return telling or _first_distinct(map(_query_terms, _words(text)))


def telling_spans(text: str) -> list[tuple[int, int, tuple[str, ...]]]:
    """The text's pieces between white space that are not only stop words: (start, end, terms to look up), in order.

    Empty when nothing but stop words and punctuation is there.
    """
    spans: list[tuple[int, int, tuple[str, ...]]] = []
    for piece in _PIECE.finditer(text):
        telling = [word for word in _words(piece.group()) if _surface(word) not in STOP_WORDS]
        if telling:
            terms = tuple(term for word in telling for term in _query_terms(word))
            spans.append((piece.start(), piece.end(), terms))
    return spans


def _index_terms(text: str) -> Iterable[str]:
    if text.isascii():
        return map(_term, _ASCII_WORD.findall(text.lower()))
    return _index_terms_in_any_script(_words(text))


def _index_terms_in_any_script(words: Iterable[str]) -> Iterator[str]:
    is_unseparated = _unseparated_run().match
    for word in words:
        if is_unseparated(word):
            # Single characters too: a query of one character has no pair to look up.
            yield from word
            yield from _pairs(word)
        else:
            yield _term(word)


def _query_terms(word: str) -> tuple[str, ...]:
    if not word.isascii() and _unseparated_run().match(word):
        return tuple(_pairs(word)) if len(word) > 1 else (word,)
    return (_term(word),)


def _first_distinct(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for group in groups:
        for term in group:
            found[term] = None
            if len(found) == QUERY_TERMS_MAX:
                return tuple(found)
    return tuple(found)


def _pairs(run: str) -> Iterator[str]:
    return (run[place : place + 2] for place in range(len(run) - 1))


def _words(text: str) -> list[str]:
    """The folded words, unseparated runs and emoji of the text, in order."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _word_of_any_script().findall(_folded(text))


def _folded(text: str) -> str:
    """Compatibility forms, case, accents and invisible characters out of the way; typographic apostrophes made plain."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    plain = _ACCENT.sub("", _INVISIBLE.sub("", decomposed))
    # Case folding can leave decomposed marks behind ("İ"), and composed Hangul and kana come back here.
    return _APOSTROPHE.sub("'", unicodedata.normalize("NFKC", plain))


@lru_cache(maxsize=32_768)
def _term(word: str) -> str:
    """The index term of one folded word. The words are at most a few hundred characters long, so the cache is bounded."""
    surface = _surface(word)
    return sys.intern(_stemmer().stemWord(surface)) if surface.isascii() else surface


def _surface(word: str) -> str:
    """The word without possessive, contraction, elision and apostrophes: "ana's" → "ana", "l'eau" → "eau", "don't" → "dont"."""
    if "'" not in word:
        return word
    head, _, tail = word.rpartition("'")
    if tail in _POSSESSIVES_AND_CONTRACTIONS:
        return head.replace("'", "")
    head, _, tail = word.partition("'")
    if head in _ELISIONS and len(tail) > 1:
        return tail.replace("'", "")
    return word.replace("'", "")


class _Stemmer(Protocol):
    def stemWord(self, word: str, /) -> str: ...  # noqa: N802 - the library's name


_of_this_thread = threading.local()


def _stemmer() -> _Stemmer:
    """A stemmer of this thread's own, made on first use: a shared one is not safe across threads."""
    stemmer: _Stemmer | None = getattr(_of_this_thread, "stemmer", None)
    if stemmer is None:
        stemmer = cast(_Stemmer, Stemmer.Stemmer("english", 0))  # pyright: ignore[reportUnknownMemberType]
        _of_this_thread.stemmer = stemmer
    return stemmer


@cache
def _unseparated_run() -> re.Pattern[str]:
    return re.compile(f"[{_UNSEPARATED}]")


@cache
def _word_of_any_script() -> re.Pattern[str]:
    """Runs of unseparated scripts, words with their marks (vowel signs are marks in many scripts), or one emoji.

    Python's ``\\w`` leaves marks out, so their ranges are collected from the Unicode data: some ten milliseconds, once,
    for the first text that is not plain ASCII.
    """
    marks = "".join(_ranges(code for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M"))
    letter = rf"(?:(?![{_UNSEPARATED}])[^\W_]|[{marks}])"
    word = rf"{letter}{{1,{TERM_LENGTH_MAX}}}(?:'{letter}{{1,{TERM_LENGTH_MAX}}}){{0,3}}"
    return re.compile(rf"[{_UNSEPARATED}]+|{word}|{_EMOJI}")


def _ranges(codes: Iterable[int]) -> Iterator[str]:
    """Ascending code points as the ranges of a character class."""
    first = last = -2
    for code in codes:
        if code != last + 1:
            if first >= 0:
                yield f"{chr(first)}-{chr(last)}"
            first = code
        last = code
    if first >= 0:
        yield f"{chr(first)}-{chr(last)}"
