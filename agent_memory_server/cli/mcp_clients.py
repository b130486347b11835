"""What to paste into an agent so that it uses this server: printed by the banner of ``agent-memory api``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent_memory_server.mcp_hosts import started_by_a_host

if TYPE_CHECKING:
    from agent_memory_server.config import Settings

NAME = "memory"


def lines_to_paste(settings: Settings, url: str) -> list[str]:
    """For Claude Code, Cursor and Claude Desktop, which starts a server of its own on the same data."""
    endpoint = f"{url}/mcp"
    bearer = {"Authorization": "Bearer TOKEN"} if settings.wants_authentication else {}
    header = "".join(f' --header "{name}: {value}"' for name, value in bearer.items())
    remote: dict[str, Any] = {"url": endpoint, **({"headers": bearer} if bearer else {})}
    return [
        "  Give an agent memory; paste into",
        f"    Claude Code      claude mcp add --transport http {NAME} {endpoint}{header}",
        f"    Cursor           {_servers(remote)}",
        f"    Claude Desktop   {_servers(started_by_a_host(settings))}",
        "",
    ]


def _servers(one: dict[str, Any]) -> str:
    return json.dumps({"mcpServers": {NAME: one}}, ensure_ascii=False)
