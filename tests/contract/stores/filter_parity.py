"""Listing and counting agree with ``MemoryFilter.matches``, operator by operator. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Supersede
from agent_memory_server.domain.records import Memory, MemoryType, Source
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import T0, memory, operation, put

PARTS = (
    "a",
    "A",
    "a b",
    "a-b",
    "a|b",
    "ab",
    "%",
    "_",
    "a%",
    "u\0x",
    "u\0",
    "ü",
    "u\u0308",
    "é\U0010ffff",
    "'",
    "\ud7ff",
    "\ue000",
)
TIMES = tuple(T0 + timedelta(microseconds=number) for number in range(-2, 3))
TRUSTS = (1.0, 0.5, 0.3)
ROUNDS = 400


def _memories(random: np.random.Generator) -> list[Memory]:
    def some(values: tuple[str, ...], most: int) -> tuple[str, ...]:
        return tuple(
            str(each) for each in random.permutation(np.array(values, dtype=object))[: random.integers(0, most)]
        )

    def one(values: tuple[str, ...]) -> str | None:
        return None if random.random() < 0.2 else values[random.integers(len(values))]

    return [
        memory(
            f"{PARTS[number % len(PARTS)]}{number}",
            f"text {number}",
            scope=Scope("acme", one(PARTS), one(PARTS[:5]), one(PARTS)),
            topics=some(PARTS, 5),
            entities=some(PARTS, 3),
            memory_type=list(MemoryType)[random.integers(3)],
            extraction_strategy=PARTS[random.integers(5)],
            memory_hash=PARTS[random.integers(5)],
            created_at=TIMES[random.integers(5)],
            last_accessed=TIMES[random.integers(5)],
            event_date=None if random.random() < 0.3 else TIMES[random.integers(5)],
            expires_at=None if random.random() < 0.8 else TIMES[random.integers(5)],
            source=list(Source)[random.integers(5)],
            trust=TRUSTS[random.integers(3)],
        )
        for number in range(120)
    ]


def _text_filter(random: np.random.Generator) -> TextFilter:
    def value() -> str:
        return PARTS[random.integers(len(PARTS))]

    def values() -> tuple[str, ...]:
        return tuple(value() for _ in range(random.integers(0, 4)))

    made = TextFilter()
    for name in random.permutation(["eq", "ne", "any", "all", "none", "startswith"])[: random.integers(1, 3)]:
        if name == "startswith":
            prefix = value()
            made = replace(made, startswith=prefix[: random.integers(0, len(prefix) + 1)])
        elif name in ("eq", "ne"):
            made = replace(made, **{str(name): value()})
        else:
            made = replace(made, **{str(name): values()})
    return made


def _time_filter(random: np.random.Generator) -> TimeFilter:
    made = TimeFilter()
    for name in random.permutation(["eq", "ne", "gt", "gte", "lt", "lte", "between"])[: random.integers(1, 3)]:
        if name == "between":
            ends = (TIMES[random.integers(5)], TIMES[random.integers(5)])
            made = replace(made, between=ends, inclusive=("both", "neither", "left", "right")[random.integers(4)])
        else:
            made = replace(made, **{str(name): TIMES[random.integers(5)]})
    return made


def _filter(random: np.random.Generator) -> MemoryFilter:
    texts = (
        "namespace",
        "user_id",
        "session_id",
        "topics",
        "entities",
        "memory_type",
        "extraction_strategy",
        "memory_hash",
    )
    chosen = random.permutation([*texts, "created_at", "last_accessed", "event_date"])[: random.integers(0, 4)]
    fields: dict[str, Any] = {
        str(name): _text_filter(random) if name in texts else _time_filter(random) for name in chosen
    }
    if "memory_type" in fields and random.random() < 0.7:
        fields["memory_type"] = TextFilter(eq=str(list(MemoryType)[random.integers(3)]))
    selector = ScopeSelector(
        "acme",
        PARTS[random.integers(len(PARTS))] if random.random() < 0.2 else None,
        PARTS[random.integers(5)] if random.random() < 0.2 else None,
    )
    if random.random() < 0.2:
        fields["sources"] = frozenset(each for each in Source if random.random() < 0.4)
    if random.random() < 0.2:
        fields["trust_min"] = (0.0, 0.3, 0.4, 0.5, 1.0)[random.integers(5)]
    return replace(MemoryFilter(selector=selector, include_superseded=bool(random.random() < 0.3)), **fields)


class FilterParityContract:
    async def test_filters_mean_what_the_domain_says(self, stores: Stores) -> None:
        """Over generated memories and filters, listing, counting and both kinds of search return what ``matches`` admits."""
        random = np.random.default_rng()
        seed = int(random.integers(2**32))
        random = np.random.default_rng(seed)
        vector = np.array([1.0, 0.0], dtype=np.float32)
        made = _memories(random)
        await stores.memories.commit(operation(*(put(each, vector=vector) for each in made)))
        for each in made[:40:2]:
            others = [other for other in made if other.scope.owner == each.scope.owner and other.id != each.id]
            if others and others[0].superseded_by is None:
                await stores.memories.commit(operation(Supersede(key=each.key, by=others[0].id)))
                break
        stored = [found for each in made if (found := await stores.memories.get(each.key))]
        for round_number in range(ROUNDS):
            criteria = _filter(random)
            expected = sorted(
                (each for each in stored if criteria.matches(each, T0)),
                key=lambda each: (-each.created_at.timestamp(), each.id),
            )
            say = f"seed {seed}, round {round_number}: {criteria}"
            page = await stores.memories.list(criteria, now=T0, limit=500)
            assert {each.key for each in page.memories} == {each.key for each in expected}, say
            assert page.total == len(expected) == await stores.memories.count(criteria, now=T0), say
            if round_number % 4 == 0:
                near = await stores.memories.nearest(criteria, vector=vector, model="test-model", now=T0, limit=500)
                words = await stores.memories.holding(criteria, tokens=["tea"], now=T0, limit=500)
                assert len(near.handles) == near.total == len(words.handles) == len(expected), say
