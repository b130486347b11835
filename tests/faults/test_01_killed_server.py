"""Check 1: what was acknowledged survives kill -9 at once, with one and with two server processes on one store."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.traffic import assert_readable_everywhere, create, create_all, listed, memory, message
from tests.server_process import ServerProcess, servers_on_one_store, wait_for_no_pending_work

pytestmark = pytest.mark.long


def facts(namespace: str, count: int) -> list[dict[str, Any]]:
    words = ["apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbour", "island", "jungle"]
    return [
        memory(f"{namespace}-{index}", f"The {words[index % 10]} has the number {index * 37}", namespace)
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("store_settings", "processes"), [("sqlite", 1), ("sqlite", 2), ("redis", 2)], indirect=["store_settings"]
)
async def test_check_01_acknowledged_creates_survive_kill_9(
    tmp_path: Path, store_settings: dict[str, str], processes: int
) -> None:
    """20 parallel creates, kill -9 at once, restart: 20 of 20 by id, in listings and in search, from every process."""
    memories = facts("crash", 20)
    with servers_on_one_store(tmp_path / "data", processes, store_settings) as servers:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.async_client()) for server in servers]
            acknowledged = await asyncio.gather(
                *(create_all(client, memories[part::processes]) for part, client in enumerate(clients))
            )
            for server in servers:
                server.kill()
        assert all(all(answers) for answers in acknowledged)
        for server in servers:
            server.start()
            with server.client() as client:
                assert_readable_everywhere(client, memories, "crash")


async def test_check_01_kill_in_the_middle_of_traffic(tmp_path: Path, store_settings: dict[str, str]) -> None:
    """Killed while creates and appends are still arriving: exactly what was acknowledged is there, nothing is doubled."""
    memories = facts("middle", 400)
    acknowledged: list[dict[str, Any]] = []
    with ServerProcess(tmp_path / "data", environment=store_settings) as server:
        async with server.async_client() as client:

            async def one(each: dict[str, Any]) -> None:
                if await create(client, [each]):
                    acknowledged.append(each)
                if len(acknowledged) == 100:
                    server.kill()

            gate = asyncio.Semaphore(16)

            async def gated(each: dict[str, Any]) -> None:
                async with gate:
                    await one(each)

            await asyncio.gather(*(gated(each) for each in memories))
        assert len(acknowledged) >= 100
        server.start()
        with server.client() as http:
            stored = [each["id"] for each in listed(http, "middle")]
            assert len(stored) == len(set(stored))
            assert {each["id"] for each in acknowledged} <= set(stored)


def test_check_01_kill_during_background_promotion(tmp_path: Path, store_settings: dict[str, str]) -> None:
    """P1: sessions are acknowledged, the server dies before it promoted them: after a restart every message is found once."""
    sessions, messages = 12, 10
    with ServerProcess(tmp_path / "data", environment=store_settings) as server:
        with server.client() as client:
            for session in range(sessions):
                said = [
                    {
                        "id": f"s{session}m{index}",
                        "role": "user",
                        "content": f"Session {session} spoke of topic{session}x{index}",
                        "created_at": "2024-05-01T10:00:00Z",
                    }
                    for index in range(messages)
                ]
                facts_of_session = [{"id": f"fact-{session}", "text": f"Structured fact {session}"}]
                body = {"messages": said, "memories": facts_of_session, "namespace": "dying", "user_id": "alice"}
                assert client.put(f"/v1/working-memory/s{session}", json=body).status_code == 200
        server.kill()
        server.start()
        with server.client() as client:
            wait_for_no_pending_work(client)
            stored = [each["id"] for each in listed(client, "dying")]
            expected = {f"s{session}m{index}" for session in range(sessions) for index in range(messages)}
            expected |= {f"fact-{session}" for session in range(sessions)}
            assert sorted(stored) == sorted(expected)
            for query in ("topic3x7", "topic11x0"):
                response: httpx.Response = client.post(
                    "/v1/long-term-memory/search",
                    json={"text": query, "search_mode": "keyword", "user_id": {"eq": "alice"}, "limit": 1},
                )
                session, index = query.removeprefix("topic").split("x")
                assert [hit["id"] for hit in response.json()["memories"]] == [f"s{session}m{index}"]


def test_check_01_every_kind_of_acknowledged_write_survives_kill_9(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    """P1 and P9: edits, appends, patches, deletes and forgetting, each acknowledged, then kill -9: all of them hold."""
    scope = {"namespace": "kinds"}
    with ServerProcess(tmp_path / "data", environment=store_settings) as server:
        with server.client() as client:

            def done(response: httpx.Response) -> None:
                assert response.status_code == 200, response.text

            ids = ("kept", "edited", "deleted", "forgotten")
            ages = {"forgotten": "2001-01-01T00:00:00Z"}
            memories = [
                memory(each, f"memory {each}", "kinds", created_at=ages.get(each, "2030-01-01T00:00:00Z"))
                for each in ids
            ]
            done(client.post("/v1/long-term-memory/", json={"memories": memories}))
            for name in ("appended", "patched", "ended"):
                done(client.put(f"/v1/working-memory/{name}", json={"data": {"a": 1}, **scope}))
            done(client.patch("/v1/long-term-memory/edited", json={"text": "other words", "pinned": True}))
            done(client.delete("/v1/long-term-memory", params={"memory_ids": "deleted"}))
            policy = {"policy": {"max_age_days": 3650}}
            done(client.post("/v1/long-term-memory/forget", params={**scope, "dry_run": "false"}, json=policy))
            said = {"messages": [message("m", "appended words")], **scope}
            done(client.post("/v1/working-memory/appended/messages", json=said))
            done(client.patch("/v1/working-memory/patched", json={"data": {"b": 2}, "context": "c", **scope}))
            done(client.delete("/v1/working-memory/ended", params=scope))
        server.kill()
        server.start()
        with server.client() as client:
            texts = {each["id"]: each["text"] for each in listed(client, "kinds", memory_type="semantic")}
            assert texts == {"kept": "memory kept", "edited": "other words"}
            for gone in ("deleted", "forgotten"):
                assert client.get(f"/v1/long-term-memory/{gone}").status_code == 404
            assert client.get("/v1/working-memory/ended", params=scope).status_code == 404
            patched = client.get("/v1/working-memory/patched", params=scope).json()
            assert (patched["data"], patched["context"]) == ({"a": 1, "b": 2}, "c")
            appended = client.get("/v1/working-memory/appended", params=scope).json()["messages"]
            assert [each["content"] for each in appended] == ["appended words"]
