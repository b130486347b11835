"""Reading more than one query may answer: whole, once, in order, wherever the portions end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.ports.memories import Order
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.redis import listing, open_redis
from agent_memory_server.stores.redis.engine import linked
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.queries import query_of
from agent_memory_server.stores.redis.walking import repeated_hashes, walk, walk_order
from tests.contract.stores.making import ALICE, T0, memory, operation, put
from tests.redis_server import RedisServer, running_redis

HELD = 40
EVERYTHING = MemoryFilter(selector=ScopeSelector("acme"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def stores(server: RedisServer) -> AsyncIterator[Stores]:
    """Memories of two owners; every third shares its hash with others, and pairs share a time."""
    server.empty()
    opened = await open_redis(server.url, now=lambda: T0)
    made = [
        memory(
            f"m{number}",
            f"text {number}",
            scope=ALICE if number % 2 else replace(ALICE, user_id="bob"),
            created_at=T0 - timedelta(seconds=number // 2),
            memory_hash=f"{number % 6:x}" if number % 3 == 0 else "",
        )
        for number in range(HELD)
    ]
    await opened.memories.commit(operation(*(put(each) for each in made)))
    yield opened
    await opened.engine.close()


@pytest.fixture
async def index(server: RedisServer, stores: Stores) -> AsyncIterator[Index]:
    assert stores.engine
    link = await linked(server.url)
    yield Index(link)
    await link.close()


async def _text(index: Index) -> str:
    query = await query_of(index, EVERYTHING, T0)
    assert query is not None
    return query.text


@pytest.mark.parametrize("at_once", [3, 7, HELD, HELD + 1, 1_000])
async def test_a_walk_reads_everything_once_and_in_order(index: Index, at_once: int) -> None:
    """Whatever fits into one answer, and with a limit as much as that says, from where it is told to go on."""
    text = await _text(index)
    whole = [handle for handle, _ in await walk(index, text, ("place",), limit=None, after=None, at_once=at_once)]
    assert len(set(whole)) == HELD
    assert whole == sorted(whole, key=walk_order)
    for limit in (1, 5, HELD - 1, HELD, HELD + 5):
        some = await walk(index, text, ("place",), limit=limit, after=None, at_once=at_once)
        assert [handle for handle, _ in some] == whole[:limit]
        rest = await walk(index, text, ("place",), limit=limit, after=whole[9], at_once=at_once)
        assert [handle for handle, _ in rest] == whole[10 : 10 + limit]


@pytest.mark.parametrize("at_once", [2, 3, 1_000])
async def test_hashes_that_repeat_are_found_whatever_fits_into_an_answer(index: Index, at_once: int) -> None:
    """Each once, in order."""
    text = await _text(index)
    assert len(await repeated_hashes(index, text, at_once=at_once)) == 2
    assert await repeated_hashes(index, text, at_once=at_once) == await repeated_hashes(index, text)


@pytest.mark.parametrize("skipped_at_once", [3, 10, 1_000])
@pytest.mark.parametrize("order", list(Order))
async def test_an_offset_is_skipped_in_portions(index: Index, order: Order, skipped_at_once: int) -> None:
    """With the same page and the same total as in one piece, also beyond the end."""

    async def page(offset: int) -> tuple[list[str], int]:
        found = await listing.page(
            index, EVERYTHING, now=T0, limit=4, offset=offset, cursor=None, order=order, skipped_at_once=skipped_at_once
        )
        return [each.id for each in found.memories], found.total

    whole = await listing.page(index, EVERYTHING, now=T0, limit=HELD, offset=0, cursor=None, order=order)
    ids = [each.id for each in whole.memories]
    assert len(set(ids)) == HELD
    for offset in (0, 1, 3, 9, 10, 11, 38, HELD, 500):
        assert await page(offset) == (ids[offset : offset + 4], HELD)


async def test_what_providers_cap_is_enough(stores: Stores) -> None:
    """Duplicates, prefixes and far offsets are asked for in no more than 10,000 answers a query."""
    assert len(await stores.memories.duplicate_groups(EVERYTHING, now=T0, limit=10)) == 2
    prefixed = replace(EVERYTHING, extraction_strategy=TextFilter(startswith="dis"))
    assert (await stores.memories.list(prefixed, now=T0, limit=1, offset=0)).total == HELD
    far = await stores.memories.list(EVERYTHING, now=T0, limit=10, offset=1_000_000)
    assert (list(far.memories), far.total) == ([], HELD)
