"""Many rows with few statements: each statement gives up the interpreter lock, and gets it back late where others compute."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from agent_memory_server.stores.sqlite.connections import Connected

_VALUES_AT_ONCE = 6_000
"""Bound by one statement. Of longer ones the text is too long to be kept compiled."""


def insert_many(
    connected: Connected, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, computed: str = ""
) -> None:
    """Insert the rows, within a transaction that a failure undoes: SQLite keeps no journal of each statement (``OR FAIL``).

    ``columns`` are names of ours; ``computed`` is SQL for the last of them, which the rows leave out.
    """
    values = list(chain.from_iterable(rows))
    insert_values(connected, table, columns, values, computed=computed)


def insert_values(
    connected: Connected, table: str, columns: Sequence[str], values: Sequence[Any], *, computed: str = ""
) -> None:
    """The same of rows whose values stand one behind the other."""
    width = len(columns) - bool(computed)
    at_once = max(1, _VALUES_AT_ONCE // len(columns)) * width
    for first in range(0, len(values), at_once):
        some = values[first : first + at_once]
        connected.execute(_statement(table, tuple(columns), computed, len(some) // width), tuple(some))


@lru_cache(maxsize=256)
def _statement(table: str, columns: tuple[str, ...], computed: str, rows: int) -> str:
    values = ["?"] * (len(columns) - bool(computed))
    row = f"({','.join([*values, computed] if computed else values)})"
    return f"INSERT OR FAIL INTO {table} ({','.join(columns)}) VALUES {','.join([row] * rows)}"
