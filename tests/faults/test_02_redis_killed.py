"""Checks 1 to 4 and 8 on Redis: whoever is killed, what was acknowledged is there; no answer leaves before Redis says that it
is on disk; outages and a full memory are said, and service returns by itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from tests.faults.test_04_disk_full import write
from tests.faults.test_08_store_lost import NAMESPACE, failures_to_say_so, fill
from tests.faults.traffic import memory, message
from tests.problem_details import assert_problem
from tests.redis_server import RedisServer, running_redis
from tests.server_process import ServerProcess, wait_for_no_pending_work
from tests.waiting import wait_until

pytestmark = pytest.mark.long

BACK_WITHIN_S = 10.0
ROOM_BYTES = 1_500_000


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with running_redis(folder, "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


def environment(server: RedisServer) -> dict[str, str]:
    return {"STORAGE_URL": server.url, "DURABILITY": "strict"}


def test_a_lost_redis_is_said_and_service_returns_by_itself(tmp_path: Path, redis_server: RedisServer) -> None:
    """Every data route answers 503 while Redis is down; within ten seconds of its return everything is answered again."""
    with ServerProcess(tmp_path / "data", environment=environment(redis_server)) as server, server.client() as client:
        fill(client)
        redis_server.kill()
        assert failures_to_say_so(client) == []
        redis_server.start()
        wait_until(
            lambda: client.get("/v1/ready").status_code == 200, "the server did not get ready again", BACK_WITHIN_S
        )
        assert client.get("/v1/long-term-memory/m").status_code == 200
        found = client.post("/v1/long-term-memory/search", json={"text": "tea", "namespace": {"eq": NAMESPACE}})
        assert "m" in {each["id"] for each in found.json()["memories"]}


def test_parallel_creates_survive_the_death_of_everybody(tmp_path: Path, redis_server: RedisServer) -> None:
    """Twenty creates are acknowledged, then the API and Redis die at once: twenty of twenty are there by id and in search."""
    with ServerProcess(tmp_path / "data", environment=environment(redis_server)) as server:
        names = [f"m{number}" for number in range(20)]
        with server.client() as client, ThreadPoolExecutor(20) as pool:
            bodies = [{"memories": [memory(name, f"tea number {name}", NAMESPACE)]} for name in names]

            def create(body: dict[str, Any]) -> int:
                return client.post("/v1/long-term-memory/", json=body).status_code

            answers = list(pool.map(create, bodies))
        assert answers == [200] * 20
        server.kill()
        redis_server.kill()
        redis_server.start()
        server.start()
        with server.client() as client:
            for name in names:
                assert client.get(f"/v1/long-term-memory/{name}").status_code == 200
            query = {"text": "tea", "namespace": {"eq": NAMESPACE}, "search_mode": "keyword", "limit": 50}
            found = client.post("/v1/long-term-memory/search", json=query).json()
            assert {each["id"] for each in found["memories"]} == set(names)


WRITES = (
    ("POST", "/v1/long-term-memory/", {"memories": [memory("m1", "tea", "fsync")]}),
    ("PATCH", "/v1/long-term-memory/m1", {"text": "coffee"}),
    ("PUT", "/v1/working-memory/s1", {"messages": [message("a", "hello")], "namespace": "fsync"}),
    ("POST", "/v1/working-memory/s1/messages", {"messages": [message("b", "again")], "namespace": "fsync"}),
    ("PATCH", "/v1/working-memory/s1", {"data": {"k": 1}, "namespace": "fsync"}),
    ("DELETE", "/v1/long-term-memory?memory_ids=m1", None),
    ("DELETE", "/v1/working-memory/s1?namespace=fsync", None),
)


def test_check_03_every_2xx_leaves_after_the_reply_to_waitaof(tmp_path: Path, redis_server: RedisServer) -> None:
    """Under DURABILITY=strict nothing is acknowledged while Redis cannot say that it is on disk; each write asks it to."""
    with (
        ServerProcess(tmp_path / "data", environment=environment(redis_server)) as server,
        server.client() as client,
        redis_server.client() as redis,
    ):

        def confirmations() -> int:
            told = cast(Any, redis.execute_command("INFO", "commandstats"))  # pyright: ignore[reportUnknownMemberType]
            return told.get("cmdstat_waitaof", {"calls": 0})["calls"]

        for method, path, body in WRITES:
            wait_for_no_pending_work(client)
            before = confirmations()
            response = client.request(method, path, json=body)
            assert response.status_code == 200, response.text
            assert confirmations() > before, f"{method} {path} was answered without WAITAOF"
        wait_for_no_pending_work(client)
        redis.execute_command("CONFIG", "SET", "appendfsync", "no")  # pyright: ignore[reportUnknownMemberType]
        unconfirmed = client.post("/v1/long-term-memory/", json={"memories": [memory("m2", "cocoa", "fsync")]})
        assert_problem(unconfirmed, 504)
        redis.execute_command("CONFIG", "SET", "appendfsync", "always")  # pyright: ignore[reportUnknownMemberType]
        again = client.post("/v1/long-term-memory/", json={"memories": [memory("m3", "milk", "fsync")]})
        assert again.status_code == 200, again.text


def test_check_04_a_full_redis_loses_nothing_acknowledged(tmp_path: Path, redis_server: RedisServer) -> None:
    """200 writes into a Redis that fills up under noeviction: 200 or 507; what was there is read; with room it goes on."""
    with (
        ServerProcess(tmp_path / "data", environment=environment(redis_server)) as server,
        server.client() as client,
        redis_server.client() as redis,
    ):
        old = memory("old", "An old memory from before", "full")
        assert client.post("/v1/long-term-memory/", json={"memories": [old]}).status_code == 200
        wait_for_no_pending_work(client)
        used: Any = redis.execute_command("INFO", "memory")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        redis.execute_command("CONFIG", "SET", "maxmemory", used["used_memory"] + ROOM_BYTES)  # pyright: ignore[reportUnknownMemberType]
        acknowledged: list[str] = []
        refused: list[str] = []
        for index in range(200):
            path, response = write(client, index)
            if response.status_code == 200:
                acknowledged.append(path)
            else:
                assert_problem(response, 507, 503)
                refused.append(path)
            if index % 20 == 0:
                assert client.get("/v1/long-term-memory/old").json()["text"] == old["text"]
        assert acknowledged
        assert refused, "the memory never filled up"
        for path in acknowledged:
            assert client.get(path, params={"namespace": "full"}).status_code == 200
        for path in refused:
            assert_problem(client.get(path, params={"namespace": "full"}), 404)
        redis.execute_command("CONFIG", "SET", "maxmemory", 0)  # pyright: ignore[reportUnknownMemberType]
        wait_until(lambda: write(client, 200)[1].status_code == 200, "no write worked after there was room again")
        wait_for_no_pending_work(client)


def test_two_servers_on_one_redis_see_one_store(tmp_path: Path, redis_server: RedisServer) -> None:
    """What one acknowledged the other answers at once: appends to one session from both, memories, listings."""
    settings = environment(redis_server)
    with (
        ServerProcess(tmp_path / "one", environment=settings) as one,
        ServerProcess(tmp_path / "two", environment=settings) as two,
        one.client() as first,
        two.client() as second,
    ):

        def client(number: int) -> None:
            mine = (first, second)[number % 2]
            for step in range(10):
                message = {"id": f"{number}-{step}", "role": "user", "content": f"hello {number} {step}"}
                answer = mine.post("/v1/working-memory/s/messages", json={"messages": [message]})
                assert answer.status_code == 200, answer.text

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(client, range(8)))
        shown = [each.get("/v1/working-memory/s").json()["messages"] for each in (first, second)]
        # The marks of background work go on between the two reads; what clients wrote is the same.
        said = [[(each["id"], each["content"], each["created_at"]) for each in messages] for messages in shown]
        assert said[0] == said[1]
        for number in range(8):
            mine = [each["id"] for each in shown[0] if each["id"].startswith(f"{number}-")]
            assert mine == [f"{number}-{step}" for step in range(10)]
        first.post("/v1/long-term-memory/", json={"memories": [memory("m", "tea is green", NAMESPACE)]})
        assert second.get("/v1/long-term-memory/m").status_code == 200
