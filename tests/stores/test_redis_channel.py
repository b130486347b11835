"""The connection that all calls share: answers come to who asked, and one caller's end is not another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import exceptions
from redis.asyncio import BlockingConnectionPool

from agent_memory_server.stores.redis.channel import Channel
from tests.redis_server import RedisServer, running_redis

LIMIT_S = 0.8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis"), "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


@pytest.fixture
async def pool(server: RedisServer) -> AsyncIterator[BlockingConnectionPool]:
    made = BlockingConnectionPool(host="127.0.0.1", port=server.port, protocol=2)
    yield made
    await made.aclose()


@pytest.fixture
async def channel(pool: BlockingConnectionPool) -> AsyncIterator[Channel]:
    made = Channel(pool, limit_s=LIMIT_S)
    yield made
    await made.close()


async def test_answers_come_to_who_asked(channel: Channel) -> None:
    """Five hundred callers at once, of one and of several commands: each gets its own answers, in its order."""

    async def ask(number: int) -> None:
        several = [("ECHO", f"{number}-{part}") for part in range(number % 4 + 1)]
        assert await channel.send(several) == [f"{number}-{part}".encode() for part in range(number % 4 + 1)]

    await asyncio.gather(*(ask(number) for number in range(500)))


async def test_an_error_is_the_answer_of_one_command(channel: Channel) -> None:
    """What Redis refuses concerns nobody else, not even the other commands of the call."""
    refused, echoed = await channel.send([("GET",), ("ECHO", "a")])
    assert isinstance(refused, exceptions.ResponseError)
    assert echoed == b"a"


async def test_who_stops_waiting_leaves_the_others_their_answers(channel: Channel) -> None:
    """A caller that is cancelled while its answer is on the way: the next answers are not its."""
    waiting = asyncio.create_task(channel.send([("BLPOP", "never", 0.2)]))
    others = [asyncio.create_task(channel.send([("ECHO", str(number))])) for number in range(20)]
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [await other for other in others] == [[str(number).encode()] for number in range(20)]


async def test_a_silent_connection_is_given_up(channel: Channel, server: RedisServer) -> None:
    """An answer that does not come: whoever waits behind it fails within twice the limit, and the next call is served."""
    stuck = asyncio.create_task(asyncio.wait_for(channel.send([("BLPOP", "never", 0)]), LIMIT_S))
    await channel_is_busy(server)
    behind = asyncio.create_task(channel.send([("ECHO", "behind")]))
    with pytest.raises(TimeoutError):
        await stuck
    with pytest.raises(exceptions.TimeoutError):
        await asyncio.wait_for(behind, LIMIT_S)
    assert await channel.send([("ECHO", "new")]) == [b"new"]


async def test_a_connection_that_was_closed_is_made_anew(channel: Channel, server: RedisServer) -> None:
    """Redis closes it while nobody asks: the next call does not notice. While somebody does: that call fails."""
    assert await channel.send([("ECHO", "a")]) == [b"a"]
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # pyright: ignore[reportUnknownMemberType]
        for _ in range(100):
            try:
                assert await channel.send([("ECHO", "b")]) == [b"b"]
                break
            except exceptions.ConnectionError:
                continue
        asked = asyncio.create_task(channel.send([("BLPOP", "never", 0)]))
        await channel_is_busy(server)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # pyright: ignore[reportUnknownMemberType]
        with pytest.raises(exceptions.ConnectionError):
            await asked
    assert await channel.send([("ECHO", "c")]) == [b"c"]


async def test_writers_wait_for_the_disk_as_a_group(pool: BlockingConnectionPool, server: RedisServer) -> None:
    """Forty writes at once are confirmed by a few questions, and each caller gets the confirmation beside its answers."""

    def confirmations() -> int:
        with server.client() as client:
            told = client.info("commandstats")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        held: dict[str, int] = told.get("cmdstat_waitaof", {"calls": 0})  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportAttributeAccessIssue]
        return held["calls"]

    before = confirmations()
    durable = Channel(pool, limit_s=LIMIT_S, confirmation=("WAITAOF", 1, 0, 1_000))
    answers = await asyncio.gather(*(durable.send([("SET", f"k{number}", "v")]) for number in range(40)))
    assert answers == [[b"OK", [1, 0]]] * 40
    assert 1 <= confirmations() - before <= 5
    await durable.close()


async def channel_is_busy(server: RedisServer) -> None:
    """Until Redis holds a blocked call."""
    with server.client() as client:
        for _ in range(500):
            held = client.info("clients")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if held["blocked_clients"]:  # pyright: ignore[reportIndexIssue, reportUnknownArgumentType]
                return
            await asyncio.sleep(0.01)
    pytest.fail("the call was not blocked")
