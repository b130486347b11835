"""Check 12: forgetting over REST: a budget beside a noisy other, pins, dry runs, limits, and a clock that steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from agent_memory_server.domain.jobs import Lane
from agent_memory_server.testing.running import running_app

FORGET = "/v1/long-term-memory/forget"
START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def memory(user: str, index: int, **fields: Any) -> dict[str, Any]:
    at = (START - timedelta(days=index)).isoformat()
    made = {"id": f"m{index}", "text": f"{user} {index}", "user_id": user, "created_at": at, "last_accessed": at}
    return {**made, **fields}


async def fill(client: httpx.AsyncClient, *memories: dict[str, Any]) -> None:
    for start in range(0, len(memories), 1000):
        body = {"memories": memories[start : start + 1000], "deduplicate": False}
        assert (await client.post("/v1/long-term-memory/", json=body)).status_code == 200


async def left(client: httpx.AsyncClient, user: str) -> set[str]:
    response = await client.get("/v1/long-term-memory", params={"user_id": user, "limit": "100"})
    return {each["id"] for each in response.json()["memories"]}


async def forget(client: httpx.AsyncClient, policy: dict[str, Any], **params: str) -> dict[str, Any]:
    response = await client.post(FORGET, params={"dry_run": "false", **params}, json={"policy": policy})
    assert response.status_code == 200, response.text
    return response.json()


async def test_check_12_a_budget_for_one_user_beside_a_noisy_other() -> None:
    """Over all rows of that user, and not one of the other's 3,000."""
    async with running_app(background=False, now=Clock()) as running:
        client = running.client
        await fill(client, *(memory("noisy", index % 900, id=f"n{index}") for index in range(3000)))
        await fill(client, *(memory("alice", index, pinned=index == 9) for index in range(10)))
        dry = await forget(client, {"budget": 4}, user_id="alice", dry_run="true")
        assert (dry["scanned"], dry["deleted"], await left(client, "alice")) == (10, 5, {f"m{n}" for n in range(10)})
        assert (await forget(client, {"budget": 4}, user_id="alice", limit="2"))["deleted_ids"] == ["m8", "m7"]
        await forget(client, {"budget": 4}, user_id="alice")
        assert await left(client, "alice") == {"m0", "m1", "m2", "m3", "m9"}
        total = (await client.get("/v1/long-term-memory", params={"user_id": "noisy"})).json()["total"]
        assert total == 3000


async def test_check_12_a_clock_step_does_not_mass_delete() -> None:
    """A year ahead and back: by request and by the periodic run nothing goes for its age; afterwards only what is old."""
    clock = Clock()
    settings: dict[str, Any] = {
        "forgetting_enabled": True,
        "forgetting_max_age_days": 30,
        "forgetting_every_minutes": 60,
    }
    async with running_app(background=False, now=clock, **settings) as running:
        client, app = running.client, running.app

        async def periodic() -> None:
            await app.schedules.run_due()
            await app.lanes[Lane.UPKEEP].run_due()

        await fill(client, *(memory("alice", index) for index in range(50)))
        before = await left(client, "alice")
        clock.now += timedelta(days=365)
        await periodic()
        held = await forget(client, {"max_age_days": 30})
        assert (held["deleted"], held["held_back"]) == (0, 50)
        assert "365.0 days" in held["reason"]
        assert await left(client, "alice") == before
        clock.now -= timedelta(days=365)
        await periodic()
        assert await left(client, "alice") == {f"m{index}" for index in range(31)}


async def test_check_12_the_periodic_run_needs_to_be_asked_for() -> None:
    """Off by default, whatever ages there are; and it keeps to the policy when it is on."""
    for enabled, stay in ((False, 20), (True, 6)):
        settings: dict[str, Any] = {"forgetting_enabled": enabled, "forgetting_max_inactive_days": 5}
        async with running_app(background=False, now=Clock(), **settings) as running:
            await fill(running.client, *(memory("alice", index) for index in range(20)))
            await running.app.schedules.run_due()
            await running.app.lanes[Lane.UPKEEP].run_due()
            assert len(await left(running.client, "alice")) == stay


async def test_expired_sessions_leave_the_store() -> None:
    """An expired session is absent at once, and a schedule takes what it said out of the file."""
    clock = Clock()
    async with running_app(background=False, now=clock) as running:
        body = {"messages": [{"role": "user", "content": "short-lived", "id": "m1"}], "ttl_seconds": 60}
        assert (await running.client.put("/v1/working-memory/s", json=body)).status_code == 200
        clock.now += timedelta(seconds=61)
        assert (await running.client.get("/v1/working-memory/s")).status_code == 404
        await running.app.schedules.run_due()
        await running.app.lanes[Lane.UPKEEP].run_due()
        assert await running.app.upkeep.purge_expired_sessions() == 0
