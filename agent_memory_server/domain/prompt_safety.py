"""Stored text on its way into a prompt: data, never an instruction.

The layout of the memory prompt is fixed by the contract (one line a memory under a heading), so the fence is that stored
text cannot leave its line or begin a heading of its own.
"""

from __future__ import annotations

import re

_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_HEADING = re.compile(r"(?m)^(\s*)(#{1,6}\s)")


def on_one_line(text: str) -> str:
    """The text with every line break as one space, so that it stays inside its list line."""
    return _BREAKS.sub(" ", text).strip()


def without_headings(text: str) -> str:
    """The text with Markdown headings escaped, so that it cannot pose as a section of the prompt around it."""
    return _HEADING.sub(r"\1\\\2", text)
