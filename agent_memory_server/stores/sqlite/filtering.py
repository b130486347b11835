"""``domain.filters.MemoryFilter`` as SQL conditions. Values are always bound; the text of a condition is ours alone.

The contract suite proves that these conditions and ``MemoryFilter.matches`` agree, operator by operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.stores.values import micros

TOPIC = 1
ENTITY = 2


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean SQL expression and the values for its placeholders."""

    sql: str
    values: tuple[Any, ...] = ()

    @staticmethod
    def all_of(*conditions: Condition) -> Condition:
        if not conditions:
            return Condition("1")
        values = tuple(value for condition in conditions for value in condition.values)
        return Condition(" AND ".join(f"({condition.sql})" for condition in conditions), values)


_NEVER = Condition("0")


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def after_prefix(prefix: str) -> str | None:
    """The least text greater than every text that starts with ``prefix``; None when there is none.

    SQLite compares UTF-8 bytes, which is the order of code points. Surrogates are no characters, so they are skipped.
    """
    for position in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[position]) + 1
        if 0xD800 <= code <= 0xDFFF:
            code = 0xE000
        if code <= 0x10FFFF:
            return prefix[:position] + chr(code)
    return None


def prefix_condition(column: str, prefix: str) -> Condition:
    """Values that start with ``prefix``, by a range: exact for every character, and an index can serve it."""
    if not prefix:
        return Condition(f"{column} IS NOT NULL")
    end = after_prefix(prefix)
    if end is None:
        return Condition(f"{column} >= ?", (prefix,))
    return Condition(f"{column} >= ? AND {column} < ?", (prefix, end))


def text_condition(column: str, wanted: TextFilter) -> Condition:
    """A filter over a column with one value, or none (NULL)."""
    found: list[Condition] = []
    if wanted.eq is not None:
        found.append(Condition(f"{column} = ?", (wanted.eq,)))
    if wanted.ne is not None:
        found.append(Condition(f"{column} IS NOT ?", (wanted.ne,)))
    if wanted.any is not None:
        found.append(Condition(f"{column} IN ({_marks(wanted.any)})", wanted.any) if wanted.any else _NEVER)
    if wanted.all is not None:
        distinct = tuple(dict.fromkeys(wanted.all))
        if len(distinct) == 1:
            found.append(Condition(f"{column} = ?", distinct))
        elif distinct:
            found.append(_NEVER)
    if wanted.none:
        found.append(Condition(f"{column} IS NULL OR {column} NOT IN ({_marks(wanted.none)})", wanted.none))
    if wanted.startswith is not None:
        found.append(prefix_condition(column, wanted.startswith))
    return Condition.all_of(*found)


def tag_condition(kind: int, wanted: TextFilter, *, tenant_id: int, scope_id: int | None) -> Condition:
    """A filter over a memory's topics or entities (``m`` is the memory), served by the tags' own key."""
    place = "g.tenant_id = ? AND g.kind = ?" + ("" if scope_id is None else " AND g.scope_id = ?")
    at = (tenant_id, kind) if scope_id is None else (tenant_id, kind, scope_id)
    found: list[Condition] = []

    def having(condition: Condition) -> Condition:
        sql = f"m.handle IN (SELECT g.handle FROM tags AS g WHERE {place} AND {condition.sql})"
        return Condition(sql, (*at, *condition.values))

    positive = [*(wanted.all or ()), *(() if wanted.eq is None else (wanted.eq,))]
    found.extend(having(Condition("g.value = ?", (value,))) for value in dict.fromkeys(positive))
    if wanted.any is not None:
        found.append(having(Condition(f"g.value IN ({_marks(wanted.any)})", wanted.any)) if wanted.any else _NEVER)
    negative = (*(wanted.none or ()), *(() if wanted.ne is None else (wanted.ne,)))
    if negative:
        found.append(
            Condition(
                "NOT EXISTS (SELECT 1 FROM tags AS g WHERE g.tenant_id = m.tenant_id AND g.kind = ? "
                f"AND g.value IN ({_marks(negative)}) AND g.scope_id = m.scope_id AND g.handle = m.handle)",
                (kind, *negative),
            )
        )
    if wanted.startswith is not None:
        found.append(having(prefix_condition("g.value", wanted.startswith)))
    return Condition.all_of(*found)


_COMPARISONS = (("eq", "="), ("ne", "IS NOT"), ("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<="))


def time_condition(column: str, wanted: TimeFilter) -> Condition:
    """A filter over a time; an absent one (NULL) satisfies ``ne`` alone."""
    plain = wanted.as_comparisons()
    found: list[Condition] = []
    for name, operator in _COMPARISONS:
        value: datetime | None = getattr(plain, name)
        if value is not None:
            found.append(Condition(f"{column} {operator} ?", (micros(value),)))
    return Condition.all_of(*found)


def narrowing(criteria: MemoryFilter, now: datetime, *, tenant_id: int, scope_id: int | None) -> Condition:
    """Everything of the filter but the owner scope, over ``memories AS m``. ``scope_id``: when there is only one."""
    found = [Condition("m.expires_at IS NULL OR m.expires_at > ?", (micros(now),))]
    if not criteria.include_superseded:
        found.append(Condition("m.superseded_by IS NULL"))
    single = (
        ("m.session_id", criteria.session_id),
        ("m.memory_type", criteria.memory_type),
        ("m.strategy", criteria.extraction_strategy),
        ("m.memory_hash", criteria.memory_hash),
    )
    found.extend(text_condition(column, wanted) for column, wanted in single if wanted is not None)
    tagged = ((TOPIC, criteria.topics), (ENTITY, criteria.entities))
    found.extend(
        tag_condition(kind, wanted, tenant_id=tenant_id, scope_id=scope_id)
        for kind, wanted in tagged
        if wanted is not None
    )
    times = (
        ("m.created_at", criteria.created_at),
        ("m.last_accessed", criteria.last_accessed),
        ("m.event_date", criteria.event_date),
    )
    found.extend(time_condition(column, wanted) for column, wanted in times if wanted is not None)
    if criteria.valid_at is not None:
        found.append(_valid_at(micros(criteria.valid_at)))
    if criteria.sources is not None:
        allowed = tuple(sorted(each.value for each in criteria.sources))
        found.append(Condition(f"coalesce(m.extra ->> 'source', 'user') IN ({_marks(allowed)})", allowed))
    if criteria.trust_min is not None:
        found.append(Condition("coalesce(m.extra ->> 'trust', 1.0) >= ?", (criteria.trust_min,)))
    if criteria.unchanged_since is not None:
        found.append(_unchanged(criteria.unchanged_since, scope_id=scope_id))
    return Condition.all_of(*found)


def _valid_at(moment: int) -> Condition:
    return Condition(
        "coalesce(m.extra ->> 'valid_from', m.event_date, ?) <= ? AND coalesce(m.extra ->> 'valid_to', ?) > ?",
        (moment, moment, moment + 1, moment),
    )


def _unchanged(sequence: int, *, scope_id: int | None) -> Condition:
    """No revision after that sequence: one set of ids, collected once, however many memories are looked at."""
    changed = "e.operation > ? AND e.effect NOT IN ('unchanged', 'absent', 'spared')"
    if scope_id is None:
        return Condition(
            f"(m.scope_id, m.id) NOT IN (SELECT e.scope_id, e.memory_id FROM entries AS e WHERE {changed})", (sequence,)
        )
    return Condition(
        f"m.id NOT IN (SELECT e.memory_id FROM entries AS e WHERE e.scope_id = ? AND {changed})", (scope_id, sequence)
    )
