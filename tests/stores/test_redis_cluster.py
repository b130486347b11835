"""The Redis engine on a cluster passes the contract that every engine passes, searches included.

All of a store is in one hash slot, so this holds with a search module that knows nothing of clusters, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.errors import StoreUnavailable
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.redis import open_redis
from tests.contract.stores.making import T0, memory, operation, put, selector
from tests.redis_topologies import RedisCluster, running_cluster, tell
from tests.stores import test_redis
from tests.stores.test_redis_failures import back

EVERYTHING = MemoryFilter(selector=selector())

# The same contracts as on one server, whichever there are.
globals().update(
    {name: type(name, (found,), {}) for name, found in vars(test_redis).items() if name.startswith("Test")}
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """One cluster for all tests here; each begins with an empty one."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
async def stores(cluster: RedisCluster) -> AsyncIterator[Stores]:
    """An empty store."""
    tell(cluster.owner(), "FLUSHALL")
    opened = await open_redis(cluster.url, now=lambda: T0)
    yield opened
    await opened.engine.close()


async def test_what_is_half_moved_is_unavailable_and_never_left_out(cluster: RedisCluster, stores: Stores) -> None:
    """While the slot moves to another node, listings fail instead of showing what is left; then all is there again."""
    names = {f"m{number}" for number in range(20)}
    for name in names:
        await stores.memories.commit(operation(put(memory(name), tokens={"tea": 1})))

    async def listed() -> set[str]:
        return {each.id for each in (await stores.memories.list(EVERYTHING, now=T0, limit=99)).memories}

    assert await listed() == names
    home, away = cluster.owner(), next(node for node in cluster.nodes[:3] if node is not cluster.owner())
    for source, target in ((home, away), (away, home)):
        with cluster.moving(source, target) as move:
            move(10)
            with pytest.raises(StoreUnavailable):
                await listed()
        await back(listed)
        assert await listed() == names
        await stores.memories.commit(operation(put(memory("m0", "changed"))))
        assert (await stores.memories.get(memory("m0").key)) is not None
