"""What a transaction writes, as the script that applies it takes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_memory_server.stores.redis.channel import Argument

ARRIVAL = "arr"
"""The field of a row that says when it came, among all that ever came: 20 digits."""
CHANGES_KEPT = 128
"""Memories of a selection whose latest changes are noted: who knows an older revision reads all of it anew."""

Written = tuple[str, tuple[Argument, ...]]
"""A flag of the script, and a command."""


@dataclass(slots=True)
class RowWrite:
    """Everything that a transaction changes of one row."""

    key: str
    fields: dict[str, Argument]
    gone: set[str]


@dataclass(slots=True)
class SelectionChange:
    """What a transaction changes of one selection of memories."""

    documents: int = 0
    terms: int = 0
    memories: dict[str, None] = field(default_factory=dict[str, None])


def commands_of(command: Written | RowWrite) -> list[Written]:
    if not isinstance(command, RowWrite):
        return [command]
    arrival = command.fields.pop(ARRIVAL, None)
    pairs = [part for pair in command.fields.items() for part in pair]
    flag = "-"
    if arrival is not None:
        # Last, where the script looks for it.
        pairs += (ARRIVAL, arrival)
        flag = "a" if is_coming(arrival) else "-"
    writes: list[Written] = [(flag, ("HSET", command.key, *pairs))]
    if command.gone:
        writes.append(("-", ("HDEL", command.key, *sorted(command.gone))))
    return writes


def is_coming(arrival: Argument) -> bool:
    """Whether an arrival is still to be given, by the script."""
    return isinstance(arrival, str) and arrival.startswith("#")
