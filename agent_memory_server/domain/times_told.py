"""Whether a question asks for a time, and whether a text tells one.

    "When did Ana move?", "in which month …", "how long has she …"     asks
    "last Friday", "two years ago", "in May", "since 2019"              tells

English only, and only what a few words say; times of the clock and numbers are left out. In other languages nothing asks, so
nothing is ordered by it.
"""

from __future__ import annotations

import re

_ASKS = re.compile(
    r"^\W*when\b|\bwhen (?:did|does|do|is|was|are|were|has|have|had|will|would|can|could|should)\b"
    r"|\b(?:what|which) (?:date|day|month|year|time)\b|\bhow long (?:ago|has|have|had|did)\b",
    re.IGNORECASE,
)
_TELLS = re.compile(
    r"\b(?:yesterday|today|tomorrow|tonight|last|next|ago|since|recently|soon|morning|evening|night"
    r"|(?:day|week|weekend|month|year|spring|summer|autumn|winter)s?|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|january|february|march|april|may|june|july|august|september|october|november|december|(?:19|20)\d\d"
    r"|\d{1,2}(?:st|nd|rd|th)|on the (?:first|second|third|[a-z]+th))\b"
)
"""Of text in lower case: looking for both cases takes three times as long, and a search reads some two hundred texts."""


def asks_when(query: str) -> bool:
    return _ASKS.search(query) is not None


def tells_when(text: str) -> bool:
    return _TELLS.search(text.lower()) is not None
