"""Proofs of the settings of the MCP server."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from agent_memory_server.app import open_app
from agent_memory_server.testing.running import running_app
from tests.cli.commands import CommandLine
from tests.mcp.messages import answer_in, headers, message, result_in, tool_call
from tests.server_process import free_port
from tests.setting_proofs.running import settings_of

_CLOCK = tool_call("get_current_datetime", {})


async def _status(sent: dict[str, str] | None = None, **settings: Any) -> int:
    """What a server with these settings answers to a tool call."""
    async with running_app(background=False, **settings) as running:
        return (await running.client.post("/mcp", headers=headers(sent), json=_CLOCK)).status_code


async def _owner(**settings: Any) -> tuple[str | None, str | None]:
    """Whose a memory is that a tool stored without saying so."""
    async with running_app(background=False, **settings) as running:
        body = tool_call("create_long_term_memories", {"memories": [{"text": "tea"}]})
        (memory_id,) = result_in(await running.client.post("/mcp", headers=headers(), json=body))["ids"]
        memory = (await running.client.get(f"/v1/long-term-memory/{memory_id}")).json()
        return memory["namespace"], memory["user_id"]


def mcp_host(folder: Path) -> None:
    """An address that is not this machine's is refused without authentication."""
    outcome = CommandLine(folder=folder, environment={"MCP_HOST": "0.0.0.0"}).run("mcp", "--mode", "sse")
    assert outcome.code == 1
    assert "refusing to listen on 0.0.0.0 without authentication" in outcome.err
    assert "MCP_HOST=127.0.0.1" in outcome.err


def mcp_port(folder: Path) -> None:
    """It is the port that is listened on: a taken one is named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = str(taken.getsockname()[1])
        outcome = CommandLine(folder=folder, environment={"MCP_PORT": port}).run("mcp", "--mode", "streamable-http")
    assert outcome.code == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in outcome.err
    assert "MCP_PORT" in outcome.err


async def mcp_tools(folder: Path) -> None:
    """The listing is the chosen set."""
    counts: dict[str, int] = {}
    for chosen in ("simple", "full", "admin"):
        async with running_app(background=False, mcp_tools=chosen) as running:
            answer = await running.client.post("/mcp", headers=headers(), json=message("tools/list"))
            counts[chosen] = len(answer_in(answer)["result"]["tools"])
    assert counts["simple"] == 3
    assert counts["full"] == 10
    assert counts["admin"] > 10


async def mcp_in_api(folder: Path) -> None:
    """Off: there is no /mcp."""
    assert await _status() == 200
    assert await _status(mcp_in_api=False) == 404


async def default_mcp_namespace(folder: Path) -> None:
    """What names no namespace gets it."""
    assert await _owner() == (None, None)
    assert await _owner(default_mcp_namespace="house") == ("house", None)


async def default_mcp_user_id(folder: Path) -> None:
    """What names no user gets it."""
    assert await _owner(default_mcp_user_id="ana") == (None, "ana")


async def mcp_token(folder: Path) -> None:
    """stdio verifies it; a wrong one is refused at start."""
    async with open_app(settings_of(folder)) as app:
        await app.access_tokens.add(description="another", actor="test")
    wrong = {"AUTH_MODE": "token", "MCP_TOKEN": "nobody-ever-made-this-token-at-all"}
    outcome = CommandLine(folder=folder, environment=wrong).run("mcp")
    assert outcome.code == 1
    assert "MCP_TOKEN is not valid" in outcome.err


async def mcp_allowed_hosts(folder: Path) -> None:
    """Names beside this machine's own."""
    sent = {"host": "memory.example"}
    assert await _status(sent, mcp_allowed_hosts=[]) == 421
    assert await _status(sent, mcp_allowed_hosts=["memory.example"]) == 200


async def mcp_allowed_origins(folder: Path) -> None:
    """Pages of other origins."""
    sent = {"origin": "https://app.example"}
    assert await _status(sent) == 403
    assert await _status(sent, mcp_allowed_origins=["https://app.example"]) == 200
