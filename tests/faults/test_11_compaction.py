"""Check 11: compaction leaves one of each group of exact duplicates in its scope, and nothing outside is touched; P8: a server
that dies in the middle leaves whole groups."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_memory_server.testing.running import running_app
from tests.faults.traffic import listed
from tests.server_process import ServerProcess
from tests.waiting import wait_until

COMPACT = "/v1/long-term-memory/compact"
NAMESPACES = ("a-b", "a b", "über", "a|b")
COPIES = (3, 7, 12)


async def create(client: httpx.AsyncClient, memories: list[dict[str, Any]]) -> None:
    response = await client.post("/v1/long-term-memory/", json={"memories": memories, "deduplicate": False})
    assert response.status_code == 200, response.text


def copies(namespace: str | None, user: str | None) -> list[dict[str, Any]]:
    return [
        {"id": f"{count}-{index}", "text": f"The fact of {count}", "namespace": namespace, "user_id": user}
        for count in COPIES
        for index in range(count)
    ]


async def held(client: httpx.AsyncClient, **scope: str) -> Counter[str]:
    response = await client.get("/v1/long-term-memory", params={"limit": "100", **scope})
    return Counter(each["text"] for each in response.json()["memories"])


@pytest.mark.parametrize("namespace", NAMESPACES)
async def test_check_11_one_is_left_of_each_group_in_that_scope(namespace: str, store_fields: dict[str, Any]) -> None:
    """3, 7 and 12 copies, in namespaces that a query language would trip over; others, and other users, keep theirs."""
    others = [other for other in (*NAMESPACES, "a", "ab") if other != namespace]
    full = Counter({f"The fact of {count}": count for count in COPIES})
    async with running_app(background=False, **store_fields) as running:
        client = running.client
        for place in (namespace, *others):
            await create(client, copies(place, "alice"))
        await create(client, copies(namespace, "bob"))
        await create(client, copies(None, "alice"))
        plan = (
            await client.post(COMPACT, params={"namespace": namespace, "user_id": "alice", "dry_run": "true"})
        ).json()
        assert sorted(len(group["memories"]) for group in plan["plan"]) == list(COPIES)
        assert await held(client, namespace=namespace, user_id="alice") == full
        compacted = (await client.post(COMPACT, params={"namespace": namespace, "user_id": "alice"})).json()
        assert compacted["status"] == "ok, 3 memories remaining after compaction"
        assert compacted["superseded"] == sum(COPIES) - len(COPIES)
        assert await held(client, namespace=namespace, user_id="alice") == dict.fromkeys(full, 1)
        assert await held(client, namespace=namespace, user_id="bob") == full
        for other in others:
            assert await held(client, namespace=other) == full
        for each in copies(namespace, "alice"):
            response = await client.get(
                f"/v1/long-term-memory/{each['id']}", params={"namespace": namespace, "user_id": "alice"}
            )
            assert response.status_code == 200
        everything = (await client.post(COMPACT)).json()
        assert everything["status"] == f"ok, {3 * (len(others) + 3)} memories remaining after compaction"


async def test_check_11_more_duplicates_than_any_page() -> None:
    """1,500 pairs: compacted wholly, by one call."""
    async with running_app(background=False) as running:
        for start in range(0, 3000, 1000):
            await create(
                running.client,
                [
                    {"id": f"m{index}", "text": f"Fact {index % 1500}", "namespace": "n"}
                    for index in range(start, start + 1000)
                ],
            )
        compacted = (await running.client.post(COMPACT, params={"namespace": "n"})).json()
        assert compacted["status"] == "ok, 1500 memories remaining after compaction"


def test_killed_in_the_middle_of_compaction_whole_groups_are_left(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    """kill -9 while groups are settled: each is as it was or has one left, and the next run does the rest."""
    groups, size = 400, 3
    memories = [
        {"id": f"{group}-{index}", "text": f"Fact {group}", "namespace": "n"}
        for group in range(groups)
        for index in range(size)
    ]
    with ServerProcess(tmp_path / "data", environment=store_settings) as server:
        with server.client() as client:
            for start in range(0, len(memories), 600):
                body = {"memories": memories[start : start + 600], "deduplicate": False}
                assert client.post("/v1/long-term-memory/", json=body).status_code == 200

            def compact() -> None:
                with contextlib.suppress(httpx.HTTPError), server.client() as other:
                    other.post(COMPACT, params={"namespace": "n"})

            compacting = threading.Thread(target=compact)
            compacting.start()

            def begun() -> bool:
                response = client.get("/v1/long-term-memory", params={"namespace": "n", "limit": "1"})
                return response.json()["total"] < len(memories)

            wait_until(begun, "compaction did not begin")
            server.kill()
            compacting.join()
        server.start()
        with server.client() as client:
            left = Counter(each["text"] for each in listed(client, "n"))
            assert len(left) == groups
            assert set(left.values()) <= {1, size}
            for each in memories[:: size * 10]:
                found = client.get(f"/v1/long-term-memory/{each['id']}", params={"namespace": "n"})
                assert found.json()["text"] == each["text"]
            compacted = client.post(COMPACT, params={"namespace": "n"}).json()
            assert compacted["status"] == f"ok, {groups} memories remaining after compaction"
