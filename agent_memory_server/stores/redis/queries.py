"""``domain.filters.MemoryFilter`` as a query of the search engine, made of digests and numbers alone.

The contract suite proves that these queries and ``MemoryFilter.matches`` agree, operator by operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import Memory, Source
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.rows import ANY, PLAIN_FIELDS, memory_of_fields, source_number
from agent_memory_server.stores.redis.scopes import owners
from agent_memory_server.stores.redis.walking import walk
from agent_memory_server.stores.values import micros


@dataclass(frozen=True, slots=True)
class Query:
    """A query over memories. ``selector``: the scope with plain equalities of the filter folded in."""

    text: str
    selector: ScopeSelector
    has_owner_filters: bool
    """Filters over namespace or user say more than the selector."""


def scope_clause(selector: ScopeSelector, *, live: bool) -> str:
    return f"@s:{{{naming.index_token(selector.tenant, naming.tag_of(selector), live=live)}}}"


def unexpired_clause(now: datetime) -> str:
    return f"-@expires:[-inf {micros(now)}]"


def _tags(field: str, values: Iterable[str]) -> str:
    return f"@{field}:{{{'|'.join(dict.fromkeys(naming.digest(value) for value in values))}}}"


def _text_clauses(field: str, wanted: TextFilter) -> list[str] | None:
    """Clauses that are ANDed; None when nothing can match. ``startswith`` has been resolved before."""
    found: list[str] = []
    if wanted.eq is not None:
        found.append(_tags(field, (wanted.eq,)))
    if wanted.ne is not None:
        found.append("-" + _tags(field, (wanted.ne,)))
    if wanted.any is not None:
        if not wanted.any:
            return None
        found.append(_tags(field, wanted.any))
    found.extend(_tags(field, (value,)) for value in dict.fromkeys(wanted.all or ()))
    if wanted.none:
        found.append("-" + _tags(field, wanted.none))
    if wanted.startswith == "":
        found.append(f"@{field}:{{{ANY}}}")
    return found


def _time_clauses(field: str, wanted: TimeFilter) -> list[str]:
    plain = wanted.as_comparisons()
    forms = (
        (plain.eq, "@{0}:[{1} {1}]"),
        (plain.ne, "-@{0}:[{1} {1}]"),
        (plain.gt, "@{0}:[({1} +inf]"),
        (plain.gte, "@{0}:[{1} +inf]"),
        (plain.lt, "@{0}:[-inf ({1}]"),
        (plain.lte, "@{0}:[-inf {1}]"),
    )
    return [form.format(field, micros(value)) for value, form in forms if value is not None]


_TEXTS = (
    ("namespace", "ns"),
    ("user_id", "usr"),
    ("session_id", "ses"),
    ("topics", "top"),
    ("entities", "ent"),
    ("memory_type", "typ"),
    ("extraction_strategy", "str"),
    ("memory_hash", "hsh"),
)
_TIMES = (("created_at", "created"), ("last_accessed", "la"), ("event_date", "event"))


async def query_of(index: Index, criteria: MemoryFilter, now: datetime) -> Query | None:
    """The filter as a query; None when nothing can match."""
    prefixed = await _prefixed(index, criteria, now)
    selector, rest = naming.narrowed(criteria.selector, criteria.namespace, criteria.user_id)
    clauses = [scope_clause(selector, live=not criteria.include_superseded), unexpired_clause(now)]
    for name, field in _TEXTS:
        wanted: TextFilter | None = getattr(criteria, name)
        if wanted is None or (field in ("ns", "usr") and not rest):
            continue
        made = _text_clauses(field, wanted)
        if made is None:
            return None
        clauses += made
    for name, values in prefixed.items():
        if not values:
            return None
        clauses.append(_tags(dict(_TEXTS)[name], sorted(values)))
    for name, field in _TIMES:
        moment: TimeFilter | None = getattr(criteria, name)
        if moment is not None:
            clauses += _time_clauses(field, moment)
    if criteria.valid_at is not None:
        at = micros(criteria.valid_at)
        clauses += [f"-@beg:[({at} +inf]", f"-@end:[-inf {at}]"]
    clauses += _provenance_clauses(criteria)
    if criteria.unchanged_since is not None:
        clauses.append(f"-@chg:[({criteria.unchanged_since} +inf]")
    return Query(f"({' '.join(clauses)})", selector, rest)


def _provenance_clauses(criteria: MemoryFilter) -> list[str]:
    """Where it came from and how far it is trusted. A memory without these fields is a user's own, fully trusted words."""
    clauses: list[str] = []
    if criteria.sources is not None:
        if Source.USER in criteria.sources:
            left_out = (source_number(each) for each in Source if each not in criteria.sources)
            clauses += [f"-@src:[{number} {number}]" for number in left_out]
        else:
            allowed = [source_number(each) for each in Source if each in criteria.sources]
            clauses.append(f"({' | '.join(f'@src:[{number} {number}]' for number in allowed or (-1,))})")
    if criteria.trust_min is not None:
        clauses.append(f"-@trs:[-inf ({criteria.trust_min!r}]")
    return clauses


async def _prefixed(index: Index, criteria: MemoryFilter, now: datetime) -> dict[str, set[str]]:
    """For each field with a ``startswith`` the values that are there and begin so: the index holds digests, which have no
    beginnings."""
    wanted: dict[str, str] = {
        name: each.startswith for name, _ in _TEXTS if (each := getattr(criteria, name)) is not None and each.startswith
    }
    found: dict[str, set[str]] = {}
    memories: list[Memory] | None = None
    for name, prefix in wanted.items():
        if name in ("namespace", "user_id"):
            held = (getattr(scope, name) for scope in await owners(index.link, criteria.selector))
            found[name] = {value for value in held if value is not None and value.startswith(prefix)}
        else:
            memories = await _walked(index, criteria, now) if memories is None else memories
            values = (value for memory in memories for value in _values_of(memory, name))
            found[name] = {value for value in values if value.startswith(prefix)}
    return found


def _values_of(memory: Memory, name: str) -> tuple[str, ...]:
    if name in ("topics", "entities"):
        return getattr(memory, name)
    value = {
        "session_id": memory.scope.session_id,
        "memory_type": memory.memory_type.value,
        "extraction_strategy": memory.extraction_strategy,
        "memory_hash": memory.memory_hash,
    }[name]
    return () if value is None else (value,)


async def _walked(index: Index, criteria: MemoryFilter, now: datetime) -> list[Memory]:
    """Every memory that matches all but the prefixes: what a prefix over anything but the owner costs."""
    bare = {
        name: replace(wanted, startswith=None) for name, _ in _TEXTS if (wanted := getattr(criteria, name)) is not None
    }
    query = await query_of(index, replace(criteria, **bare), now)
    if query is None:
        return []
    rows = await walk(index, query.text, PLAIN_FIELDS, limit=None, after=None)
    found = (memory_of_fields([row.get(name.encode()) for name in PLAIN_FIELDS]) for _, row in rows)
    return [memory for memory in found if memory is not None]
