"""Settings that change what the API answers."""

from __future__ import annotations

import httpx
import pytest

from agent_memory_server.testing.running import RunningApp, running_app

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_long_term_endpoints_are_400_when_long_term_memory_is_off() -> None:
    """All but forget, in the contract's words; working memory goes on."""
    async with running_app(long_term_memory=False) as running:
        client = running.client
        refused = [
            await client.post("/v1/long-term-memory/", json={"memories": []}),
            await client.post("/v1/long-term-memory/search", json={}),
            await client.get("/v1/long-term-memory"),
            await client.get("/v1/long-term-memory/x"),
            await client.patch("/v1/long-term-memory/x", json={"text": "t"}),
            await client.delete("/v1/long-term-memory"),
            await client.post("/v1/long-term-memory/compact"),
            await client.post("/v1/memory/prompt", json={"query": "q", "long_term_search": True}),
        ]
        for response in refused:
            assert (response.status_code, response.json()["detail"]) == (400, "Long-term memory is disabled")
        assert (await client.post("/v1/long-term-memory/forget", json={"policy": {}})).status_code == 200
        assert (await client.put("/v1/working-memory/x", json={})).status_code == 200
        prompt = {"query": "q", "session": {"session_id": "x"}}
        assert (await client.post("/v1/memory/prompt", json=prompt)).status_code == 200


async def test_missing_timestamps_are_refused_where_they_are_required() -> None:
    """422 that names the message, in PUT and append."""
    timed = {"role": "user", "content": "a", "created_at": "2026-01-01T00:00:00Z"}
    body = {"messages": [timed, {"role": "user", "content": "b"}]}
    async with running_app(require_message_timestamps=True) as running:
        for response in (
            await running.client.put("/v1/working-memory/x", json=body),
            await running.client.post("/v1/working-memory/x/messages", json=body),
        ):
            assert response.status_code == 422
            assert response.json()["detail"][0]["loc"] == ["body", "messages", 1, "created_at"]
        assert (await running.client.put("/v1/working-memory/x", json={"messages": [timed]})).status_code == 200


async def test_how_far_ahead_a_message_may_lie_is_a_setting() -> None:
    """MAX_FUTURE_TIMESTAMP_SECONDS."""
    body = {"messages": [{"role": "user", "content": "a", "created_at": "2999-01-01T00:00:00Z"}]}
    async with running_app(max_future_timestamp_seconds=10**11) as running:
        assert (await running.client.put("/v1/working-memory/x", json=body)).status_code == 200


async def test_health_and_readiness(client: httpx.AsyncClient) -> None:
    """Health is a number of milliseconds; readiness names its checks."""
    health = await client.get("/v1/health")
    assert health.json().keys() == {"now"}
    assert isinstance(health.json()["now"], int)
    ready = await client.get("/v1/ready")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert all(check.keys() == {"ok", "detail"} for check in ready.json()["checks"].values())


async def test_pending_work_is_countable() -> None:
    """What a client awaits instead of sleeping, within a scope."""
    async with running_app(background=False) as running:
        client = running.client
        message = {"role": "user", "content": "hi"}
        await client.put("/v1/working-memory/x", json={"messages": [message], "namespace": "n", "user_id": "u"})
        assert (await client.get("/v1/pending")).json().keys() == {"pending", "oldest_age_s", "dead"}
        assert (await client.get("/v1/pending", params={"namespace": "n"})).json()["pending"] >= 1
        assert (await client.get("/v1/pending", params={"namespace": "other"})).json()["pending"] == 0


async def test_deleting_a_session_keeps_or_takes_what_came_of_it(
    running: RunningApp, new_id: str, namespace: str
) -> None:
    """Message memories go with the session; ``cascade`` takes the memories that came out of it too."""
    client = running.client
    for cascade, left in (("false", 1), ("true", 0)):
        scope = {"namespace": namespace, "user_id": cascade}
        message = {"role": "user", "content": "hi"}
        memory = {"id": f"{new_id}-{cascade}", "text": "likes tea"}
        body = {"messages": [message], "memories": [memory], **scope}
        await client.put(f"/v1/working-memory/{new_id}", json=body)
        await running.app.pending_work.run_due()
        params = {**scope, "cascade": cascade}
        assert (await client.delete(f"/v1/working-memory/{new_id}", params=params)).json() == {"status": "ok"}
        listed = await client.get("/v1/long-term-memory", params={**scope, "session_id": new_id})
        assert listed.json()["total"] == left
