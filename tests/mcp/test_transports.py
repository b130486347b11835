"""Real clients of both generations of the MCP library on real server processes, over all three transports, with a token."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_memory_server.app import open_app
from tests.mcp import agent
from tests.mcp.older_client import VERSION, python_of_older_client
from tests.server_process import ServerProcess, bare_environment, command
from tests.setting_proofs.running import settings_of

ENDED_WITHIN_S = 60


@dataclass(frozen=True)
class Servers:
    """One store, and a server on it for each transport over HTTP; over stdio the client starts its own."""

    folder: Path
    token: str
    streamable: ServerProcess
    events: ServerProcess

    def place(self, kind: str) -> str:
        if kind == "stdio":
            return f"{command()} mcp --mode stdio"
        return f"{self.events.url}/sse" if kind == "sse" else f"{self.streamable.url}/mcp"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Servers]:
    folder = tmp_path_factory.mktemp("transports")

    async def made() -> str:
        async with open_app(settings_of(folder)) as app:
            token, _ = await app.access_tokens.add(description="agent", actor="test")
            return token

    token = asyncio.run(made())
    environment = {"AUTH_MODE": "token"}
    with (
        ServerProcess(
            folder / "data", environment=environment, arguments=("mcp", "--mode", "streamable-http")
        ) as streamable,
        ServerProcess(folder / "data", environment=environment, arguments=("mcp", "--mode", "sse")) as events,
    ):
        yield Servers(folder, token, streamable, events)


@pytest.mark.parametrize(
    ("client", "kind"),
    [
        *((client, kind) for client in ("previous", "current") for kind in ("stdio", "sse", "streamable-http")),
        # The older transport has a handshake in every generation.
        *(("newest", kind) for kind in ("stdio", "streamable-http")),
    ],
)
def test_a_session_of_remembering_recalling_and_forgetting(servers: Servers, kind: str, client: str) -> None:
    """The previous generation, the current one with a handshake, and the current one with what it chooses itself."""
    python = python_of_older_client() if client == "previous" else sys.executable
    protocol = "newest" if client == "newest" else "handshake"
    done = subprocess.run(
        [python, agent.__file__, kind, servers.place(kind), servers.token, protocol],
        env=bare_environment(servers.folder, {"DATA_DIR": str(servers.folder / "data"), "AUTH_MODE": "token"}),
        cwd=servers.folder,
        capture_output=True,
        text=True,
        timeout=ENDED_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["library"].startswith(VERSION if client == "previous" else "2.")
    assert told["protocol"] == ("2026-07-28" if client == "newest" else "2025-11-25")
    assert len(told["tools"]) == 10
    assert told["found"] == [[told["stored"][0], agent.TEXT]]
    assert told["deleted"] == "ok, deleted 1 memories"
    assert told["left"] == []
    assert told["refused"] is True
