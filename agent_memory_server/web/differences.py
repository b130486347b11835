"""Two texts side by side, word by word, for pages that show what changed or would change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

DIFF_WORDS_MAX = 2_000
"""Longer texts are shown whole, before and after: comparing takes time in the square of their words."""
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


def word_differences(before: str, after: str) -> Sequence[tuple[str, str]]:
    """Pieces in order, each ``same``, ``gone`` or ``new``."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if max(len(old), len(new)) > DIFF_WORDS_MAX:
        return [("gone", before), ("new", after)]
    pieces: list[tuple[str, str]] = []
    for tag, first, last, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(("same", "".join(old[first:last])))
            continue
        pieces += [("gone", "".join(old[first:last]))] if last > first else []
        pieces += [("new", "".join(new[start:end]))] if end > start else []
    return pieces
