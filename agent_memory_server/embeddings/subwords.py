"""Text as the subwords of a byte-pair vocabulary with word marks, as Llama 2's tokenizer makes them.

The same ids as the ``tokenizers`` library gives for the same file (a test holds them against each other), without its forty
megabytes. What makes it short: in these vocabularies no subword reaches over the beginning of a word, so words are cut up one
by one, and the commonest are remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

WORD_MARK = "▁"
"""Stands for the space before a word, and before the text."""
_WORD = re.compile(f"{WORD_MARK}*[^{WORD_MARK}]+|{WORD_MARK}+")
_REMEMBERED_MAX = 32_768
_REMEMBERED_LENGTH_MAX = 32
_NOBODY = -1
_BITS = 20
"""Of an id. A pair of ids, and a rank with the id of what comes of it, are one number each: sixty thousand tuples cost more."""
_MASK = (1 << _BITS) - 1


class Subword(NamedTuple):
    id: int
    last: int
    """Where its last character stands in the text; -1 for the mark before the text."""


class Subwords:
    """Safe for use by several threads."""

    def __init__(self, pieces: Mapping[str, int], merges: Mapping[int, int], controls: set[str]) -> None:
        """``merges``: for a pair of neighbours its rank (the lowest is merged first) and what they become. ``controls`` are
        pieces that stand for themselves wherever a text spells them out. Raises ValueError for a vocabulary of another kind."""
        if any(WORD_MARK in piece.lstrip(WORD_MARK) for piece in pieces):
            raise ValueError("a subword of this vocabulary reaches over the beginning of a word")
        self._pieces = pieces
        self._merges = merges
        self._controls = re.compile("|".join(map(re.escape, sorted(controls)))) if controls else None
        self._remembered = lru_cache(maxsize=_REMEMBERED_MAX)(self._of_word)

    @classmethod
    def of_file(cls, document: Mapping[str, Any]) -> Subwords:
        """From the JSON of a ``tokenizer.json``. Raises KeyError, ValueError or TypeError for one of another kind."""
        model = document["model"]
        pieces: dict[str, int] = model["vocab"]
        if model["type"] != "BPE" or not model.get("byte_fallback") or document.get("pre_tokenizer") is not None:
            raise ValueError("not a byte-pair vocabulary with word marks")
        merges: dict[int, int] = {}
        for rank, merge in enumerate(model["merges"]):
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            merges[pieces[left] << _BITS | pieces[right]] = rank << _BITS | pieces[left + right]
        return cls(pieces, merges, {each["content"] for each in document.get("added_tokens", ())})

    def known(self, size: int) -> list[bool]:
        """For each id below ``size`` whether it stands for text: no control, no bare space, no raw byte."""
        known = [False] * size
        for piece, identity in self._pieces.items():
            is_text = not piece.startswith("<0x") and piece.strip(WORD_MARK) != ""
            if identity < size and is_text and not (self._controls and self._controls.fullmatch(piece)):
                known[identity] = True
        return known

    def ids(self, text: str) -> list[int]:
        """Ids in order. Characters that the vocabulary lacks (it has bytes for them) and controls are left out."""
        return [identity for word, _ in self._words(text) for identity, _ in self._of(word)]

    def placed(self, text: str) -> list[Subword]:
        """As ``ids``, with where each ends."""
        return [Subword(identity, start + end) for word, start in self._words(text) for identity, end in self._of(word)]

    def _words(self, text: str) -> Iterator[tuple[str, int]]:
        """Marked words, and where in the text their first character would stand."""
        for section, start in self._sections(text):
            # The mark before the section is no character of the text.
            marked = WORD_MARK + section.replace(" ", WORD_MARK)
            for word in _WORD.finditer(marked):
                yield word.group(), start + word.start() - 1

    def _sections(self, text: str) -> Iterator[tuple[str, int]]:
        """The text between controls that are spelled out in it."""
        start = 0
        if self._controls is not None:
            for control in self._controls.finditer(text):
                if control.start() > start:
                    yield text[start : control.start()], start
                start = control.end()
        if start < len(text):
            yield text[start:], start

    def _of(self, word: str) -> tuple[tuple[int, int], ...]:
        return self._remembered(word) if len(word) <= _REMEMBERED_LENGTH_MAX else self._of_word(word)

    def _of_word(self, word: str) -> tuple[tuple[int, int], ...]:
        """(id, place of its last character in the word) of each subword: the best pair is merged until none is left.

        Places are found again through links, and merges that came to nothing are skipped, so that a word of a hundred thousand
        letters takes its letters times their logarithm.
        """
        merges = self._merges
        ids = [self._pieces.get(character, _NOBODY) for character in word]
        count = len(ids)
        before, after, last = [*range(-1, count - 1)], [*range(1, count), _NOBODY], [*range(count)]
        gone = [False] * count

        def merge_of(left: int, right: int) -> int | None:
            return None if ids[left] < 0 or ids[right] < 0 else merges.get(ids[left] << _BITS | ids[right])

        waiting = [
            (found, left, left + 1) for left in range(count - 1) if (found := merge_of(left, left + 1)) is not None
        ]
        heapify(waiting)
        while waiting:
            best, left, right = heappop(waiting)
            if gone[left] or gone[right] or merge_of(left, right) != best:
                continue  # one of them has become part of another
            ids[left], last[left], after[left], gone[right] = best & _MASK, last[right], after[right], True
            if after[left] != _NOBODY:
                before[after[left]] = left
            for one, other in ((before[left], left), (left, after[left])):
                if one != _NOBODY and other != _NOBODY and (found := merge_of(one, other)) is not None:
                    heappush(waiting, (found, one, other))
        return tuple((ids[place], last[place]) for place in range(count) if not gone[place] and ids[place] != _NOBODY)
