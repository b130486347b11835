"""Many rows with few statements: each statement gives up the interpreter lock, and gets it back late where others compute."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from agent_memory_server.stores.sqlite.connections import Connected

_VALUES_AT_ONCE = 1_200
"""Bound by one statement. Longer ones are no faster, and are not kept compiled."""


def insert_many(
    connected: Connected, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, computed: str = ""
) -> None:
    """Insert the rows, within a transaction that a failure undoes: SQLite keeps no journal of each statement (``OR FAIL``).

    ``columns`` are names of ours; ``computed`` is SQL for the last of them, which the rows leave out.
    """
    at_once = max(1, _VALUES_AT_ONCE // len(columns))
    for first in range(0, len(rows), at_once):
        some = rows[first : first + at_once]
        connected.execute(_statement(table, tuple(columns), computed, len(some)), tuple(chain.from_iterable(some)))


@lru_cache(maxsize=256)
def _statement(table: str, columns: tuple[str, ...], computed: str, rows: int) -> str:
    values = ["?"] * (len(columns) - bool(computed))
    row = f"({','.join([*values, computed] if computed else values)})"
    return f"INSERT OR FAIL INTO {table} ({','.join(columns)}) VALUES {','.join([row] * rows)}"
