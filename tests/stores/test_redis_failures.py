"""What a Redis can do to us: restart, lose scripts or its index, fill up, crash. Nothing acknowledged is lost, nothing is called
absent that cannot be read, and service is back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import exceptions

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Delete
from agent_memory_server.errors import (
    ConfigurationError,
    DependencyUnavailable,
    MemoryServerError,
    StoreBusy,
    StoreFull,
    StoreTooNew,
    StoreUnavailable,
)
from agent_memory_server.ports.memories import ReadsTogether
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.opening import open_stores
from agent_memory_server.stores.redis import failures, open_redis
from tests.contract.stores.making import (
    MODEL,
    T0,
    memory,
    message,
    operation,
    put,
    selector,
    session_scope,
    unit_vectors,
)
from tests.redis_server import RedisServer, running_redis

EVERYTHING = MemoryFilter(selector=selector())
BACK_WITHIN_S = 10.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that forgets nothing it acknowledged."""
    with running_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


@pytest.fixture
async def stores(server: RedisServer) -> AsyncIterator[Stores]:
    opened = await open_redis(server.url, now=lambda: T0, strict=True)
    yield opened
    await opened.engine.close()


def tell(server: RedisServer, *command: Any) -> Any:
    """A command behind the engine's back."""
    with server.client() as client:
        return client.execute_command(*command)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


async def back(work: Callable[[], Awaitable[Any]]) -> Any:
    """The first answer, within the promised time; until then every failure is of the kind that says so."""
    until = time.monotonic() + BACK_WITHIN_S
    while True:
        try:
            return await work()
        except DependencyUnavailable:
            assert time.monotonic() < until, "the service did not come back in time"
            await asyncio.sleep(0.05)


async def found(stores: Stores) -> set[str]:
    page = await stores.memories.list(EVERYTHING, now=T0, limit=5_000)
    return {each.id for each in page.memories}


async def test_a_crash_under_load_loses_nothing_that_was_acknowledged(server: RedisServer, stores: Stores) -> None:
    """Open check 2: killed with -9 while eight writers write, restarted: all that was acknowledged is found everywhere."""
    acknowledged: set[str] = set()
    said: list[str] = []
    vector = unit_vectors(1)[0]
    stopped = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not stopped.is_set():
            name = f"{writer}-{number}"
            number += 1
            try:
                await stores.memories.commit(operation(put(memory(name, name), tokens={"tea": 1}, vector=vector)))
                acknowledged.add(name)
                await stores.working_memory.append(session_scope(), [message(name)], at=T0, epoch="e", live_max=100_000)
                said.append(name)
            except DependencyUnavailable:
                await asyncio.sleep(0.01)

    writers = [asyncio.create_task(write(number)) for number in range(8)]
    for _ in range(3):
        before = len(acknowledged)
        until = time.monotonic() + BACK_WITHIN_S
        while len(acknowledged) < before + 60:
            assert time.monotonic() < until, "writers did not get on again"
            await asyncio.sleep(0.01)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    stopped.set()
    await asyncio.gather(*writers)
    assert len(acknowledged) >= 180
    listed = await back(lambda: found(stores))
    assert acknowledged <= listed
    words = await stores.memories.holding(EVERYTHING, tokens=["tea"], now=T0, limit=5_000)
    near = await stores.memories.nearest(EVERYTHING, vector=vector, model=MODEL, now=T0, limit=5_000)
    assert len(words.handles) == len(near.handles) == words.statistics.documents == len(listed)
    session = await stores.working_memory.load(session_scope(), now=T0)
    assert session is not None
    assert set(said) <= {each.id for each in session.messages}
    assert len({each.id for each in session.messages}) == len(session.messages)


async def test_while_it_is_down_nothing_is_called_absent(server: RedisServer, stores: Stores) -> None:
    """Reads, listings, searches and writes of what exists and what does not: each says that the store is unavailable."""
    await stores.memories.commit(operation(put(memory("a"))))
    server.kill()
    vector = unit_vectors(1)[0]
    works: list[Callable[[], Awaitable[Any]]] = [
        lambda: stores.memories.get(memory("a").key),
        lambda: stores.memories.get(memory("absent").key),
        lambda: stores.memories.find(selector(), memory_id="absent"),
        lambda: stores.memories.list(EVERYTHING, now=T0, limit=9),
        lambda: stores.memories.holding(EVERYTHING, tokens=["tea"], now=T0, limit=9),
        lambda: stores.memories.nearest(EVERYTHING, vector=vector, model=MODEL, now=T0, limit=9),
        lambda: stores.memories.commit(operation(put(memory("b")))),
        lambda: stores.working_memory.load(session_scope("absent"), now=T0),
        lambda: stores.working_memory.list(ScopeSelector("nobody"), now=T0, limit=9),
        lambda: stores.jobs.find(selector(), task_id="absent", now=T0),
        lambda: stores.summary_views.list(selector()),
        lambda: stores.outbox.claim(kinds=["work"], now=T0, lease_s=1, limit=1),
        lambda: stores.leases.acquire("a", holder="h", now=T0, ttl_s=1),
    ]
    for work in works:
        started = time.monotonic()
        with pytest.raises(DependencyUnavailable):
            await work()
        assert time.monotonic() - started < 5
    assert not any(check.ok for check in await stores.engine.checks())
    server.start()
    assert await back(lambda: stores.memories.get(memory("a").key)) is not None
    assert all(check.ok for check in await stores.engine.checks())


async def test_a_silent_redis_is_a_time_out(server: RedisServer, stores: Stores) -> None:
    """It accepts connections and answers nothing: an answer within five seconds all the same."""
    await stores.memories.commit(operation(put(memory("a"))))
    pid = int(tell(server, "INFO", "server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await stores.memories.get(memory("a").key)
        assert time.monotonic() - started < 5
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await back(lambda: stores.memories.get(memory("a").key)) is not None


async def test_while_it_loads_its_data_nothing_is_called_absent(tmp_path: Path) -> None:
    """Restarted, it answers before it has read its data: unavailable until then, and everything is there afterwards."""
    slow = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    with running_redis(tmp_path, *slow) as server:
        stores = await open_redis(server.url, now=lambda: T0)
        names = {f"m{number}" for number in range(40)}
        await stores.memories.commit(operation(*(put(memory(name, name)) for name in names)))
        tell(server, "SAVE")
        server.kill()
        server.start(wait=False)
        refused = 0
        until = time.monotonic() + BACK_WITHIN_S
        while True:
            try:
                assert await stores.memories.get(memory("m7").key) is not None
                break
            except DependencyUnavailable as error:
                refused += isinstance(error.__cause__, exceptions.BusyLoadingError)
                assert time.monotonic() < until, "the data were not loaded in time"
                await asyncio.sleep(0.01)
        assert refused, "it was never asked while it loaded: the test shows nothing"
        assert await back(lambda: found(stores)) == names
        await stores.engine.close()


async def test_flushed_scripts_are_loaded_again(server: RedisServer, stores: Stores) -> None:
    """Nobody notices."""
    await stores.memories.commit(operation(put(memory("a"))))
    tell(server, "SCRIPT", "FLUSH")
    await stores.memories.commit(operation(put(memory("b"))))
    tell(server, "SCRIPT", "FLUSH")
    assert isinstance(stores.memories, ReadsTogether)
    view = await stores.memories.as_of_now(EVERYTHING) or stores.memories
    words = await view.holding(EVERYTHING, tokens=["tea"], now=T0, limit=9)
    assert {each.id for each in (await view.get_many(words.handles)).values()} == {"a", "b"}
    tell(server, "SCRIPT", "FLUSH")
    assert await stores.working_memory.load(session_scope(), now=T0) is None
    assert await found(stores) == {"a", "b"}


async def test_a_dropped_index_is_built_again(server: RedisServer, stores: Stores) -> None:
    """Searches wait for it, or say that they cannot answer; then they find everything, vectors too."""
    vector = unit_vectors(1)[0]
    names = {f"m{number}" for number in range(300)}
    await stores.memories.commit(operation(*(put(memory(name, name), vector=vector) for name in names)))
    (name,) = tell(server, "FT._LIST")
    tell(server, "FT.DROPINDEX", name)
    assert await back(lambda: found(stores)) == names
    near = await stores.memories.nearest(EVERYTHING, vector=vector, model=MODEL, now=T0, limit=1_000)
    assert len(near.handles) == near.total == 300


async def test_an_index_that_another_process_replaced_is_not_asked(server: RedisServer, stores: Stores) -> None:
    """Two processes that find it missing agree on one."""
    other = await open_redis(server.url, now=lambda: T0)
    await stores.memories.commit(operation(*(put(memory(f"m{number}", str(number))) for number in range(50))))
    (name,) = tell(server, "FT._LIST")
    tell(server, "FT.DROPINDEX", name)
    counts = await asyncio.gather(*(back(lambda each=each: found(each)) for each in (stores, other)))
    assert [len(count) for count in counts] == [50, 50]
    assert len(tell(server, "FT._LIST")) == 1
    await other.engine.close()


async def test_a_full_redis_refuses_whole_operations_and_takes_deletes(server: RedisServer, stores: Stores) -> None:
    """Open check 4: what was answered is there, what was refused is not; old data is readable, deletes make room."""
    await stores.memories.commit(operation(put(memory("old", "kept"))))
    used = int(tell(server, "INFO", "memory")["used_memory"])
    tell(server, "CONFIG", "SET", "maxmemory", str(used + 2_000_000))
    stored: set[str] = {"old"}
    refused: set[str] = set()
    for number in range(200):
        pair = (f"a{number}", f"b{number}")
        try:
            await stores.memories.commit(operation(*(put(memory(name, name + "x" * 20_000)) for name in pair)))
            stored.update(pair)
        except StoreFull:
            refused.update(pair)
    assert refused
    assert await found(stores) == stored
    for name in sorted(stored - {"old"}):
        await stores.memories.commit(operation(Delete(key=memory(name).key, scrub=True)))
    tell(server, "CONFIG", "SET", "maxmemory", "0")
    await stores.memories.commit(operation(put(memory("new", "again"))))
    assert await found(stores) == {"old", "new"}


async def test_an_emptied_database_is_a_failure(server: RedisServer, stores: Stores) -> None:
    """A Redis that came back without its data is no empty store: neither by id nor in listings."""
    await stores.memories.commit(operation(put(memory("a"))))
    server.kill()
    for file in (server.folder / "appendonlydir").iterdir():
        file.unlink()
    server.start()
    for work in (lambda: stores.memories.get(memory("a").key), lambda: found(stores)):
        with pytest.raises(StoreUnavailable):
            await work()
    assert not all(check.ok for check in await stores.engine.checks())


async def test_a_store_that_lost_its_last_writes_is_not_shown_from_memory(tmp_path: Path) -> None:
    """Without a log a crash loses what came since the snapshot, and as many changes follow: searches show what is stored, not
    what this process had kept of before."""
    with running_redis(tmp_path) as server:
        stores = await open_redis(server.url, now=lambda: T0)
        assert isinstance(stores.memories, ReadsTogether)
        await stores.memories.commit(operation(put(memory("saved"))))
        tell(server, "SAVE")
        await stores.memories.commit(operation(put(memory("lost"))))
        view = await stores.memories.as_of_now(EVERYTHING) or stores.memories
        assert len((await view.holding(EVERYTHING, tokens=["tea"], now=T0, limit=9)).handles) == 2
        server.kill()
        server.start()
        await back(lambda: stores.memories.commit(operation(put(memory("new")))))
        assert isinstance(stores.memories, ReadsTogether)
        view = await stores.memories.as_of_now(EVERYTHING) or stores.memories
        words = await view.holding(EVERYTHING, tokens=["tea"], now=T0, limit=9)
        assert {each.id for each in (await view.get_many(words.handles)).values()} == {"saved", "new"}
        await stores.engine.close()


async def test_a_read_only_replica_says_so(server: RedisServer, stores: Stores) -> None:
    """Demoted under us: writes are refused as unavailable, and work again when it is the master again."""
    tell(server, "REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable):
        await stores.memories.commit(operation(put(memory("a"))))
    said = {check.name: check.detail for check in await stores.engine.checks() if not check.ok}
    assert "name the master" in said["store-write"]
    tell(server, "REPLICAOF", "NO", "ONE")
    await back(lambda: stores.memories.commit(operation(put(memory("a")))))


async def test_two_engines_write_at_once(server: RedisServer, stores: Stores) -> None:
    """Two connections of two processes' kind: appends to one session and racing duplicates lose and double nothing, also
    when a write is refused as busy, as it may be on a busy machine, and is sent again."""
    other = await open_redis(server.url, now=lambda: T0)

    async def until_stored(write: Callable[[], Awaitable[object]]) -> None:
        while True:
            with contextlib.suppress(StoreBusy):
                await write()
                return

    async def client(number: int) -> None:
        mine = (stores, other)[number % 2]
        for step in range(25):
            said = [message(f"{number}-{step}")]
            fact = operation(put(memory(f"{number}-{step}", f"text {step}"), deduplicate=True))
            await until_stored(
                partial(mine.working_memory.append, session_scope(), said, at=T0, epoch=f"e{number}", live_max=9_999)
            )
            await until_stored(partial(mine.memories.commit, fact))

    await asyncio.gather(*(client(number) for number in range(10)))
    session = await stores.working_memory.load(session_scope(), now=T0)
    assert session is not None
    for number in range(10):
        mine = [each.id for each in session.messages if each.id.startswith(f"{number}-")]
        assert mine == [f"{number}-{step}" for step in range(25)]
    assert await stores.memories.count(EVERYTHING, now=T0) == 25
    assert await other.outbox.depth(now=T0 + timedelta(1)) == await stores.outbox.depth(now=T0 + timedelta(1))
    await other.engine.close()


# -- starting ---------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_used_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """No search engine, a password, another database, a newer layout: each says what to do, and nothing is written."""
    (tmp_path / "plain").mkdir()
    with running_redis(tmp_path / "plain", search=False) as plain:
        with pytest.raises(ConfigurationError, match="no query engine"):
            await open_redis(plain.url, now=lambda: T0)
        assert tell(plain, "DBSIZE") == 0
    with running_redis(tmp_path) as server:
        with pytest.raises(ConfigurationError, match="database 0"):
            await open_redis(server.url.replace("/0", "/3"), now=lambda: T0)
        tell(server, "SET", "{ams}:schema", "99")
        with pytest.raises(StoreTooNew, match="newer version"):
            await open_redis(server.url, now=lambda: T0)
        assert tell(server, "DBSIZE") == 1
        tell(server, "CONFIG", "SET", "requirepass", "secret")
        with pytest.raises(ConfigurationError, match="password") as refused:
            await open_redis(server.url.replace("redis://", "redis://:wrong@"), now=lambda: T0)
        assert "wrong@" not in str(refused.value)


async def test_what_is_not_a_redis_is_refused() -> None:
    """A web server on that port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def answer() -> None:
            accepted, _ = listening.accept()
            accepted.recv(1_000)
            accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            accepted.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ConfigurationError, match="not a Redis"):
            await open_redis(f"redis://127.0.0.1:{listening.getsockname()[1]}/0", now=lambda: T0)


@pytest.mark.parametrize("url", ["redis+sentinel://h:1", "mongodb://h", "redis://h:port/0", "redis://h:1/0?what=1"])
async def test_other_addresses_are_refused(url: str) -> None:
    """They name no engine, or not all that it takes."""
    with pytest.raises(ConfigurationError):
        await open_stores(url, now=lambda: T0)


async def test_the_reference_servers_data_is_never_shown_as_an_empty_store(tmp_path: Path) -> None:
    """Data routes are unavailable with the sentence that says what to do, readiness repeats it, nothing is written."""
    with running_redis(tmp_path) as server:
        tell(server, "HSET", "memory_idx:1", "text", "tea")
        stores = await open_redis(server.url, now=lambda: T0)
        with pytest.raises(StoreUnavailable, match="migrate-memories"):
            await stores.memories.list(EVERYTHING, now=T0, limit=9)
        with pytest.raises(StoreUnavailable, match="migrate-memories"):
            await stores.working_memory.load(session_scope(), now=T0)
        with pytest.raises(StoreUnavailable, match="migrate-memories"):
            await stores.memories.commit(operation(put(memory("a"))))
        (check,) = await stores.engine.checks()
        assert not check.ok
        assert tell(server, "DBSIZE") == 1
        await stores.engine.close()


async def test_checks_tell_an_operator_what_to_do(tmp_path: Path) -> None:
    """An eviction policy that would forget, and strict durability without a log: refused at start, said when it comes later."""
    with running_redis(tmp_path, "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru") as server:
        with pytest.raises(ConfigurationError, match="maxmemory-policy noeviction"):
            await open_redis(server.url, now=lambda: T0)
        tell(server, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
        with pytest.raises(ConfigurationError, match="appendonly yes"):
            await open_redis(server.url, now=lambda: T0, strict=True)
        assert tell(server, "DBSIZE") == 0
        tell(server, "CONFIG", "SET", "appendonly", "yes")
        stores = await open_redis(server.url, now=lambda: T0, strict=True)
        tell(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        tell(server, "CONFIG", "SET", "appendonly", "no")
        wrong = {check.name: check.detail for check in await stores.engine.checks() if not check.ok}
        assert "maxmemory-policy noeviction" in wrong["store-memory"]
        assert "appendonly yes" in wrong["store-durability"]
        await stores.engine.close()


# -- errors -----------------------------------------------------------------------------------------------------------


def _vendor_errors() -> list[type[Exception]]:
    return sorted(
        {each for _, each in inspect.getmembers(exceptions, inspect.isclass) if issubclass(each, redis.RedisError)},
        key=lambda each: each.__name__,
    )


@pytest.mark.parametrize("kind", _vendor_errors())
def test_every_error_of_the_client_becomes_ours(kind: type[Exception]) -> None:
    """None is missed, and none is shown as absence or as a server error without a cause."""
    try:
        error = kind("something")
    except (TypeError, ValueError):
        error = kind.__new__(kind)
    ours = failures.translated(error)
    assert isinstance(ours, MemoryServerError)
    assert ours.status in (503, 504, 507, 422), (kind, ours)


def test_the_text_of_an_error_decides_where_its_class_does_not() -> None:
    """Redis tells many failures by their first word alone."""
    full = exceptions.ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: abc")
    assert isinstance(failures.translated(full), StoreFull)
    assert failures.is_index_missing(exceptions.ResponseError("no such index"))
    assert failures.translated(TimeoutError()).status == 504
