"""Filters over memories, as one pure definition that every engine has to agree with (``MemoryFilter.matches``).

All operators of one field are ANDed, and so are all fields. Values compare exactly and case-sensitively. A single-valued
field behaves as a set of one value, or of none when it is absent: so ``ne`` and ``none`` hold for an absent value, the
others do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import Memory, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFilter:
    """Operators over a text or tag field; an operator that is None is not applied."""

    eq: str | None = None
    ne: str | None = None
    any: tuple[str, ...] | None = None
    all: tuple[str, ...] | None = None
    none: tuple[str, ...] | None = None
    startswith: str | None = None

    def matches(self, values: Iterable[str]) -> bool:
        held = frozenset(values)
        return (
            (self.eq is None or self.eq in held)
            and (self.ne is None or self.ne not in held)
            and (self.any is None or not held.isdisjoint(self.any))
            and (self.all is None or held.issuperset(self.all))
            and (self.none is None or held.isdisjoint(self.none))
            and (self.startswith is None or any(value.startswith(self.startswith) for value in held))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFilter:
    """Operators over a time, at microseconds. ``between`` is (from, to), its ends included as ``inclusive`` says."""

    eq: datetime | None = None
    ne: datetime | None = None
    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None
    between: tuple[datetime, datetime] | None = None
    inclusive: str = "both"
    """both · neither · left · right"""

    def matches(self, value: datetime | None) -> bool:
        if value is None:
            return all(getattr(self, name) is None for name in ("eq", "gt", "gte", "lt", "lte", "between"))
        plain = self.as_comparisons()
        return (
            (plain.eq is None or value == plain.eq)
            and (plain.ne is None or value != plain.ne)
            and (plain.gt is None or value > plain.gt)
            and (plain.gte is None or value >= plain.gte)
            and (plain.lt is None or value < plain.lt)
            and (plain.lte is None or value <= plain.lte)
        )

    def as_comparisons(self) -> TimeFilter:
        """The same filter without ``between``: its ends become gt/gte and lt/lte, ANDed with those that are there."""
        if self.between is None:
            return self
        low, high = self.between
        gt, gte, lt, lte = self.gt, self.gte, self.lt, self.lte
        if self.inclusive in ("both", "left"):
            gte = low if gte is None else max(gte, low)
        else:
            gt = low if gt is None else max(gt, low)
        if self.inclusive in ("both", "right"):
            lte = high if lte is None else min(lte, high)
        else:
            lt = high if lt is None else min(lt, high)
        return TimeFilter(eq=self.eq, ne=self.ne, gt=gt, gte=gte, lt=lt, lte=lte)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFilter:
    """Which memories a listing or search may return. ``selector`` is the hard scope; the rest narrows it further."""

    selector: ScopeSelector
    namespace: TextFilter | None = None
    user_id: TextFilter | None = None
    session_id: TextFilter | None = None
    topics: TextFilter | None = None
    entities: TextFilter | None = None
    memory_type: TextFilter | None = None
    extraction_strategy: TextFilter | None = None
    memory_hash: TextFilter | None = None
    created_at: TimeFilter | None = None
    last_accessed: TimeFilter | None = None
    event_date: TimeFilter | None = None
    valid_at: datetime | None = None
    """Only what was so at that time: it began by then (``valid_from``, else ``event_date``) and had not ended (``valid_to``)."""
    unchanged_since: int | None = None
    """Only what did not change since that ``Journal.point``. Engines alone can tell: ``matches`` does not look at it."""
    sources: frozenset[Source] | None = None
    """Only memories of one of these."""
    trust_min: float | None = None
    """Only memories that are trusted at least so much."""
    include_superseded: bool = False

    @property
    def is_scope_only(self) -> bool:
        """True when nothing but the owner scope (selector, namespace, user) narrows the result."""
        return all(getattr(self, name) is None for name in _BEYOND_SCOPE)

    def matches(self, memory: Memory, now: datetime) -> bool:
        """The meaning of the filter. ``now`` decides about expiry (``expires_at`` in the past is gone)."""
        if not self.selector.admits(memory.scope):
            return False
        if memory.superseded_by is not None and not self.include_superseded:
            return False
        if memory.expires_at is not None and memory.expires_at <= now:
            return False
        return next(self._refusing(memory), None) is None

    def refusing(self, memory: Memory) -> tuple[str, ...]:
        """The fields whose filters leave this memory out, the scope's first; expiry and superseding are not fields."""
        selector, scope = self.selector, memory.scope
        named = [
            name
            for name, wanted, held in (
                ("namespace", selector.namespace, scope.namespace),
                ("user_id", selector.user_id, scope.user_id),
            )
            if wanted is not None and wanted != held
        ]
        return tuple(dict.fromkeys([*named, *self._refusing(memory)]))

    def _refusing(self, memory: Memory) -> Iterator[str]:
        texts: tuple[tuple[str, TextFilter | None, tuple[str, ...]], ...] = (
            ("namespace", self.namespace, _held(memory.scope.namespace)),
            ("user_id", self.user_id, _held(memory.scope.user_id)),
            ("session_id", self.session_id, _held(memory.scope.session_id)),
            ("topics", self.topics, memory.topics),
            ("entities", self.entities, memory.entities),
            ("memory_type", self.memory_type, (memory.memory_type.value,)),
            ("extraction_strategy", self.extraction_strategy, _held(memory.extraction_strategy)),
            ("memory_hash", self.memory_hash, _held(memory.memory_hash)),
        )
        times = (
            ("created_at", self.created_at, memory.created_at),
            ("last_accessed", self.last_accessed, memory.last_accessed),
            ("event_date", self.event_date, memory.event_date),
        )
        yield from (name for name, each, values in texts if each is not None and not each.matches(values))
        yield from (name for name, each, value in times if each is not None and not each.matches(value))
        if self.valid_at is not None and not is_valid(memory, self.valid_at):
            yield "valid_at"
        if self.sources is not None and memory.source not in self.sources:
            yield "sources"
        if self.trust_min is not None and memory.trust < self.trust_min:
            yield "min_trust"


_OWNER = ("selector", "namespace", "user_id", "include_superseded")
_BEYOND_SCOPE = tuple(spec.name for spec in fields(MemoryFilter) if spec.name not in _OWNER)


def is_valid(memory: Memory, moment: datetime) -> bool:
    """Whether the memory says something of that time. An end is the first moment at which it is not so any more."""
    begins = memory.valid_from or memory.event_date
    return (begins is None or begins <= moment) and (memory.valid_to is None or memory.valid_to > moment)


def _held(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)
