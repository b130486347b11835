"""Checks 13 and 14, with ids that careless keys, patterns and queries would confuse, in every place where an id goes."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_memory_server.testing.running import RunningApp, running_app
from tests.redis_server import running_redis

HOSTILE = [
    "alice",
    "ALICE",
    "alice*",
    "alice?",
    "nobody|alice",
    "a,b",
    "a",
    "auth0|x",
    "a:b",
    "a-b",
    "a b",
    "a%20b",
    "'alice'",
    '"alice"',
    "alice\\",
    "\\*",
    "@x:{y}",
    "{y}",
    "%",
    "_lice",
    "null",
    "../alice",
    "a/b",
    "x" * 300,
    "x" * 299 + "y",
    unicodedata.normalize("NFC", "zoë"),
    unicodedata.normalize("NFD", "zoë"),
    "' OR '1'='1",
]


@asynccontextmanager
async def engine(name: str, folder: Path) -> AsyncGenerator[RunningApp]:
    if name == "sqlite":
        async with running_app(data_dir=folder, auth_mode="token", extraction_debounce_seconds=0) as running:
            yield running
        return
    with running_redis(folder) as redis:
        async with running_app(
            data_dir=folder, storage_url=redis.url, auth_mode="token", extraction_debounce_seconds=0
        ) as running:
            yield running


async def headers_for(running: RunningApp, **scope: str) -> dict[str, str]:
    token, _ = await running.app.access_tokens.add(description="hostile", actor="test", **scope)  # pyright: ignore[reportArgumentType]
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("field", ["user_id", "namespace", "tenant"])
@pytest.mark.parametrize("name", ["sqlite", "redis"])
async def test_a_credential_reaches_exactly_its_own(name: str, field: str, tmp_path: Path) -> None:
    """Each hostile text as the user, namespace or tenant of a token, and as the ids of what its holder writes."""
    async with engine(name, tmp_path) as running:
        client = running.client
        parties = {each: await headers_for(running, **{field: each}) for each in HOSTILE}
        for number, (hostile, headers) in enumerate(parties.items()):
            words = f"canary word{number:03}z"
            memories = [
                {"id": hostile, "text": words, "topics": [f"t{number}"]},
                {"id": "everyones", "text": f"{words} too"},
            ]
            await done(client.post("/v1/long-term-memory/", json={"memories": memories}, headers=headers))
            for session in (hostile, "everyones"):
                path = f"/v1/working-memory/{encoded(session)}"
                await done(client.put(path, json={"context": words}, headers=headers))
        for number, (hostile, headers) in enumerate(parties.items()):
            words = f"canary word{number:03}z"
            for path in (
                f"/v1/long-term-memory/{encoded(hostile)}",
                "/v1/long-term-memory/everyones",
                f"/v1/working-memory/{encoded(hostile)}",
                "/v1/working-memory/everyones",
            ):
                assert words in (await done(client.get(path, headers=headers))).text, (hostile, path)
            listed = (await done(client.get("/v1/long-term-memory", headers=headers))).json()
            assert (listed["total"], {each["text"] for each in listed["memories"]}) == (2, {words, f"{words} too"}), (
                hostile
            )
            sessions = (await done(client.get("/v1/working-memory/", headers=headers))).json()
            assert (sessions["total"], set(sessions["sessions"])) == (2, {hostile, "everyones"}), hostile
            for mode in ("hybrid", "keyword", "semantic"):
                # Another one's exact words: nothing of it may come back.
                body = {"text": f"canary word{(number + 1) % len(HOSTILE):03}z", "search_mode": mode, "limit": 100}
                found = (await done(client.post("/v1/long-term-memory/search", json=body, headers=headers))).json()
                assert {each["text"] for each in found["memories"]} <= {words, f"{words} too"}, (hostile, mode)
            if field != "tenant":
                other = HOSTILE[(number + 1) % len(HOSTILE)]
                query = {field: other}
                assert (await client.get("/v1/long-term-memory", params=query, headers=headers)).json()["total"] == 0
                assert (
                    await client.get("/v1/long-term-memory/everyones", params=query, headers=headers)
                ).status_code == 404
        # Deleting takes exactly one's own.
        first, second, *_ = parties
        query = {"memory_ids": "everyones"}
        await done(client.delete("/v1/long-term-memory", params=query, headers=parties[first]))
        await done(client.delete("/v1/working-memory/everyones", headers=parties[first]))
        assert (await client.get("/v1/long-term-memory/everyones", headers=parties[first])).status_code == 404
        assert (await client.get("/v1/long-term-memory/everyones", headers=parties[second])).status_code == 200
        assert (await client.get("/v1/working-memory/everyones", headers=parties[second])).status_code == 200


ODD: dict[str, Any] = {
    "missing": ...,
    "null": None,
    "empty": "",
    "blank": " \t",
    "object": {"$ne": ""},
    "list": ["bob"],
}


@pytest.mark.parametrize("field", ["user_id", "namespace"])
async def test_an_odd_scope_is_ones_own_or_refused(field: str, tmp_path: Path) -> None:
    """Missing, null, empty, blank, an object, a list: the credential's own scope or a clear 4xx, never more."""
    async with running_app(data_dir=tmp_path, auth_mode="token", background=False) as running:
        client = running.client
        alice = await headers_for(running, **{field: "alice"})
        for each in ("alice", "bob"):
            headers = await headers_for(running, **{field: each})
            memories = [{"id": each, "text": f"canary of {each}"}]
            await done(client.post("/v1/long-term-memory/", json={"memories": memories}, headers=headers))
            await done(client.put("/v1/working-memory/s", json={"context": f"canary of {each}"}, headers=headers))
        for value in ODD.values():
            given = {} if value is ... else {field: value}
            queried = {} if value is ... else {field: "" if value is None else str(value)}
            record = {"id": "new", "text": "canary of alice", **given}
            requests: list[tuple[str, str, dict[str, Any]]] = [
                ("GET", "/v1/long-term-memory", {"params": queried}),
                ("GET", "/v1/long-term-memory/bob", {"params": queried}),
                ("GET", "/v1/working-memory/", {"params": queried}),
                ("GET", "/v1/working-memory/s", {"params": queried}),
                ("GET", "/v1/pending", {"params": queried}),
                ("POST", "/v1/long-term-memory/search", {"json": {"text": "canary", **given}}),
                ("POST", "/v1/long-term-memory/search", {"json": {"text": "canary", **_as_filter(field, value)}}),
                ("POST", "/v1/memory/prompt", {"json": {"query": "canary", "long_term_search": {**given}}}),
                ("POST", "/v1/memory/prompt", {"json": {"query": "canary", "session": {"session_id": "s", **given}}}),
                ("POST", "/v1/long-term-memory/", {"json": {"memories": [record]}}),
                ("PUT", "/v1/working-memory/s", {"json": {"context": "canary of alice", **given}}),
                ("PATCH", "/v1/long-term-memory/alice", {"json": {"text": "canary of alice", **given}}),
                ("POST", "/v1/long-term-memory/forget", {"params": queried, "json": {"policy": {"max_age_days": 0}}}),
                ("POST", "/v1/long-term-memory/compact", {"params": queried}),
            ]
            for method, path, options in requests:
                response = await client.request(method, path, headers=alice, **options)
                assert response.status_code == 200 or 400 <= response.status_code < 500, (
                    method,
                    path,
                    value,
                    response.text,
                )
                assert "bob" not in response.text.replace("Memory with ID bob", "").replace(str(value), ""), (
                    path,
                    value,
                )
                if response.status_code == 200 and response.json().get(field) is not None:
                    assert response.json()[field] == "alice"
        bob = await headers_for(running, **{field: "bob"})
        assert (await client.get("/v1/long-term-memory", headers=bob)).json()["total"] == 1
        assert (await client.get("/v1/working-memory/s", headers=bob)).json()["context"] == "canary of bob"


def _as_filter(field: str, value: Any) -> dict[str, Any]:
    return {} if value is ... else {field: {"eq": value}}


def encoded(identifier: str) -> str:
    return "".join(f"%{byte:02X}" for byte in identifier.encode())


async def done(request: Any) -> httpx.Response:
    response: httpx.Response = await request
    assert response.status_code == 200, response.text
    return response
