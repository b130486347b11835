"""The Redis engine on a cluster passes the contract that every engine passes, searches included.

All of a store is in one hash slot, so this holds with a search module that knows nothing of clusters, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.redis import open_redis
from tests.contract.stores.making import T0
from tests.redis_topologies import RedisCluster, running_cluster, tell
from tests.stores import test_redis

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
