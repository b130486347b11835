"""Deleted means gone: a user's erasure is complete, goes on after a crash, and has a receipt that counts right (both engines)."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.erasing import Store, opened_store, receipt_of
from tests.server_process import ServerProcess, wait_for_no_pending_work

pytestmark = pytest.mark.long

MEMORIES = 200
SESSIONS = 20
CANARY = "xylophonecanary"


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Store]:
    with opened_store(request.param, tmp_path) as opened:
        yield opened


def _fill(client: httpx.Client, user_id: str, *, memories: int = MEMORIES, sessions: int = SESSIONS) -> None:
    made = [
        {
            "id": f"{user_id}-{number}",
            "text": f"{CANARY} {user_id} knows {number}",
            "user_id": user_id,
            "topics": [CANARY],
        }
        for number in range(memories)
    ]
    assert client.post("/v1/long-term-memory/", json={"memories": made, "deduplicate": False}).status_code == 200
    for number in range(sessions):
        messages = [
            {
                "id": f"m{each}",
                "role": "user",
                "content": f"I like {CANARY} {number} {each}",
                "created_at": "2026-01-01T00:00:00Z",
            }
            for each in range(3)
        ]
        body = {"messages": messages, "user_id": user_id, "data": {"note": CANARY}, "context": f"about {CANARY}"}
        assert client.put(f"/v1/working-memory/{user_id}-{number}", json=body).status_code == 200
    view = {"source": "long_term", "group_by": ["user_id"], "filters": {"user_id": user_id}}
    assert client.post("/v1/summary-views", json=view).status_code == 200
    wait_for_no_pending_work(client, 60)


def _all_of(client: httpx.Client, user_id: str) -> int:
    """Memories and sessions that can still be found."""
    listed = client.get("/v1/long-term-memory", params={"user_id": user_id}).json()["total"]
    found = client.post(
        "/v1/long-term-memory/search",
        json={"text": CANARY, "search_mode": "hybrid", "user_id": {"eq": user_id}, "include_superseded": True},
    ).json()
    return (
        listed + len(found["memories"]) + client.get("/v1/working-memory/", params={"user_id": user_id}).json()["total"]
    )


def test_an_erasure_that_is_killed_goes_on_and_its_receipt_is_right(store: Store) -> None:
    """kill -9 in the middle, restart: nothing is left of the user, others are untouched, and the counts are what there was."""
    with store.server.client() as client:
        _fill(client, "gone")
        _fill(client, "stays", memories=20, sessions=2)
        edited = client.patch("/v1/long-term-memory/gone-0", json={"text": f"{CANARY} edited"})
        assert edited.status_code == 200
        forgotten = client.post(
            "/v1/long-term-memory/forget",
            params={"user_id": "gone", "dry_run": "false", "limit": 100_000},
            json={"policy": {"budget": MEMORIES}},
        ).json()
        before = _all_of(client, "stays")
        planned = client.post("/v1/users/gone/erase").json()
        assert planned["result"]["dry_run"] is True
        assert receipt_of(client, planned["id"]) == planned["result"]
        there = planned["result"]["counts"]
        assert there["histories"] == forgotten["deleted"]
        assert (there["sessions"], there["messages"]) == (SESSIONS, 3 * SESSIONS)
        begun = client.post("/v1/users/gone/erase", params={"dry_run": "false"}).json()
    store.server.kill()
    store.server.start()
    with store.server.client() as client:
        receipt = receipt_of(client, begun["id"])
        assert {name: receipt["counts"][name] for name in ("sessions", "messages", "memories", "histories")} == {
            name: there[name] for name in ("sessions", "messages", "memories", "histories")
        }
        assert _all_of(client, "gone") == 0
        assert _all_of(client, "stays") == before
        history = client.get("/v1/long-term-memory/gone-0/history", params={"user_id": "gone"})
        assert CANARY not in history.text
        assert client.post("/v1/erasure-receipts/check", json=receipt).json() == {"genuine": True}
        changed = {**receipt, "counts": {**receipt["counts"], "memories": 1}}
        assert client.post("/v1/erasure-receipts/check", json=changed).json() == {"genuine": False}


def test_nothing_is_left_in_the_files(store: Store, tmp_path: Path) -> None:
    """After the erasure and the purge no byte of the canary is in any file of the engine; the receipt can be checked."""
    with store.server.client() as client:
        _fill(client, "gone", memories=50, sessions=5)
        client.delete("/v1/long-term-memory", params={"memory_ids": ["gone-1"], "user_id": "gone"})
        client.patch("/v1/long-term-memory/gone-2", json={"text": f"{CANARY} again"})
        _leave_traces_elsewhere(client)
    assert store.files_with([CANARY])
    receipt = tmp_path / "receipt.json"
    erased = store.run("erase", "user", "gone", "--force", "--receipt", str(receipt))
    assert erased.code == 0, erased.err
    assert "memories" in erased.out
    checked = store.run("verify-receipt", str(receipt))
    assert (checked.code, "genuine" in checked.out) == (0, True), checked.err
    held = json.loads(receipt.read_text())
    counts = held["counts"]
    assert (counts["webhooks"], counts["summaries"], counts["histories"]) == (1, 1, 1)
    receipt.write_text(json.dumps({**held, "user_id": "somebody"}))
    assert store.run("verify-receipt", str(receipt)).code == 1
    purged = store.run("purge")
    assert purged.code == 0, purged.err
    assert store.files_with([CANARY]) == []


def _leave_traces_elsewhere(client: httpx.Client) -> None:
    """A webhook of the user's, a summary by somebody who sees more, and what an import told of a memory that is gone."""
    hook = {"url": f"http://127.0.0.1:9/{CANARY}", "user_id": "gone", "description": CANARY}
    assert client.post("/v1/webhooks", json=hook).status_code == 200
    view = client.post("/v1/summary-views", json={"source": "long_term", "group_by": ["user_id"]}).json()
    run = {"group": {"user_id": "gone"}}
    assert CANARY in client.post(f"/v1/summary-views/{view['id']}/partitions/run", json=run).json()["summary"]
    at, key = "2026-01-01T00:00:00Z", {"id": "was", "namespace": None, "user_id": "gone"}
    state = {"text": f"{CANARY} was here", "memory_type": "semantic", "created_at": at, "updated_at": at}
    done = {"id": "o1", "kind": "forget", "actor": "policy", "at": at, "reason": ""}
    lines: tuple[dict[str, Any], ...] = (
        {"kind": "export", "format": "agent-memory-export", "version": 1},
        {"kind": "gone", **key},
        {"kind": "revision", **key, "effect": "deleted", "operation": done, "before": state},
        {"kind": "end", "counts": {"gone": 1, "revision": 1}},
    )
    answer = client.post("/v1/import", content="\n".join(json.dumps(line) for line in lines))
    assert answer.json()["histories"] == 1


def test_what_is_made_of_a_user_while_it_is_erased_does_not_come_back(store: Store) -> None:
    """Sessions go before the memories: extraction that was under way finds its session gone."""
    with store.server.client() as client:
        _fill(client, "gone", memories=0, sessions=5)
        for number in range(5):
            body = {
                "messages": [
                    {"role": "user", "content": "I live in Lisbon and I love sailing.", "id": f"late{number}"}
                ],
                "user_id": "gone",
            }
            assert client.post(f"/v1/working-memory/gone-{number}/messages", json=body).status_code == 200
        begun = client.post("/v1/users/gone/erase", params={"dry_run": "false"}).json()
        receipt_of(client, begun["id"])
        wait_for_no_pending_work(client)
        assert _all_of(client, "gone") == 0


@pytest.mark.parametrize("path", ["/v1/users/%20/erase", "/v1/namespaces/%20/erase"])
def test_a_blank_name_is_refused(shared_server: ServerProcess, path: str) -> None:
    """It would look like everybody's."""
    with shared_server.client() as client:
        assert client.post(path, params={"dry_run": "false"}).status_code == 422
