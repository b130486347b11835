"""The kill loop: two API processes, two workers and an MCP server on one Redis, under load, killed one after the other.

Whatever was acknowledged is there once in the end: messages, memories, what was promoted and extracted, and the effects of tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.traffic import listed
from tests.mcp.messages import answer_in, headers, tool_call
from tests.redis_server import running_redis
from tests.server_process import ServerProcess, wait_for_no_pending_work
from tests.tasks.workers import WorkerProcess

pytestmark = pytest.mark.long

SESSIONS = 4
SPACE = "kill-loop"
TIMEOUT_S = 6.0
PAUSE_S = 0.02
LOAD_AFTER_KILL_S = 0.7


@dataclass(frozen=True)
class Fleet:
    """Everything that runs on one Redis."""

    servers: list[ServerProcess]
    mcp: ServerProcess
    workers: list[WorkerProcess]


@dataclass
class Sent:
    """What the clients were told is stored."""

    messages: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Ids by session, in the order in which its one client said them."""
    memories: set[str] = field(default_factory=set[str])
    promoted: set[str] = field(default_factory=set[str])
    remembered: set[str] = field(default_factory=set[str])
    views: dict[str, str] = field(default_factory=dict[str, str])
    """Task by view."""
    attempts: int = 0
    failures: int = 0


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    (tmp_path / "redis").mkdir()
    with running_redis(tmp_path / "redis", "--appendonly", "yes") as redis, contextlib.ExitStack() as stack:
        environment = {"REDIS_URL": redis.url, "EXTRACTION_DEBOUNCE_SECONDS": "0"}
        mode = ("mcp", "--mode", "streamable-http", "--task-backend", "docket")
        servers = [ServerProcess(tmp_path / f"api-{number}", environment=environment) for number in range(2)]
        mcp = ServerProcess(tmp_path / "mcp", environment=environment, arguments=mode)
        workers = [WorkerProcess(tmp_path, environment, plain=False, queue_name="memory-server") for _ in range(2)]
        for each in (*servers, mcp):
            stack.callback(each.kill)
            each.launch()
        for each in workers:
            stack.callback(each.kill)
            each.start(wait=False)
        for each in (*servers, mcp):
            each.await_ready()
        yield Fleet(servers, mcp, workers)


class Clients:
    """Clients that ask one server after the other until one acknowledges, as a caller with retries does."""

    def __init__(self, fleet: Fleet, sent: Sent, stopped: asyncio.Event) -> None:
        self._fleet = fleet
        self._sent = sent
        self._stopped = stopped
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S)

    async def close(self) -> None:
        await self._client.aclose()

    async def acknowledged(self, number: int, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer, when there is a 2xx. Any other has to be one that says to come again."""
        while True:
            number += 1
            self._sent.attempts += 1
            try:
                response = await self._client.request(method, self._fleet.servers[number % 2].url + path, json=body)
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code == 200:
                return response.json()
            assert response is None or response.status_code in (503, 504), response.text
            self._sent.failures += 1
            await asyncio.sleep(PAUSE_S)

    async def _numbers(self) -> AsyncIterator[int]:
        number = 0
        while not self._stopped.is_set():
            yield number
            number += 1
            await asyncio.sleep(PAUSE_S)

    async def talk(self, session: int) -> None:
        """One message after the other: each becomes a memory of its own, by rules."""
        name = f"session-{session}"
        said = self._sent.messages.setdefault(name, [])
        async for number in self._numbers():
            identifier = f"food{session}x{number}"
            body = {
                "messages": [{"id": identifier, "role": "user", "content": f"I am allergic to {identifier}."}],
                "namespace": SPACE,
            }
            await self.acknowledged(number, "POST", f"/v1/working-memory/{name}/messages", body)
            said.append(identifier)

    async def create(self, writer: int) -> None:
        async for number in self._numbers():
            identifier = f"made-{writer}-{number}"
            memory = {"id": identifier, "text": f"{identifier} is a place", "namespace": SPACE}
            body = {"memories": [memory], "deduplicate": False}
            await self.acknowledged(number, "POST", "/v1/long-term-memory/", body)
            self._sent.memories.add(identifier)

    async def put(self) -> None:
        """Sessions with a structured memory each, which promotion carries over."""
        async for number in self._numbers():
            identifier = f"promoted-{number}"
            memory = {"id": identifier, "text": f"{identifier} is a river", "memory_type": "semantic"}
            body = {"messages": [], "memories": [memory], "namespace": SPACE}
            await self.acknowledged(number, "PUT", f"/v1/working-memory/with-{number}", body)
            self._sent.promoted.add(identifier)

    async def remember(self) -> None:
        """The same through a tool of the MCP server."""
        async for number in self._numbers():
            identifier = f"told-{number}"
            memory = {"id": identifier, "text": f"{identifier} is a mountain", "namespace": SPACE}
            call = tool_call("create_long_term_memories", {"memories": [memory]})
            while not await self._told(call):
                self._sent.failures += 1
                await asyncio.sleep(PAUSE_S)
            self._sent.remembered.add(identifier)

    async def _told(self, call: dict[str, Any]) -> bool:
        self._sent.attempts += 1
        try:
            response = await self._client.post(f"{self._fleet.mcp.url}/mcp", json=call, headers=headers())
        except httpx.TransportError:
            return False
        return response.status_code == 200 and not answer_in(response)["result"]["isError"]

    async def run_views(self) -> None:
        """Summary views, each run as a task whose end can be read."""
        async for number in self._numbers():
            if number >= 12:
                return
            body = {"source": "long_term", "group_by": ["namespace"], "filters": {"namespace": SPACE}}
            view = (await self.acknowledged(number, "POST", "/v1/summary-views", body))["id"]
            task = await self.acknowledged(number, "POST", f"/v1/summary-views/{view}/run", {})
            self._sent.views[view] = task["id"]
            await asyncio.sleep(0.5)


async def _killed_in_turn(fleet: Fleet) -> None:
    """kill -9 and a new start of everything once, while the rest works on; the next one when this one is back."""
    chance = random.Random(20)
    victims: list[ServerProcess | WorkerProcess] = [*fleet.servers, fleet.mcp, *fleet.workers]
    chance.shuffle(victims)
    for victim in victims:
        await asyncio.sleep(LOAD_AFTER_KILL_S)
        victim.kill()
        await asyncio.to_thread(victim.start)
    await asyncio.sleep(LOAD_AFTER_KILL_S)


async def _under_load(fleet: Fleet) -> Sent:
    sent, stopped = Sent(), asyncio.Event()
    clients = Clients(fleet, sent, stopped)
    load = [
        *(clients.talk(number) for number in range(SESSIONS)),
        *(clients.create(number) for number in range(2)),
        clients.put(),
        clients.remember(),
        clients.run_views(),
    ]
    tasks = [asyncio.create_task(each) for each in load]
    try:
        await _killed_in_turn(fleet)
        stopped.set()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await clients.close()
    return sent


async def test_nothing_is_lost_or_doubled_while_everything_is_killed_once(fleet: Fleet) -> None:
    """Each process dies once under load and comes back: what was acknowledged is there once, and all work has ended."""
    sent = await _under_load(fleet)
    assert sent.failures > 0, "no client noticed that anything was killed"
    with fleet.servers[0].client() as client:
        await asyncio.to_thread(wait_for_no_pending_work, client, 60.0)
        assert client.get("/v1/pending").json()["dead"] == 0
        for session, said in sent.messages.items():
            assert _messages(client, session) == said
        stored = listed(client, SPACE)
        by_kind: dict[str, list[str]] = {}
        for each in stored:
            kind = "extracted" if each["extracted_from"] else each["id"].partition("-")[0]
            by_kind.setdefault(kind if each["memory_type"] != "message" else "message", []).append(each["id"])
        assert sorted(by_kind["made"]) == sorted(sent.memories)
        assert sorted(by_kind["promoted"]) == sorted(sent.promoted)
        assert sorted(by_kind["told"]) == sorted(sent.remembered)
        every_message = sorted(each for said in sent.messages.values() for each in said)
        assert sorted(by_kind["message"]) == every_message
        extracted = sorted(each["text"] for each in stored if each["id"] in set(by_kind["extracted"]))
        assert extracted == sorted(f"User is allergic to {each}." for each in every_message)
        for view, task in sent.views.items():
            assert client.get(f"/v1/tasks/{task}").json()["status"] == "success", task
            assert len(client.get(f"/v1/summary-views/{view}/partitions").json()) == 1
        found = client.post(
            "/v1/long-term-memory/search",
            json={"text": f"allergic {every_message[-1]}", "search_mode": "keyword", "namespace": {"eq": SPACE}},
        )
        assert every_message[-1] in found.text
    assert len(every_message) > 20, sent


def _messages(client: httpx.Client, session: str) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        query: dict[str, Any] = {"namespace": SPACE, "limit": 1000, **({"cursor": cursor} if cursor else {})}
        page = client.get(f"/v1/working-memory/{session}/messages", params=query).raise_for_status().json()
        found += [each["id"] for each in page["messages"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
