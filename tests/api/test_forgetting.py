"""Forgetting and compaction over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORGET = "/v1/long-term-memory/forget"
OLD = "2020-01-01T00:00:00Z"


async def store(client: httpx.AsyncClient, namespace: str, *memories: dict[str, Any]) -> None:
    filled = [{"text": each["id"], "namespace": namespace, **each} for each in memories]
    response = await client.post("/v1/long-term-memory/", json={"memories": filled, "deduplicate": False})
    assert response.status_code == 200, response.text


async def test_a_dry_run_is_the_default_and_removes_nothing(client: httpx.AsyncClient, namespace: str) -> None:
    """The same answer as the real run, which needs ``dry_run=false``; pinned ones are spared in both ways."""
    await store(
        client,
        namespace,
        {"id": "old", "created_at": OLD},
        {"id": "new"},
        {"id": "kept", "created_at": OLD},
        {"id": "pinned", "created_at": OLD, "pinned": True},
    )
    body = {"policy": {"max_age_days": 1}, "pinned_ids": ["kept"]}
    for dry_run in (None, "true", "false"):
        params = {"namespace": namespace, **({} if dry_run is None else {"dry_run": dry_run})}
        forgotten = (await client.post(FORGET, params=params, json=body)).json()
        # What did something can be taken back by the id of its run.
        assert (forgotten.pop("run_id") is None) is (dry_run != "false")
        assert forgotten == {
            "scanned": 4,
            "deleted": 1,
            "deleted_ids": ["old"],
            "dry_run": dry_run != "false",
            "held_back": 0,
            "reason": None,
        }
    left = (await client.get("/v1/long-term-memory", params={"namespace": namespace})).json()
    assert {each["id"] for each in left["memories"]} == {"new", "kept", "pinned"}


async def test_budget_session_and_types_narrow(client: httpx.AsyncClient, namespace: str) -> None:
    """Nulls in the policy are "not set"; the limit bounds what goes."""
    await store(client, namespace, *({"id": f"m{n}", "session_id": "s", "last_accessed": OLD} for n in range(4)))
    policy: dict[str, Any] = {"budget": 1, "max_age_days": None, "memory_type_allowlist": None}
    params = {"namespace": namespace, "session_id": "s"}
    assert (await client.post(FORGET, params=params, json={"policy": policy})).json()["deleted"] == 3
    limited = await client.post(FORGET, params={**params, "limit": 2}, json={"policy": policy})
    assert limited.json()["deleted"] == 2
    spared = {"policy": {**policy, "memory_type_allowlist": ["episodic"]}, "pinned_ids": None}
    assert (await client.post(FORGET, params=params, json=spared)).json()["deleted"] == 0


@pytest.mark.parametrize(
    ("params", "body", "place"),
    [
        ({}, {"max_age_days": 1}, ["body", "policy"]),
        ({}, {"policy": {"max_age_days": -1}}, ["body", "policy", "max_age_days"]),
        ({}, {"policy": {"max_inactive_days": "soon"}}, ["body", "policy", "max_inactive_days"]),
        ({}, {"policy": {"budget": -1}}, ["body", "policy", "budget"]),
        ({}, {"policy": {"budget": 1.5}}, ["body", "policy", "budget"]),
        ({}, {"policy": {"memory_type_allowlist": ["x"]}}, ["body", "policy", "memory_type_allowlist", 0]),
        ({}, {"policy": {"hard_age_multiplier": -2}}, ["body", "policy", "hard_age_multiplier"]),
        ({}, {"policy": {}, "pinned_ids": "a"}, ["body", "pinned_ids"]),
        ({"limit": "0"}, {"policy": {}}, ["query", "limit"]),
        ({"limit": "100001"}, {"policy": {}}, ["query", "limit"]),
        ({"dry_run": "maybe"}, {"policy": {}}, ["query", "dry_run"]),
        ({"user_id": ""}, {"policy": {}}, ["query", "user_id"]),
    ],
)
async def test_a_bad_policy_is_422(
    client: httpx.AsyncClient, params: dict[str, str], body: dict[str, Any], place: list[str | int]
) -> None:
    """Naming the field; a bare policy is a missing one."""
    response = await client.post(FORGET, params=params, json=body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == place


async def test_compaction_answers_what_remains(client: httpx.AsyncClient, namespace: str) -> None:
    """In the contract's words; duplicates step back but stay readable."""
    await store(client, namespace, *({"id": f"{n}-{namespace}", "text": "the same"} for n in range(3)))
    compacted = await client.post("/v1/long-term-memory/compact", params={"namespace": namespace})
    assert compacted.json()["status"] == "ok, 1 memories remaining after compaction"
    assert compacted.json()["superseded"] == 2
    for n in range(3):
        assert (await client.get(f"/v1/long-term-memory/{n}-{namespace}")).status_code == 200
