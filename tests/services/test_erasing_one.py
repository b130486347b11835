"""Erasing one memory or one session: what is meant, what a dry run says, and a receipt that is right after a crash too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind, Lane
from agent_memory_server.testing.running import RunningApp, running_app

MEMORIES = "/v1/long-term-memory"
SESSIONS = "/v1/working-memory"


@pytest.fixture
async def running() -> AsyncIterator[RunningApp]:
    async with running_app(background=False) as opened:
        yield opened


async def _remember(client: httpx.AsyncClient, memory_id: str, **fields: Any) -> None:
    body = {"memories": [{"id": memory_id, "text": f"Likes {memory_id}.", **fields}]}
    assert (await client.post(f"{MEMORIES}/", json=body)).status_code == 200


async def _receipt(running: RunningApp, path: str, **params: str) -> dict[str, Any]:
    begun = (await running.client.post(f"{path}/erase", params={"dry_run": "false", **params})).json()
    while await running.app.lanes[Lane.UPKEEP].run_due():
        pass
    task = (await running.client.get(f"/v1/tasks/{begun['id']}")).json()
    assert task["status"] == "success", task
    return task["result"]


def _work(memory_id: str) -> ClaimedIntent:
    asked = {"erasure": "e", "actor": "test", "namespace": None, "user": None, "requested_at": "2026-01-01T00:00:00Z"}
    return ClaimedIntent(
        id=1,
        kind=IntentKind.ERASE.value,
        key="e",
        tenant="default",
        namespace=None,
        user_id=None,
        payload={**asked, "one": {"memory": [None, None, memory_id]}},
        attempts=0,
        generation=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        task_id="e",
    )


async def test_a_memory_goes_with_its_past_and_the_receipt_says_which(running: RunningApp) -> None:
    """A dry run, which is the default, counts it and leaves it; afterwards it is not found, and neither is it to erase again."""
    client = running.client
    await _remember(client, "tea", user_id="ada", namespace="home")
    planned = (await client.post(f"{MEMORIES}/tea/erase")).json()["result"]
    assert (planned["dry_run"], planned["memory_id"], planned["counts"]["memories"]) == (True, "tea", 1)
    assert (await client.get(f"{MEMORIES}/tea")).status_code == 200
    receipt = await _receipt(running, f"{MEMORIES}/tea")
    assert {name: receipt[name] for name in ("namespace", "user_id", "session_id", "memory_id")} == {
        "namespace": "home",
        "user_id": "ada",
        "session_id": None,
        "memory_id": "tea",
    }
    assert {kind: count for kind, count in receipt["counts"].items() if count} == {"memories": 1}
    assert (await client.get(f"{MEMORIES}/tea")).status_code == 404
    for dry_run in ("true", "false"):
        again = await client.post(f"{MEMORIES}/tea/erase", params={"dry_run": dry_run})
        assert again.status_code == 404, again.text
    check = "/v1/erasure-receipts/check"
    assert (await client.post(check, json=receipt)).json() == {"genuine": True}
    assert (await client.post(check, json={**receipt, "memory_id": "coffee"})).json() == {"genuine": False}


async def test_a_session_goes_with_what_was_extracted(running: RunningApp) -> None:
    """And only it: a session of the same id of another user stays, and has to be told apart."""
    client = running.client
    for user in ("ada", "bob"):
        said = {"messages": [{"id": f"m-{user}", "role": "user", "content": f"{user} grows tea"}], "user_id": user}
        assert (await client.put(f"{SESSIONS}/talk", json=said)).status_code == 200
    assert (await client.post(f"{SESSIONS}/talk/erase")).status_code == 409
    assert (await client.post(f"{SESSIONS}/none/erase")).status_code == 404
    while await running.app.pending_work.run_due():
        pass
    await _remember(client, "extracted", user_id="ada", session_id="talk", extracted_from=["m-ada"])
    receipt = await _receipt(running, f"{SESSIONS}/talk", user_id="ada")
    assert (receipt["session_id"], receipt["user_id"]) == ("talk", "ada")
    assert (receipt["counts"]["sessions"], receipt["counts"]["messages"]) == (1, 1)
    assert receipt["counts"]["memories"] >= 1
    assert (await client.get(f"{SESSIONS}/talk", params={"user_id": "ada"})).status_code == 404
    assert (await client.get(f"{SESSIONS}/talk", params={"user_id": "bob"})).status_code == 200
    left = (await client.get(MEMORIES, params={"limit": "100"})).json()["memories"]
    assert {each["user_id"] for each in left} <= {"bob"}


async def test_what_was_carried_out_twice_is_counted_once(running: RunningApp) -> None:
    """As after a crash between the deletion and its note: the same work, done again, ends with the same receipt."""
    await _remember(running.client, "tea")
    receipts = [await running.app.erasure.carry_out(_work("tea")) for _ in range(2)]
    assert [receipt["counts"]["memories"] for receipt in receipts] == [1, 1]
