"""Requests that the fault tests repeat, and how each stored thing is read back in every way that there is."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


def memory(identifier: str, text: str, namespace: str, **fields: Any) -> dict[str, Any]:
    return {"id": identifier, "text": text, "namespace": namespace, **fields}


def message(identifier: str, content: str, role: str = "user") -> dict[str, Any]:
    return {"id": identifier, "role": role, "content": content, "created_at": "2024-05-01T10:00:00Z"}


async def create(client: httpx.AsyncClient, memories: list[dict[str, Any]]) -> bool:
    """Whether the create was acknowledged. A connection that the server's death cut is no acknowledgement."""
    try:
        response = await client.post("/v1/long-term-memory/", json={"memories": memories, "deduplicate": False})
    except httpx.TransportError:
        return False
    assert response.status_code == 200, response.text
    return True


async def create_all(client: httpx.AsyncClient, memories: list[dict[str, Any]]) -> list[bool]:
    """One request a memory, all at once."""
    return await asyncio.gather(*(create(client, [each]) for each in memories))


def listed(client: httpx.Client, namespace: str, **filters: str) -> list[dict[str, Any]]:
    """All memories of a namespace, through the listing and its cursor."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query: dict[str, str | int] = {"namespace": namespace, "limit": 100, **filters}
        if cursor is not None:
            query["cursor"] = cursor
        response = client.get("/v1/long-term-memory", params=query)
        assert response.status_code == 200, response.text
        page = response.json()
        found.extend(page["memories"])
        cursor = page["next_cursor"]
        if cursor is None:
            assert page["total"] == len(found), "the listing's total differs from what it lists"
            return found


def found_by_search(client: httpx.Client, namespace: str, text: str, mode: str, **more: Any) -> list[str]:
    body = {"text": text, "search_mode": mode, "namespace": {"eq": namespace}, "limit": 100, **more}
    response = client.post("/v1/long-term-memory/search", json=body)
    assert response.status_code == 200, response.text
    return [hit["id"] for hit in response.json()["memories"]]


def assert_readable_everywhere(client: httpx.Client, memories: list[dict[str, Any]], namespace: str) -> None:
    """Each memory answers by id with its text, is in the listing, and is found by keyword and by meaning."""
    ids_listed = {each["id"] for each in listed(client, namespace)}
    for each in memories:
        response = client.get(f"/v1/long-term-memory/{each['id']}", params={"namespace": namespace})
        assert response.status_code == 200, f"{each['id']}: {response.text}"
        assert response.json()["text"] == each["text"]
        assert each["id"] in ids_listed
        assert each["id"] in found_by_search(client, namespace, each["text"], "keyword")
        assert each["id"] in found_by_search(client, namespace, each["text"], "semantic")
