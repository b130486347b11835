"""Ids hold any character: every by-id route reads the raw path."""

from __future__ import annotations

import httpx
import pytest

from tests.api.conftest import encoded

pytestmark = pytest.mark.asyncio(loop_scope="session")

TORTURE = [
    "a/messages", "search", "compact", "forget", "messages", ".", "..", "../..", "/", "//", "/a", "a/", "%", "%2F", "%zz", "%25",
    "a b", "+", "a+b", "?", "#", "a?b=c#d", ";", "a;b", ":", "@", "&", "=", "'", '"', "\\", "*", "a*", "{x}", "[x]", "<b>",
    "a|b", "a,b", "~", "-", "_", "x'; DROP TABLE memories; --", "über", "日本語", "🦊", "e\u0301", "\u00e9", "\u202e", "\ufeff",
    " lead", "trail ", " ", "a\tb", "a\nb", "a\rb", "null", "None", "0", "-1", "true", "x" * 300, "é" * 300, "default", "v1",
]  # fmt: skip


@pytest.mark.parametrize("name", TORTURE)
async def test_a_session_id_may_be_any_text(client: httpx.AsyncClient, namespace: str, name: str) -> None:
    """Put, get, append, page, patch and delete reach the same session, and the answer names it as it is."""
    path = f"/v1/working-memory/{encoded(name)}"
    scope = {"namespace": namespace}
    message = {"role": "user", "content": "hi", "created_at": "2026-01-01T00:00:00Z"}
    stored = await client.put(path, json={"messages": [message], **scope})
    assert (stored.status_code, stored.json().get("session_id")) == (200, name), stored.text
    assert (await client.post(f"{path}/messages", json={"messages": [message], **scope})).json()["total"] == 2
    assert (await client.get(f"{path}/messages", params=scope)).json()["total"] == 2
    assert (await client.patch(path, json={"context": "c", **scope})).json()["context"] == "c"
    assert (await client.get(path, params=scope)).json()["session_id"] == name
    assert (await client.get(f"{path}/", params=scope)).json()["session_id"] == name
    listed = await client.get("/v1/working-memory/", params=scope)
    assert listed.json() == {"sessions": [name], "total": 1}
    assert (await client.delete(path, params=scope)).json() == {"status": "ok"}
    assert (await client.get(path, params=scope)).status_code == 404


@pytest.mark.parametrize("name", TORTURE)
async def test_a_memory_id_may_be_any_text(client: httpx.AsyncClient, namespace: str, name: str) -> None:
    """Create, get, patch, search and delete reach the same memory; fixed routes with other methods are not in the way."""
    scope = {"namespace": namespace}
    created = await client.post("/v1/long-term-memory/", json={"memories": [{"id": name, "text": "any id", **scope}]})
    assert created.json()["ids"] == [name], created.text
    path = f"/v1/long-term-memory/{encoded(name)}"
    assert (await client.get(path, params=scope)).json()["id"] == name
    assert (await client.patch(path, params=scope, json={"text": "changed"})).json()["id"] == name
    page = await client.post("/v1/long-term-memory/search", json={"namespace": {"eq": namespace}})
    assert [each["id"] for each in page.json()["memories"]] == [name]
    deleted = await client.delete("/v1/long-term-memory", params={"memory_ids": name, **scope})
    assert deleted.json() == {"status": "ok, deleted 1 memories"}
    assert (await client.get(path, params=scope)).status_code == 404


@pytest.mark.parametrize("name", [name for name in TORTURE if name.strip()])
async def test_namespaces_and_users_may_be_any_text_but_blank(
    client: httpx.AsyncClient, new_id: str, name: str
) -> None:
    """In queries, bodies and filters, compared exactly."""
    scope = {"namespace": name, "user_id": name}
    await client.post("/v1/long-term-memory/", json={"memories": [{"id": new_id, "text": "any scope", **scope}]})
    body = {"namespace": {"eq": name}, "user_id": {"eq": name}, "text": "any scope", "search_mode": "keyword"}
    page = await client.post("/v1/long-term-memory/search", json={**body, "limit": 100})
    assert new_id in [each["id"] for each in page.json()["memories"]]
    assert (await client.get(f"/v1/long-term-memory/{new_id}", params=scope)).json()["namespace"] == name
    other = {"namespace": f"{name}x", "user_id": name}
    assert (await client.get(f"/v1/long-term-memory/{new_id}", params=other)).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("%zz", 400),
        ("a%", 400),
        ("%ff", 400),
        ("%ed%a0%80", 400),
        ("a%00b", 422),
        ("x" * 513, 422),
    ],
)
async def test_a_path_that_is_none_is_refused(client: httpx.AsyncClient, path: str, status: int) -> None:
    """Broken escapes, bytes that are not UTF-8, NUL, too long: a 4xx on every by-id route."""
    for request in (
        client.build_request("GET", "http://agent-memory/"),
        client.build_request("PUT", "http://agent-memory/", json={}),
    ):
        for prefix in ("/v1/working-memory/", "/v1/long-term-memory/"):
            request.url = request.url.copy_with(raw_path=f"{prefix}{path}".encode())
            response = await client.send(request)
            assert response.status_code in (status, 405), response.text
            assert response.headers["content-type"] == "application/problem+json"


async def test_an_empty_id_is_no_id(client: httpx.AsyncClient) -> None:
    """Two slashes lead nowhere."""
    assert (await client.get("/v1/working-memory//messages")).status_code == 404
