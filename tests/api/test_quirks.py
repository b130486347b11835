"""What the published clients really send (contract, section 1.14): nulls, strings for numbers, echoes, unknown fields."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT = "2026-01-01T00:00:00.123456789Z"


async def test_the_java_client_writes_null_for_everything_unset(client: httpx.AsyncClient, new_id: str) -> None:
    """In sessions, their messages and their memories."""
    body = {
        "messages": [
            {
                "role": "user", "content": "hi", "id": None, "created_at": AT, "persisted_at": None,
                "discrete_memory_extracted": None,
            }
        ],
        "memories": [
            {
                "id": None, "text": "tea", "session_id": None, "user_id": None, "namespace": None, "topics": None,
                "entities": None, "memory_type": None, "event_date": None, "created_at": None, "updated_at": None,
                "last_accessed": None, "pinned": None, "access_count": None, "memory_hash": None, "metadata": None,
                "extracted_from": None, "extraction_strategy": None, "extraction_strategy_config": None,
                "persisted_at": None, "discrete_memory_extracted": None,
            }
        ],
        "data": None, "context": None, "user_id": None, "namespace": None, "tokens": None, "ttl_seconds": None,
        "long_term_memory_strategy": None, "last_accessed": None, "created_at": None, "updated_at": None,
    }  # fmt: skip
    stored = await client.put(f"/v1/working-memory/{new_id}", json=body)
    assert stored.status_code == 200, stored.text
    assert stored.json()["messages"][0]["id"]
    assert stored.json()["messages"][0]["created_at"] == "2026-01-01T00:00:00.123456Z"
    assert stored.json()["memories"][0]["id"]
    assert stored.json()["memories"][0]["memory_type"] == "message"
    nulls = {"messages": None, "memories": None}
    assert (await client.put(f"/v1/working-memory/{new_id}", json=nulls)).status_code == 200


async def test_the_java_client_creates_with_nulls_and_its_own_strategy(client: httpx.AsyncClient, new_id: str) -> None:
    """``extraction_strategy`` is free text."""
    record: dict[str, Any] = {
        "id": new_id, "text": "tea", "session_id": None, "user_id": None, "namespace": None, "topics": None,
        "entities": None, "memory_type": "semantic", "event_date": None, "discrete_memory_extracted": "t",
        "extraction_strategy": "manual", "pinned": None, "access_count": None, "metadata": None,
    }  # fmt: skip
    created = await client.post("/v1/long-term-memory/", json={"memories": [record], "deduplicate": None})
    assert created.status_code == 200, created.text
    assert (await client.get(f"/v1/long-term-memory/{new_id}")).json()["extraction_strategy"] == "manual"


async def test_the_python_client_sends_explicit_defaults(client: httpx.AsyncClient, new_id: str) -> None:
    """Type "message" and flag "f" come from its model; the memory counts as extracted all the same."""
    record = {"id": new_id, "text": "tea", "memory_type": "message", "discrete_memory_extracted": "f"}
    await client.post("/v1/long-term-memory/", json={"memories": [record], "deduplicate": True})
    stored = (await client.get(f"/v1/long-term-memory/{new_id}")).json()
    assert (stored["memory_type"], stored["discrete_memory_extracted"]) == ("message", "t")


async def test_a_whole_answer_may_be_put_back(client: httpx.AsyncClient, new_id: str) -> None:
    """Clients read, modify and write the document with all its response-only fields."""
    path = f"/v1/working-memory/{new_id}"
    body = {"messages": [{"role": "user", "content": "hi"}], "memories": [{"text": "tea"}], "data": {"a": 1}}
    await client.put(path, json=body, params={"context_window_max": "4000"})
    read = (await client.get(path, params={"context_window_max": "4000"})).json()
    written = await client.put(path, json={**read, "unknown": {"x": 1}, "new_session": True, "unsaved": None})
    assert written.status_code == 200, written.text
    again = written.json()
    for name in ("messages", "memories", "data", "created_at", "session_id"):
        assert again[name] == read[name], name


async def test_a_strategy_may_lack_its_parts(client: httpx.AsyncClient, new_id: str) -> None:
    """Nulls inside it mean the defaults."""
    strategy = {"strategy": None, "config": None}
    stored = await client.put(f"/v1/working-memory/{new_id}", json={"long_term_memory_strategy": strategy})
    assert stored.json()["long_term_memory_strategy"] == {"strategy": "discrete", "config": {}}


@pytest.mark.parametrize("model", ["gpt-5", "claude-opus-9", "openrouter/some/thing:free", "日本"])
async def test_any_model_name_is_accepted(client: httpx.AsyncClient, new_id: str, model: str) -> None:
    """In queries and in a prompt's session."""
    path = f"/v1/working-memory/{new_id}"
    stored = await client.put(path, params={"model_name": model}, json={"messages": [{"role": "u", "content": "a"}]})
    assert stored.json()["context_percentage_total_used"] > 0
    assert (await client.get(path, params={"model_name": model})).status_code == 200
    prompt = {"query": "q", "session": {"session_id": new_id, "model_name": model, "context_window_max": "200"}}
    assert (await client.post("/v1/memory/prompt", json=prompt)).status_code == 200


async def test_numbers_may_come_as_strings(client: httpx.AsyncClient, new_id: str) -> None:
    """And booleans as words, in queries and bodies."""
    body: dict[str, Any] = {"messages": [], "tokens": "12", "ttl_seconds": "600"}
    stored = await client.put(f"/v1/working-memory/{new_id}", params={"context_window_max": "100"}, json=body)
    assert (stored.json()["tokens"], stored.json()["ttl_seconds"]) == (12, 600)
    search = {"text": "x", "limit": "5", "offset": "0", "recency_boost": "false", "hybrid_alpha": "0.5"}
    found = await client.post("/v1/long-term-memory/search", params={"optimize_query": "true"}, json=search)
    assert found.status_code == 200, found.text


async def test_credentials_and_client_headers_are_accepted_and_ignored(client: httpx.AsyncClient) -> None:
    """Authentication is off: no header opens or closes anything."""
    for headers in (
        {"Authorization": "Bearer xyz"},
        {"Authorization": "Basic xyz"},
        {"X-API-Key": "xyz"},
        {"X-Client-Version": "0.14.0", "User-Agent": "agent-memory-client/0.14.0"},
    ):
        assert (await client.get("/v1/working-memory/", headers=headers)).status_code == 200


async def test_unknown_parameters_and_fields_are_ignored(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """``background`` on PUT, ``namespace`` on create, delete and by-id calls of the JavaScript client agree."""
    await client.put(f"/v1/working-memory/{new_id}", params={"background": "true", "x": "y"}, json={"zzz": 1})
    scope = {"namespace": namespace}
    record = {"id": new_id, "text": "tea", "zzz": {"deep": [1]}}
    await client.post("/v1/long-term-memory/", params=scope, json={"memories": [record], "zzz": 1})
    assert (await client.get(f"/v1/long-term-memory/{new_id}", params=scope)).json()["namespace"] == namespace
    deleted = await client.delete("/v1/long-term-memory", params={"memory_ids": new_id, **scope})
    assert deleted.json()["status"] == "ok, deleted 1 memories"


async def test_of_a_key_that_stands_twice_the_last_value_counts(client: httpx.AsyncClient, new_id: str) -> None:
    """As in every JSON library that the clients use."""
    raw = b'{"context": "first", "context": "last"}'
    stored = await client.put(f"/v1/working-memory/{new_id}", content=raw)
    assert stored.json()["context"] == "last"
