"""Both engines answer alike: the same memories, filters and queries give the same ids, totals, order, counts and statistics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.keyword_ranking import keyword_scores
from agent_memory_server.domain.operations import Change, Delete, Supersede
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.tokens import index_tokens, query_tokens
from agent_memory_server.ports.memories import Order
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.redis import open_redis
from agent_memory_server.stores.sqlite import open_sqlite
from tests.contract.stores.making import MODEL, T0, memory, operation, put, unit_vectors
from tests.redis_server import RedisServer, running_redis

Pair = tuple[Stores, Stores]
WORDS = tuple("tea Tee café 东京 über green running ran a|b {x} @id:* -not (or 日本語 🎉 it's".split())  # noqa: SIM905
USERS = ("alice", "Alice", "a|b", "ü,ser", "{*}", None)
NAMESPACES = ("work", "Work", "w,ork", None)
MEMORIES = 400
ROUNDS = 150


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def pair(server: RedisServer, tmp_path: Path) -> AsyncIterator[Pair]:
    """Both engines, empty."""
    server.empty()
    sqlite = await open_sqlite(tmp_path / "memory.db", now=lambda: T0)
    redis = await open_redis(server.url, now=lambda: T0)
    yield sqlite, redis
    await sqlite.engine.close()
    await redis.engine.close()


def _random() -> tuple[np.random.Generator, int]:
    seed = int(np.random.default_rng().integers(2**32))
    return np.random.default_rng(seed), seed


Value = TypeVar("Value")


def _one(random: np.random.Generator, values: tuple[Value, ...]) -> Value:
    return values[random.integers(len(values))]


def _changes(random: np.random.Generator) -> list[Change]:
    """Random memories of many owners, some superseded, deleted, expired or copies of others."""
    vectors = unit_vectors(MEMORIES, seed=int(random.integers(2**31)))
    made: list[Change] = []
    for number in range(MEMORIES):
        text = " ".join(_one(random, WORDS) for _ in range(random.integers(1, 9)))
        session = f"s{random.integers(4)}" if random.random() < 0.5 else None
        scope = Scope("acme", _one(random, NAMESPACES), _one(random, USERS), session)
        record = memory(
            f"m{number:04d}",
            text,
            scope=scope,
            memory_type=_one(random, tuple(MemoryType)),
            topics=tuple({_one(random, WORDS) for _ in range(random.integers(3))}),
            created_at=T0 + timedelta(microseconds=int(random.integers(200))),
            last_accessed=T0 + timedelta(seconds=int(random.integers(50))),
            expires_at=T0 + timedelta(seconds=int(random.integers(-2, 3))) if random.random() < 0.1 else None,
        )
        made.append(
            put(
                record,
                tokens=index_tokens(text, None, record.topics),
                vector=vectors[number] if random.random() < 0.8 else None,
                deduplicate=random.random() < 0.3,
            )
        )
        if random.random() < 0.05:
            made.append(Delete(key=record.key, scrub=bool(random.random() < 0.5)))
    return made


def _filter(random: np.random.Generator) -> MemoryFilter:
    def some(*values: str) -> TextFilter:
        picked = tuple({_one(random, values) for _ in range(2)})
        forms = (
            TextFilter(eq=picked[0]),
            TextFilter(ne=picked[0]),
            TextFilter(any=picked),
            TextFilter(none=picked),
            TextFilter(startswith=picked[0][:1]),
        )
        return _one(random, forms)

    fields: dict[str, TextFilter | TimeFilter] = {}
    users = tuple(each for each in USERS if each)
    spaces = tuple(each for each in NAMESPACES if each)
    for name, values in (
        ("namespace", spaces),
        ("user_id", users),
        ("topics", WORDS),
        ("session_id", ("s0", "s1", "x")),
    ):
        if random.random() < 0.25:
            fields[name] = some(*values)
    if random.random() < 0.2:
        fields["created_at"] = TimeFilter(gt=T0 + timedelta(microseconds=int(random.integers(200))))
    selector = ScopeSelector(
        "acme",
        _one(random, spaces) if random.random() < 0.3 else None,
        _one(random, users) if random.random() < 0.3 else None,
    )
    made = MemoryFilter(selector=selector, include_superseded=bool(random.random() < 0.3))
    return replace(made, **fields)  # pyright: ignore[reportArgumentType]


async def _filled(pair: Pair, random: np.random.Generator) -> None:
    changes = _changes(random)
    for first in range(0, len(changes), 40):
        some = changes[first : first + 40]
        done = [await stores.memories.commit(operation(*some, operation_id=f"o{first}")) for stores in pair]
        assert done[0] == done[1]


async def _ids(stores: Stores, handles: list[Handle]) -> list[str]:
    records = await stores.memories.get_many(handles)
    return [records[handle].id for handle in handles]


async def test_listings_counts_and_pages_are_the_same(pair: Pair) -> None:
    """Ids, totals and order of listings in both orders, with offsets, for random filters."""
    random, seed = _random()
    await _filled(pair, random)
    for _ in range(ROUNDS):
        criteria = _filter(random)
        order = _one(random, tuple(Order))
        offset = int(random.integers(10))
        pages = [await stores.memories.list(criteria, now=T0, limit=20, offset=offset, order=order) for stores in pair]
        say = f"seed {seed}: {criteria}"
        assert [each.id for each in pages[0].memories] == [each.id for each in pages[1].memories], say
        assert pages[0].total == pages[1].total, say
        assert list(pages[0].memories) == list(pages[1].memories), say
        counts = [await stores.memories.count(criteria, now=T0) for stores in pair]
        assert counts[0] == counts[1] == pages[0].total, say


async def test_keyword_candidates_and_statistics_are_the_same(pair: Pair) -> None:
    """The same memories with the same counts, lengths and scores; users' words, whatever they look like, are only words."""
    random, seed = _random()
    await _filled(pair, random)
    for _ in range(ROUNDS):
        criteria = _filter(random)
        tokens = query_tokens(" ".join(_one(random, WORDS) for _ in range(random.integers(1, 4))))
        seen: list[dict[str, tuple[list[int], int, float]]] = []
        statistics: list[object] = []
        for stores in pair:
            found = await stores.memories.holding(criteria, tokens=tokens, now=T0, limit=10_000)
            ids = await _ids(stores, list(found.handles))
            scores = keyword_scores(found)
            seen.append(
                {
                    name: (found.counts[row].tolist(), int(found.lengths[row]), float(scores[row]))
                    for row, name in enumerate(ids)
                }
            )
            statistics.append(found.statistics)
        say = f"seed {seed}: {tokens} {criteria}"
        assert seen[0] == seen[1], say
        assert statistics[0] == statistics[1], say


async def test_vector_order_is_the_same(pair: Pair) -> None:
    """Both are exact: the same order and, to float precision, the same distances and totals."""
    random, seed = _random()
    await _filled(pair, random)
    for query in unit_vectors(40, seed=seed):
        criteria = _filter(random)
        limit = int(random.integers(1, 30))
        found = [
            await stores.memories.nearest(criteria, vector=query, model=MODEL, now=T0, limit=limit) for stores in pair
        ]
        say = f"seed {seed}: {criteria}"
        assert found[0].total == found[1].total, say
        np.testing.assert_allclose(found[0].distances, found[1].distances, atol=2e-6, err_msg=say)
        assert [await _ids(pair[0], list(found[0].handles))] == [await _ids(pair[1], list(found[1].handles))], say


async def test_superseding_and_history_are_the_same(pair: Pair) -> None:
    """What an operation answers, and what the journal says of it afterwards."""
    random, _ = _random()
    await _filled(pair, random)
    criteria = MemoryFilter(selector=ScopeSelector("acme"))
    listed = (await pair[0].memories.list(criteria, now=T0, limit=50)).memories
    changes = [
        Supersede(key=first.key, by=second.id)
        for first in listed
        for second in listed
        if first.scope.owner == second.scope.owner and first.id < second.id
    ][:1]
    done = [await stores.memories.commit(operation(*changes, operation_id="back")) for stores in pair]
    assert done[0] == done[1]
    for each in listed:
        histories = [await stores.journal.history(each.key) for stores in pair]
        assert [(entry.effect, entry.before, entry.after, entry.scrubbed) for entry in histories[0]] == [
            (entry.effect, entry.before, entry.after, entry.scrubbed) for entry in histories[1]
        ]
