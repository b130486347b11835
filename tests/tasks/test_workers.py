"""Real workers on a real Redis: who does the work, what a killed worker leaves, and how workers stop."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.commands import CommandLine
from tests.redis_server import RedisServer
from tests.server_process import ServerProcess, wait_for_no_pending_work
from tests.tasks.workers import WorkerProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.long

COMPACT = "agent_memory_server.long_term_memory.compact_long_term_memories"
VIEW = "agent_memory_server.docket_tasks.refresh_summary_view"


@dataclass(frozen=True, slots=True)
class Place:
    """A store, a queue, and what every process is told."""

    folder: Path
    queue_name: str
    redis: RedisServer

    @property
    def environment(self) -> dict[str, str]:
        return {
            "STORAGE_URL": f"sqlite:///{self.folder}/memory.db",
            "REDIS_URL": self.redis.url,
            "DOCKET_URL": self.redis.url,
            "DOCKET_NAME": self.queue_name,
            "EXTRACTION_DEBOUNCE_SECONDS": "0",
        }

    def server(self) -> ServerProcess:
        return ServerProcess(self.folder / "data", environment=self.environment)

    def worker(self, *, plain: bool, from_nothing: bool = False) -> WorkerProcess:
        return WorkerProcess(
            self.folder, self.environment, plain=plain, queue_name=self.queue_name, from_nothing=from_nothing
        )

    def commands(self) -> CommandLine:
        return CommandLine(folder=self.folder, environment=self.environment)


@pytest.fixture
def place(tmp_path: Path, queue_name: str, redis: RedisServer) -> Place:
    return Place(tmp_path, queue_name, redis)


def say(client: httpx.Client, session: str, *ids: str) -> None:
    said = [{"id": each, "role": "user", "content": f"I am allergic to {each}."} for each in ids]
    response = client.post(f"/v1/working-memory/{session}/messages", json={"messages": said})
    assert response.status_code == 200, response.text


def memories(client: httpx.Client, kind: str) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "100", "memory_type": kind, **({"cursor": cursor} if cursor else {})}
        page: dict[str, Any] = client.get("/v1/long-term-memory", params=query).json()
        found += [each["text"] for each in page["memories"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return sorted(found)


@contextlib.contextmanager
def working(place: Place, *, plain: bool, from_nothing: bool = False) -> Generator[tuple[httpx.Client, WorkerProcess]]:
    with (
        place.server() as server,
        place.worker(plain=plain, from_nothing=from_nothing) as worker,
        server.client() as client,
    ):
        yield client, worker


@pytest.mark.parametrize("plain", [True, False], ids=["docket worker", "agent-memory task-worker"])
def test_a_worker_does_what_the_server_leaves_to_it(place: Place, plain: bool) -> None:
    """Woken at once by a write; it does tasks by name and tells how they ended; SIGTERM ends it quickly, with status 0."""
    with working(place, plain=plain, from_nothing=True) as (client, worker):
        for index in range(3):
            say(client, f"s{index}", f"food{index}")
        wait_for_no_pending_work(client)
        assert len(memories(client, "semantic")) == 3
        printed = place.commands().done("schedule-task", COMPACT, "--args", "limit=10", "--wait")
        assert json.loads(printed.splitlines()[-1])["remaining"] == 6
        outcome = place.commands().run("schedule-task", VIEW, "--args", "view_id=7", "--wait")
        assert (outcome.code, "SummaryView 7 not found" in outcome.err) == (1, True)
        dead = client.get("/v1/tasks", params={"status": "dead"}).json()["tasks"]
        assert [each["error_message"] for each in dead] == ["SummaryView 7 not found"]
        status, took_s = worker.stop()
        assert (status, took_s < 5) == (0, True), worker.log[-2000:]


def test_without_a_worker_the_work_waits_and_is_found(place: Place) -> None:
    """The server alone leaves it pending, even while Redis is away; a worker that comes later finds it in the store."""
    with place.server() as server, server.client() as client:
        place.redis.kill()
        say(client, "s", "milk")
        assert client.get("/v1/pending").json()["pending"] > 0
        place.redis.start()
        with place.worker(plain=False):
            wait_for_no_pending_work(client)
            assert len(memories(client, "semantic")) == 1


def test_killed_workers_and_servers_lose_and_double_nothing(place: Place) -> None:
    """Again and again a worker or the server is killed in the middle: every acknowledged message is one memory in the end."""
    chance = random.Random(7)
    acknowledged: list[str] = []
    with place.server() as server, place.worker(plain=True) as worker:
        for round_number in range(6):
            with server.client() as client:
                for index in range(12):
                    ids = [f"thing{round_number}x{index}y{part}" for part in range(3)]
                    with contextlib.suppress(httpx.TransportError):
                        say(client, f"session{index}", *ids)
                        acknowledged += ids
            if chance.random() < 0.7:
                worker.kill()
                worker.start(wait=False)
            else:
                server.kill()
                server.start()
        with server.client() as client:
            wait_for_no_pending_work(client)
            expected = sorted(f"I am allergic to {each}." for each in acknowledged)
            assert memories(client, "message") == expected
            stored = memories(client, "semantic")
            assert len(stored) == len(set(stored)) == len(acknowledged)


def test_a_task_of_a_killed_worker_is_done_by_another(place: Place) -> None:
    """It was noted in the store before it began: asked for once, done once, whoever dies."""
    commands = place.commands()
    with place.server() as server, server.client() as client:
        with place.worker(plain=True) as worker:
            for _ in range(2):
                commands.done("schedule-task", COMPACT)
            worker.kill()
        with place.worker(plain=True):

            def ended() -> bool:
                tasks = client.get("/v1/tasks", params={"limit": "100"}).json()["tasks"]
                named = [each for each in tasks if each["type"] == "compact_long_term_memories" and each["result"]]
                return len([each for each in named if each["status"] == "success"]) >= 2

            wait_until(ended, "the killed worker's tasks were not done", 30.0)


def test_two_workers_ask_for_a_round_once(place: Place) -> None:
    """Periodic work comes at its interval, however many workers there are."""
    environment = {**place.environment, "SUMMARY_VIEW_REFRESH_EVERY_MINUTES": "60"}
    both = [WorkerProcess(place.folder, environment, plain=True, queue_name=place.queue_name) for _ in range(2)]
    with place.server(), contextlib.ExitStack() as stack:
        for worker in both:
            worker.start(wait=False)
            stack.callback(worker.kill)

        def asked() -> int:
            return sum(worker.log.count("refresh summary views") for worker in both)

        wait_until(asked, "no worker asked for the round", 30.0)
        looked_until = time.monotonic() + 3
        wait_until(lambda: time.monotonic() > looked_until, "time passes")
        assert asked() == 1
