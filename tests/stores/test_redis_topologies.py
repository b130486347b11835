"""One Redis behind TLS, under Sentinels and in a cluster: written and read, followed through a failover, and refused with what
to do where the address and the server do not fit."""

from __future__ import annotations

import asyncio
import gc
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.errors import ConfigurationError, DependencyUnavailable
from agent_memory_server.ports.stores import Stores
from agent_memory_server.queues.addresses import docket_url
from agent_memory_server.redis_addresses import Topology, parse_address
from agent_memory_server.stores.redis import open_redis
from agent_memory_server.stores.redis.suitability import check_server
from tests.cli.commands import CommandLine
from tests.contract.stores.making import T0, memory, operation, put, selector
from tests.redis_server import RedisServer, running_redis
from tests.redis_topologies import await_copied, running_cluster, running_watched, tell, tls_before

BACK_WITHIN_S = 20.0
EVERYTHING = MemoryFilter(selector=selector())

# The client leaves some connections to a node that died to the garbage collector, which says so wherever it runs next.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"),
    pytest.mark.long,
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Let the collector find them within the test that they belong to."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the tests of addresses."""
    with running_redis(tmp_path_factory.mktemp("one")) as started:
        yield started


async def store(stores: Stores, *names: str) -> None:
    for name in names:
        await stores.memories.commit(operation(put(memory(name))))


async def stored(stores: Stores) -> set[str]:
    page = await stores.memories.list(EVERYTHING, now=T0, limit=99)
    return {each.id for each in page.memories}


async def followed(stores: Stores, die: Callable[[], None]) -> None:
    """The server dies and its replica takes over: failures are said, then everything goes on with what had been stored."""
    await store(stores, "before")
    die()
    with pytest.raises(DependencyUnavailable):
        await store(stores, "lost")

    until = time.monotonic() + BACK_WITHIN_S
    while True:
        try:
            await store(stores, "after")
            break
        except DependencyUnavailable:
            assert time.monotonic() < until, "writes did not come back"
            await asyncio.sleep(0.05)
    assert await stored(stores) >= {"before", "after"}


# -- TLS --------------------------------------------------------------------------------------------------------------


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path, server: RedisServer) -> None:
    """The certificate is checked: by the file that the URL names, or not at all when the URL says so."""
    with tls_before(tmp_path, server) as front:
        place = f"rediss://127.0.0.1:{front.port}/0"
        with pytest.raises(ConfigurationError, match="ssl_ca_certs"):
            await open_redis(place, now=lambda: T0)
        for option in (f"ssl_ca_certs={front.authority}", "ssl_cert_reqs=none"):
            stores = await open_redis(f"{place}?{option}", now=lambda: T0)
            await store(stores, "over-tls")
            assert "over-tls" in await stored(stores)
            assert stores.engine.describe() == place
            await stores.engine.close()


# -- Sentinel ---------------------------------------------------------------------------------------------------------


async def test_sentinels_name_the_master_and_its_successor(tmp_path: Path) -> None:
    """Found by the service's name. When it hangs, its successor is followed on every connection, and it is not believed any more
    when it comes back; readiness says what a failover may lose."""
    with running_watched(tmp_path) as watched:
        stores = await open_redis(watched.url, now=lambda: T0)
        said = {check.name: check for check in await stores.engine.checks()}
        assert all(check.ok for check in said.values())
        assert "automatic failover can lose the last writes" in said["store-durability"].detail

        def die() -> None:
            await_copied(watched.master, watched.replica)
            watched.master.freeze()

        assert await stored(stores) == set()
        await followed(stores, die)
        watched.master.thaw()
        assert await stored(stores) >= {"before", "after"}
        await stores.engine.close()
        with pytest.raises(ConfigurationError, match="is a Sentinel"):
            await open_redis(watched.sentinel_url, now=lambda: T0)


# -- a cluster --------------------------------------------------------------------------------------------------------


async def test_a_cluster_is_followed_through_a_failover(tmp_path: Path) -> None:
    """The owner of the store's slot dies: its replica serves reads, writes and searches, without a restart of ours."""
    with running_cluster(tmp_path, node_timeout_ms=1_000) as cluster:
        with pytest.raises(ConfigurationError, match=r"write redis\+cluster://"):
            await open_redis(cluster.nodes[1].url, now=lambda: T0)
        stores = await open_redis(cluster.url, now=lambda: T0)

        def die() -> None:
            owner = cluster.owner()
            await_copied(owner, cluster.replica)
            owner.kill()

        await followed(stores, die)
        assert all(check.ok for check in await stores.engine.checks())
        await stores.engine.close()


# -- backups ----------------------------------------------------------------------------------------------------------


async def test_copies_of_a_snapshot_and_of_the_log_are_backups(tmp_path: Path) -> None:
    """As the operations guide says: a Redis on either copy has everything, and its search index."""
    places = [tmp_path / name for name in ("source", "snapshot", "log")]
    for place in places:
        place.mkdir()
    names = {f"m{number}" for number in range(20)}
    with running_redis(places[0], "--appendonly", "yes") as source:
        stores = await open_redis(source.url, now=lambda: T0)
        await store(stores, *names)
        await stores.engine.close()
        tell(source, "SAVE")
        shutil.copy(places[0] / "dump.rdb", places[1])
        tell(source, "CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
        shutil.copytree(places[0] / "appendonlydir", places[2] / "appendonlydir")
    for place, options in ((places[1], ()), (places[2], ("--appendonly", "yes"))):
        with running_redis(place, *options) as restored:
            stores = await open_redis(restored.url, now=lambda: T0)
            assert await stored(stores) == names
            assert all(check.ok for check in await stores.engine.checks())
            await stores.engine.close()


# -- what does not fit ------------------------------------------------------------------------------------------------


async def test_a_server_that_is_no_cluster_and_a_replica_are_refused(tmp_path: Path, server: RedisServer) -> None:
    """The sentence says which form of address is meant; nothing is written."""
    with pytest.raises(ConfigurationError, match="is no cluster: write redis://"):
        await open_redis(f"redis+cluster://127.0.0.1:{server.port}", now=lambda: T0)
    with (
        running_redis(tmp_path, "--replicaof", f"127.0.0.1 {server.port}") as replica,
        pytest.raises(ConfigurationError, match="read-only replica: name the master"),
    ):
        await open_redis(replica.url, now=lambda: T0)


async def test_another_applications_database_is_left_alone(tmp_path: Path) -> None:
    """Refused with one of its keys, nothing written; the queue's keys are no such, and the URL may allow what it means."""
    with running_redis(tmp_path) as used:
        tell(used, "SET", "memory-server:stream", "the queue's")
        tell(used, "SET", "shop:basket:1", "tea")
        with pytest.raises(ConfigurationError, match=r"another application .*shop:basket:1"):
            await open_redis(used.url, now=lambda: T0)
        assert tell(used, "DBSIZE") == 2
        stores = await open_redis(used.url + "?shared=true", now=lambda: T0)
        await store(stores, "a")
        await stores.engine.close()
        assert tell(used, "GET", "shop:basket:1") == b"tea"
        tell(used, "DEL", "shop:basket:1")
        # Ours by now: whoever comes later is not looked for at every start.
        stores = await open_redis(used.url, now=lambda: T0)
        assert await stored(stores) == {"a"}
        await stores.engine.close()


async def test_the_documented_user_suffices(tmp_path: Path) -> None:
    """The ACL of the operations guide lets a store be made, used and searched, and nothing else be read."""
    page = Path(__file__).parents[2] / "docs" / "operations" / "redis.md"
    (line,) = [each for each in page.read_text().splitlines() if each.startswith("ACL SETUSER memory-store ")]
    with running_redis(tmp_path) as guarded:
        tell(guarded, *line.split())
        place = guarded.url.replace("redis://", "redis://memory-store:CHANGE-ME@")
        stores = await open_redis(place, now=lambda: T0)
        await store(stores, "a")
        assert await stored(stores) == {"a"}
        assert all(check.ok for check in await stores.engine.checks())
        await stores.engine.close()
        with redis.Redis.from_url(place, protocol=2) as client:  # pyright: ignore[reportUnknownMemberType]
            for command in (("GET", "shop:basket:1"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*")):
                with pytest.raises(NoPermissionError):
                    client.execute_command(*command)  # pyright: ignore[reportUnknownMemberType]
        with pytest.raises(ConfigurationError, match="refuses the user name or password"):
            await open_redis(place.replace("CHANGE-ME", "wrong"), now=lambda: T0)


def test_a_redis_that_is_too_old_is_refused() -> None:
    """By the version that it tells."""
    check_server({"redis_version": "7.4.0"}, Topology.SINGLE, "here")
    with pytest.raises(ConfigurationError, match=r"is 6\.2: version 7\.4 or newer is needed"):
        check_server({"redis_version": "6.2.14"}, Topology.SINGLE, "here")


def test_a_server_that_cannot_use_its_redis_exits_with_the_reason(tmp_path: Path) -> None:
    """Exit code 1 and one sentence, for the server and for a command; nothing was written."""
    with running_redis(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as evicting:
        for arguments in (("api",), ("rebuild-index",)):
            ended = CommandLine(folder=tmp_path, environment={"REDIS_URL": evicting.url}).run(*arguments)
            assert ended.code == 1
            assert "CONFIG SET maxmemory-policy noeviction" in ended.err
            assert "Traceback" not in ended.err
        assert tell(evicting, "DBSIZE") == 0


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "topology", "shown"),
    [
        ("redis://u:p@h/0", Topology.SINGLE, "redis://h:6379/0"),
        ("rediss://:p%40s@[2001:db8::1]:7000", Topology.SINGLE, "rediss://[2001:db8::1]:7000/0"),
        ("redis://h:1/0?cluster=true", Topology.CLUSTER, "redis+cluster://h:1"),
        ("redis://u:p@a:1,b:2,c", Topology.CLUSTER, "redis+cluster://a:1,b:2,c:6379"),
        ("rediss+cluster://a:1", Topology.CLUSTER, "rediss+cluster://a:1"),
        ("redis+sentinel://a,b:2/mine/0?sentinel_password=s", Topology.SENTINEL, "redis+sentinel://a:26379,b:2/mine/0"),
    ],
)
def test_addresses_are_read(url: str, topology: Topology, shown: str) -> None:
    """Each form of the contract, shown without credentials."""
    address = parse_address(url)
    assert address.topology is topology
    assert address.describe() == shown
    assert "p%40s" not in repr(address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "no Redis URL"),
        ("redis://h:port", "no address"),
        ("redis://h/zero", "names no database"),
        ("redis://h?ssl_ca_certs=/x", "write rediss://"),
        ("rediss://h?ssl_ca_certs=/nowhere/ca.pem", "not there"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "one of required"),
        ("redis://h?socket_timeout=3", "no option 'socket_timeout'"),
        ("redis://h?cluster=perhaps", "true or false"),
        ("redis+sentinel://h", "which service"),
        ("redis+sentinel:///mine", "names no Sentinel"),
        ("redis+sentinel://h/mine?cluster=true", "do not go together"),
        ("redis://h?sentinel_password=x", r"redis\+sentinel://"),
        ("redis://u:secret@h/0#part", "%23"),
    ],
)
def test_addresses_that_mean_nothing_are_refused(url: str, said: str) -> None:
    """Each with what to write instead, and never with the password."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        parse_address(url)
    assert "secret" not in str(refused.value)


async def test_the_queue_is_told_the_same_place() -> None:
    """Docket reads one server, Sentinels and one node of a cluster; what it cannot do is said before anything starts."""
    assert await docket_url("redis://u:p%40@h") == "redis://u:p%40@h:6379/0"
    told = await docket_url("redis+sentinel://:p@a,b:2/mine?sentinel_password=s")
    assert told == "redis+sentinel://:p@a:26379,b:2/mine/0?sentinel_password=s"
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        await docket_url("rediss+cluster://h?ssl_cert_reqs=none")


async def test_the_queue_takes_a_node_that_answers(server: RedisServer, tmp_path: Path) -> None:
    """Of several nodes the first that can be reached; none is said."""
    del tmp_path
    assert (await docket_url(f"redis://127.0.0.1:1,127.0.0.1:{server.port}")).endswith(f"127.0.0.1:{server.port}/0")
    with pytest.raises(ConfigurationError, match="No node of the queue's cluster"):
        await docket_url("redis://127.0.0.1:1,127.0.0.1:2")
