"""Many keys looked up by few statements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from agent_memory_server.stores.sqlite.connections import Connected, Row

_KEYS_AT_ONCE = 250


def rows_of_each(
    connected: Connected,
    names: Sequence[str],
    keys: Sequence[tuple[Any, ...]],
    query: str,
    values: tuple[Any, ...] = (),
) -> list[Row]:
    """The rows of a query over ``wanted``, a table of the keys: their number from 0 on as ``n``, and a column for each name.

    The query is asked for a few hundred keys at a time, and orders its rows by ``n`` itself; ``values`` are bound after them.
    """
    found: list[Row] = []
    for first in range(0, len(keys), _KEYS_AT_ONCE):
        some = [(number, *key) for number, key in enumerate(keys[first : first + _KEYS_AT_ONCE], first)]
        row = f"({','.join('?' * (len(names) + 1))})"
        table = f"WITH wanted (n, {', '.join(names)}) AS (VALUES {','.join([row] * len(some))}) "
        found += connected.rows(table + query, (*chain.from_iterable(some), *values))
    return found
