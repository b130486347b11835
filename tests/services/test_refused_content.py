"""What was erased is refused when it comes again, where somebody asked for that: told to who writes, left out by work behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.testing.running import RunningApp, running_app
from tests.redis_server import running_redis

TEXT = "Alice is allergic to quartzwalnuts."
ALICE = {"user_id": "alice", "namespace": "work"}


@pytest.fixture(params=["sqlite", "redis"])
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[RunningApp]:
    """A server of each engine that refuses what was erased."""
    settings: dict[str, Any] = {"refuse_erased_content": True, "extraction_debounce_seconds": 0}
    if request.param == "sqlite":
        async with running_app(data_dir=tmp_path, **settings) as app:
            yield app
        return
    (tmp_path / "redis").mkdir()
    with running_redis(tmp_path / "redis") as redis:
        async with running_app(data_dir=tmp_path, redis_url=redis.url, use_docket=False, **settings) as app:
            yield app


async def _create(running: RunningApp, text: str = TEXT, **fields: Any) -> tuple[int, str]:
    body = {
        "memories": [{"id": "m1", "text": "Alice has a cat.", **ALICE}, {"id": "m2", "text": text, **ALICE, **fields}]
    }
    answer = await running.client.post("/v1/long-term-memory/", json=body)
    return answer.status_code, answer.text


async def _texts(running: RunningApp) -> set[str]:
    listed = await running.client.get("/v1/long-term-memory", params={"user_id": "alice", "limit": 100})
    return {each["text"] for each in listed.json()["memories"]}


async def test_what_was_deleted_is_refused_for_its_owner(running: RunningApp) -> None:
    """By create and edit with a clear answer and nothing stored; another owner may say it; allowed again, it is stored."""
    assert (await _create(running))[0] == 200
    assert (
        await running.client.delete("/v1/long-term-memory", params={"memory_ids": "m2", **ALICE})
    ).status_code == 200
    status, said = await _create(running, "ALICE is  allergic to quartzwalnuts.")
    assert (status, "REFUSE_ERASED_CONTENT" in said, "memory 1" in said) == (409, True, True)
    assert "quartz" not in said
    edited = await running.client.patch("/v1/long-term-memory/m1", params=ALICE, json={"text": TEXT})
    assert edited.status_code == 409
    assert await _texts(running) == {"Alice has a cat."}
    assert (await _create(running, user_id="bob"))[0] == 200
    text = {"text": TEXT, **ALICE}
    assert (await running.client.post("/v1/refused-content/check", json=text)).json()["refused"] is True
    other = await running.client.post("/v1/refused-content/check", json={**text, "user_id": "bob"})
    assert other.json() == {"refused": False, "since": None}
    assert (await running.client.post("/v1/refused-content/allow", json=text)).json() == {"allowed": True}
    assert (await running.client.post("/v1/refused-content/allow", json=text)).json() == {"allowed": False}
    assert (await _create(running))[0] == 200
    assert TEXT in await _texts(running)


async def test_work_behind_goes_on_without_what_was_erased(running: RunningApp) -> None:
    """After a user's erasure: what a session brings again and what an import holds is left out, and the rest is stored."""
    assert (await _create(running))[0] == 200
    export = (await running.client.get("/v1/users/alice/export")).content
    erased = await running.client.post("/v1/users/alice/erase", params={"dry_run": "false"})
    assert erased.status_code == 200
    await running.idle()
    assert await _texts(running) == set()
    session = {"messages": [], "memories": [{"id": "s1", "text": TEXT}, {"id": "s2", "text": "Alice sails."}], **ALICE}
    assert (await running.client.put("/v1/working-memory/s", json=session)).status_code == 200
    await running.idle()
    assert await _texts(running) == {"Alice sails."}
    imported = (await running.client.post("/v1/import", content=export)).json()
    assert (imported["written"], imported["kept"]) == (0, 2)
    assert await _texts(running) == {"Alice sails."}


async def test_a_copy_that_stands_can_still_be_edited(running: RunningApp) -> None:
    """Deleting one of two that say the same refuses new ones, and leaves the other its owner's."""
    twin = {"id": "twin", "text": TEXT, **ALICE}
    assert (await _create(running))[0] == 200
    body = {"memories": [twin], "deduplicate": False}
    assert (await running.client.post("/v1/long-term-memory/", json=body)).status_code == 200
    assert (
        await running.client.delete("/v1/long-term-memory", params={"memory_ids": "m2", **ALICE})
    ).status_code == 200
    edited = await running.client.patch("/v1/long-term-memory/twin", params=ALICE, json={"topics": ["health"]})
    assert edited.status_code == 200, edited.text
