"""Tasks over HTTP: read, list, replay."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agent_memory_server.app import utc_now
from agent_memory_server.services.pending_work import ATTEMPTS_MAX
from agent_memory_server.testing.model_server import UNAUTHORIZED, ModelServer
from agent_memory_server.testing.running import RunningApp, running_app
from tests.api.conftest import encoded

pytestmark = pytest.mark.asyncio(loop_scope="session")

TASKS = "/v1/tasks"


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint() -> AsyncGenerator[ModelServer]:
    """An embedding endpoint that refuses our key until the test lets it recover."""
    async with ModelServer() as server:
        server.fail(UNAUTHORIZED)
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def cut_off(tmp_path: Path, clock: Clock, endpoint: ModelServer) -> AsyncGenerator[RunningApp]:
    """An app that embeds at the endpoint, and leaves nothing else for later; the test does the background work."""
    models: dict[str, Any] = {"embedding_model": "m", "generation_model": "m", "openai_api_base": endpoint.base_url}
    models |= {"enable_topic_extraction": False, "enable_ner": False, "compact_semantic_duplicates": False}
    async with running_app(data_dir=tmp_path, now=clock, background=False, **models) as opened:
        yield opened


async def create(client: httpx.AsyncClient, memory_id: str) -> str:
    """A memory whose vector is still to come; the id of the create's task."""
    answered = await client.post("/v1/long-term-memory/", json={"memories": [{"id": memory_id, "text": "tea"}]})
    assert answered.status_code == 200, answered.text
    task_id = answered.json()["task_id"]
    assert isinstance(task_id, str)
    return task_id


async def listed(client: httpx.AsyncClient, **query: str) -> list[tuple[str, str]]:
    page = (await client.get(TASKS, params=query)).json()
    assert page["total"] == len(page["tasks"])
    return [(task["id"], task["status"]) for task in page["tasks"]]


async def test_a_task_that_is_not_there(client: httpx.AsyncClient, new_id: str) -> None:
    """404 with the contract's sentence, to read and to replay."""
    for task_id in (new_id, "a/b", "..", "replay"):
        path = f"{TASKS}/{encoded(task_id)}"
        for response in (await client.get(path), await client.post(f"{path}/replay")):
            assert response.status_code == 404, response.text
            assert response.json()["detail"] == f"Task {task_id} not found"


async def test_wrong_questions_are_refused(client: httpx.AsyncClient) -> None:
    """An unknown status, a page of no or too many tasks, a cursor that is none."""
    for query in ({"status": "completed"}, {"limit": 0}, {"limit": 101}, {"cursor": "x"}):
        assert (await client.get(TASKS, params=query)).status_code == 422, query


async def test_a_create_that_is_not_embedded_yet_has_a_task_to_its_end(
    cut_off: RunningApp, clock: Clock, endpoint: ModelServer
) -> None:
    """Pending, then running with the reason of the last failure, then failed and dead; replayed it ends in success."""
    client = cut_off.client
    task_id = await create(client, "m1")
    path = f"{TASKS}/{task_id}"
    assert (await client.get(path)).json()["status"] == "pending"
    assert await listed(client) == await listed(client, status="pending") == [(task_id, "pending")]
    await cut_off.app.pending_work.run_due()
    tried = (await client.get(path)).json()
    assert (tried["status"], tried["type"], bool(tried["error_message"])) == ("running", "embed_memories", True)
    assert (await client.post(f"{path}/replay")).status_code == 409
    for _ in range(ATTEMPTS_MAX):
        clock.ahead += timedelta(minutes=10)
        await cut_off.app.pending_work.run_due()
    failed = (await client.get(path)).json()
    assert (failed["status"], bool(failed["error_message"])) == ("failed", True)
    assert failed["created_at"] <= failed["started_at"] <= failed["completed_at"]
    assert await listed(client, status="failed") == [(task_id, "failed")]
    assert await listed(client, status="dead") == [(task_id, "dead")]
    assert (await client.get("/v1/pending")).json()["dead"] == 1
    replayed = (await client.post(f"{path}/replay")).json()
    assert (replayed["id"], replayed["status"], replayed["error_message"]) == (task_id, "pending", None)
    assert await listed(client, status="dead") == []
    endpoint.recover()
    await cut_off.app.pending_work.run_due()
    assert (await client.get(path)).json()["status"] == "success"
    assert (await client.get("/v1/pending")).json() == {"pending": 0, "oldest_age_s": 0.0, "dead": 0}


async def test_pages_newest_first(cut_off: RunningApp, clock: Clock) -> None:
    """Each task once, with the true total on every page."""
    client = cut_off.client
    made: list[str] = []
    for number in range(5):
        clock.ahead += timedelta(seconds=1)
        made.append(await create(client, f"m{number}"))
    seen: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    while True:
        page = (await client.get(TASKS, params=query)).json()
        assert page["total"] == 5
        seen.extend(task["id"] for task in page["tasks"])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == made[::-1]


async def test_a_task_is_gone_after_a_week(cut_off: RunningApp, clock: Clock) -> None:
    """Seven days after its last change it answers like one that never was."""
    task_id = await create(cut_off.client, "m1")
    clock.ahead = timedelta(days=6, hours=23)
    assert (await cut_off.client.get(f"{TASKS}/{task_id}")).status_code == 200
    clock.ahead = timedelta(days=7, hours=1)
    assert (await cut_off.client.get(f"{TASKS}/{task_id}")).status_code == 404
