"""The older transport: who may open a stream, who may speak on it, and that it holds up nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_memory_server.app import open_app
from tests.mcp.messages import message, tool_call
from tests.server_process import ServerProcess
from tests.setting_proofs.running import settings_of
from tests.waiting import wait_until

INITIALIZE = message(
    "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "test", "version": "1"}
)


@dataclass(frozen=True)
class Served:
    server: ServerProcess
    tokens: dict[str, str]

    def bearer(self, tenant: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[tenant]}"}


@pytest.fixture
def served(tmp_path: Path) -> Generator[Served]:
    """A server of event streams with a token for each of two tenants."""

    async def made() -> dict[str, str]:
        async with open_app(settings_of(tmp_path)) as app:
            return {
                tenant: (await app.access_tokens.add(description=tenant, actor="test", tenant=tenant))[0]
                for tenant in ("one", "two")
            }

    tokens = asyncio.run(made())
    environment = {"AUTH_MODE": "token"}
    with ServerProcess(tmp_path / "data", environment=environment, arguments=("mcp", "--mode", "sse")) as server:
        yield Served(server, tokens)


@dataclass
class Stream:
    """An open stream: ``post`` is where its messages go."""

    client: httpx.Client
    post: str
    events: Iterator[str]

    def send(self, body: Any, headers: dict[str, str]) -> httpx.Response:
        return self.client.post(self.post, json=body, headers=headers)

    def answer(self) -> dict[str, Any]:
        """The next message that comes."""
        return json.loads(next(line for line in self.events if line.startswith("data: ")).removeprefix("data: "))


@contextlib.contextmanager
def opened(served: Served, tenant: str, path: str = "/sse") -> Generator[Stream]:
    with (
        served.server.client() as client,
        client.stream("GET", path, headers=served.bearer(tenant)) as response,
    ):
        assert response.status_code == 200
        lines = response.iter_lines()
        post = next(line for line in lines if line.startswith("data: ")).removeprefix("data: ")
        yield Stream(client, post, lines)


def test_a_stream_is_its_holders(served: Served) -> None:
    """Without a credential there is none, and another's credential finds none; each message is authenticated by itself."""
    with served.server.client() as stranger:
        assert stranger.get("/sse").status_code == 401
        assert stranger.post("/messages/?session_id=0", json=INITIALIZE).status_code == 401
        assert stranger.get(f"/sse?token={served.tokens['one']}").status_code == 401
        assert stranger.post("/mcp", json=INITIALIZE).status_code == 404
    with opened(served, "one") as stream:
        absent = "/messages/?session_id=" + "0" * 32
        for address in (stream.post, absent):
            refused = stream.client.post(address, json=INITIALIZE, headers=served.bearer("two"))
            assert (refused.status_code, refused.text) == (404, "Could not find session")
        assert stream.send(INITIALIZE, {}).status_code == 401
        assert stream.send(INITIALIZE, served.bearer("one")).status_code == 202
        assert stream.answer()["result"]["serverInfo"]["name"] == "agent-memory-server"


def test_the_namespace_of_the_url_comes_with_each_message(served: Served) -> None:
    """The stream leads its client to an address below the namespace, and what is stored there is in it."""
    with opened(served, "one", "/a%20b/sse") as stream:
        assert stream.post.startswith("/a%20b/messages/?session_id=")
        bearer = served.bearer("one")
        stream.send(INITIALIZE, bearer)
        stream.answer()
        stream.send({"jsonrpc": "2.0", "method": "notifications/initialized"}, bearer)
        stream.send(tool_call("create_long_term_memories", {"memories": [{"text": "tea"}]}), bearer)
        (memory_id,) = stream.answer()["result"]["structuredContent"]["ids"]
        stream.send(tool_call("get_long_term_memory", {"memory_id": memory_id}), bearer)
        assert stream.answer()["result"]["structuredContent"]["namespace"] == "a b"


def test_open_streams_do_not_hold_up_the_end(served: Served) -> None:
    """A server with open streams ends in order within seconds, and says what it says to others meanwhile."""
    with opened(served, "one"), opened(served, "two"):
        assert httpx.get(f"{served.server.url}/v1/health").status_code == 200
        began = time.monotonic()
        assert served.server.stop() == 0
        assert time.monotonic() - began < 9
    wait_until(lambda: not (served.server.data_dir / "memory.db-wal").exists(), "the store was not closed")
