"""What a process keeps of small selections is what Redis holds, whoever changed it, at every moment that a search begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Delete, Embedded, Put, Supersede
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import Handle, KeywordCandidates, VectorCandidates
from agent_memory_server.domain.second_stage import Pool
from agent_memory_server.errors import MemoryServerError
from agent_memory_server.ports.memories import MemoryStore, ReadsTogether
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.redis import open_redis
from tests.contract.stores.filter_parity import FilterParityContract
from tests.contract.stores.making import ALICE, MODEL, T0, memory, operation, put, selector, unit_vectors
from tests.contract.stores.memory_store import MemoryStoreContract
from tests.redis_server import RedisServer, running_redis

TOKENS = ("tea", "cup", "milk")
VECTORS = unit_vectors(12, 32)
OWNERS = (ALICE, Scope("acme", "work", "bob"), Scope("acme", None, "alice"), Scope("acme", "home", None))
LATER = T0 + timedelta(hours=2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def plain(server: RedisServer) -> AsyncIterator[Stores]:
    """An empty store."""
    server.empty()
    opened = await open_redis(server.url, now=lambda: T0)
    yield opened
    await opened.engine.close()


async def as_of_now(stores: Stores, criteria: MemoryFilter) -> MemoryStore:
    assert isinstance(stores.memories, ReadsTogether)
    return await stores.memories.as_of_now(criteria) or stores.memories


class ReadingTogether:
    """A store whose searches each begin with a look at what is kept, as those of the search service do."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stores.memories, name)

    async def nearest(self, criteria: MemoryFilter, /, **asked: Any) -> VectorCandidates:
        return await (await as_of_now(self._stores, criteria)).nearest(criteria, **asked)

    async def holding(self, criteria: MemoryFilter, /, **asked: Any) -> KeywordCandidates:
        return await (await as_of_now(self._stores, criteria)).holding(criteria, **asked)

    async def pool(self, criteria: MemoryFilter, handles: Sequence[Handle], /, **asked: Any) -> Pool:
        return await (await as_of_now(self._stores, criteria)).pool(criteria, handles, **asked)


@pytest.fixture
def stores(plain: Stores) -> Stores:
    together: Any = ReadingTogether(plain)
    return replace(plain, memories=together)


class TestMemoriesReadTogether(MemoryStoreContract):
    pass


class TestFiltersReadTogether(FilterParityContract):
    pass


async def change(stores: Stores, random: Random, number: int) -> None:
    """One change of any kind to one of thirty memories."""
    owner = random.choice(OWNERS)
    name = f"m{random.randrange(30)}"
    key = memory(name, scope=owner).key
    kind = random.choice(("put", "put", "message", "delete", "supersede", "touch", "embed", "move", "expire"))
    vector = VECTORS[random.randrange(12)] if random.random() < 0.7 else None
    tokens = {each: random.randrange(1, 4) for each in random.sample(TOKENS, random.randrange(1, 4))}
    made = memory(name, f"text {random.randrange(10)}", scope=owner, topics=(random.choice(("hot", "cold")),))
    if kind == "put":
        await stores.memories.commit(operation(put(made, tokens=tokens, vector=vector)))
    elif kind == "message":
        said = replace(
            made,
            id=f"said{number}",
            scope=replace(owner, session_id=f"s{random.randrange(2)}"),
            memory_type=MemoryType.MESSAGE,
            created_at=T0 + timedelta(seconds=random.randrange(3)),
        )
        await stores.memories.commit(operation(put(said, tokens=tokens, vector=vector)))
    elif kind == "delete":
        await stores.memories.commit(operation(Delete(key=key, scrub=random.random() < 0.5)))
    elif kind == "supersede":
        await stores.memories.commit(operation(Supersede(key=key, by=f"m{random.randrange(30)}")))
    elif kind == "touch":
        await stores.memories.touch([key], at=T0 + timedelta(seconds=number), interval_min_s=0)
    elif kind == "embed":
        held = await stores.memories.get(key)
        found = await stores.memories.without_vector(model=MODEL, limit=50)
        named = [handle for handle, each, _, _ in found if each == key]
        if held is not None and named:
            embedded = Embedded(model=MODEL, vector=VECTORS[0])
            await stores.memories.put_vectors([(named[0], held.operation_id, embedded)])
    elif kind == "move":
        there = replace(made, scope=random.choice(OWNERS))
        await stores.memories.commit(operation(Put(memory=there, tokens=tokens, previous_key=key)))
    else:
        await stores.memories.commit(operation(put(replace(made, expires_at=LATER), tokens=tokens, vector=vector)))


async def everything(store: MemoryStore, criteria: MemoryFilter, now: datetime) -> dict[str, Any]:
    """All that a search may read."""
    words = await store.holding(criteria, tokens=TOKENS, now=now, limit=1_000)
    near = await store.nearest(criteria, vector=VECTORS[3], model=MODEL, now=now, limit=1_000)
    handles = sorted({*words.handles, *near.handles}, key=str)
    distances = dict(zip(near.handles, np.round(near.distances, 4).tolist(), strict=True))
    vectors = await store.vectors(handles, model=MODEL)
    found: dict[str, Any] = {
        "words": (words.handles, words.counts.tolist(), words.lengths.tolist(), words.statistics),
        "near": (distances, near.total),
        "pool": await store.pool(criteria, handles, span=2, now=now),
        "neighbours": await store.neighbours(handles, span=1),
        "times": dict(await store.times(handles)),
        "memories": dict(await store.get_many(handles)),
        "vectors": {handle: vector.tolist() for handle, vector in vectors.items()},
    }
    return found


CRITERIA = (
    MemoryFilter(selector=selector()),
    MemoryFilter(selector=ScopeSelector("acme", None, "alice")),
    MemoryFilter(selector=ScopeSelector("acme", "home", None)),
    MemoryFilter(selector=ScopeSelector("acme")),
    MemoryFilter(selector=ScopeSelector("acme"), user_id=TextFilter(eq="bob")),
    MemoryFilter(selector=ScopeSelector("acme"), topics=TextFilter(any=("hot",))),
    MemoryFilter(selector=selector(), memory_type=TextFilter(ne="message")),
)


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_kept_is_what_is_stored_whoever_changed_it(server: RedisServer, plain: Stores, seed: int) -> None:
    """Two processes change memories in every way; after each few changes both read through what they keep exactly what is
    read from Redis itself, before and after some expire."""
    random = Random(seed)
    other = await open_redis(server.url, now=lambda: T0)
    refused = 0
    for number in range(90):
        try:
            await change(random.choice((plain, other)), random, number)
        except MemoryServerError:
            refused += 1
        if number % 6:
            continue
        criteria = random.choice(CRITERIA)
        now = random.choice((T0, LATER))
        expected = await everything(plain.memories, criteria, now)
        for each in (plain, other):
            view = await as_of_now(each, criteria)
            assert view is not each.memories
            assert await everything(view, criteria, now) == expected
    assert refused < 40
    await other.engine.close()


async def test_more_changes_than_are_noted_are_read_anew(server: RedisServer, plain: Stores) -> None:
    """A process that did not look while another wrote a thousand times finds all of it, and nothing twice."""
    other = await open_redis(server.url, now=lambda: T0)
    criteria = MemoryFilter(selector=selector())
    await plain.memories.commit(operation(put(memory("first"))))
    await as_of_now(other, criteria)
    names = [f"m{number}" for number in range(300)]
    for start in range(0, 300, 50):
        await plain.memories.commit(operation(*(put(memory(name, name)) for name in names[start : start + 50])))
    await plain.memories.commit(operation(*(Delete(key=memory(name).key, scrub=True) for name in names[:100])))
    view = await as_of_now(other, criteria)
    found = await view.holding(criteria, tokens=["tea"], now=T0, limit=1_000)
    held = await view.get_many(found.handles)
    assert {each.id for each in held.values()} == {"first", *names[100:]}
    assert len(found.handles) == 201
    await other.engine.close()


async def test_an_emptied_database_that_fills_again_is_another(server: RedisServer, plain: Stores) -> None:
    """Somebody empties Redis and as many changes follow as before: what was kept of the old ones is not shown."""
    criteria = MemoryFilter(selector=selector())
    await plain.memories.commit(operation(put(memory("old"), vector=VECTORS[0])))
    assert await _ids(plain, criteria) == {"old"}
    server.empty()
    again = await open_redis(server.url, now=lambda: T0)
    await again.memories.commit(operation(put(memory("new"), vector=VECTORS[0])))
    assert await _ids(plain, criteria) == {"new"}
    await again.engine.close()


async def _ids(stores: Stores, criteria: MemoryFilter) -> set[str]:
    view = await as_of_now(stores, criteria)
    found = await view.nearest(criteria, vector=VECTORS[0], model=MODEL, now=T0, limit=1_000)
    memories: dict[Handle, Memory] = dict(await view.get_many(found.handles))
    return {each.id for each in memories.values()}
