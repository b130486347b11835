"""Topics and entities: what a value may look like. Clients refuse a comma inside one, so none ever leaves the server."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SPACES = re.compile(r"\s+")
TAG_LENGTH_MAX = 100
"""Of a derived tag, in characters; a client's own may be longer (limits)."""


def clean_tags(values: Iterable[str]) -> tuple[str, ...]:
    """Derived tags made storable: commas become spaces, blanks collapse, empty, overlong and repeated ones go."""
    cleaned = (_SPACES.sub(" ", value.replace(",", " ")).strip() for value in values)
    return tuple(dict.fromkeys(value for value in cleaned if 0 < len(value) <= TAG_LENGTH_MAX))
