"""What to paste into an agent so that it uses this server: printed by the banner of ``agent-memory api``."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from agent_memory_server.config import Settings

NAME = "memory"


def lines_to_paste(settings: Settings, url: str) -> list[str]:
    """For Claude Code, Cursor and Claude Desktop, which starts a server of its own on the same data."""
    endpoint = f"{url}/mcp"
    bearer = {"Authorization": "Bearer TOKEN"} if settings.wants_authentication else {}
    header = "".join(f' --header "{name}: {value}"' for name, value in bearer.items())
    remote: dict[str, Any] = {"url": endpoint, **({"headers": bearer} if bearer else {})}
    local: dict[str, Any] = {"command": _command(), "args": ["mcp"]}
    environment = _environment(settings)
    if environment:
        local["env"] = environment
    return [
        "  Give an agent memory; paste into",
        f"    Claude Code      claude mcp add --transport http {NAME} {endpoint}{header}",
        f"    Cursor           {_servers(remote)}",
        f"    Claude Desktop   {_servers(local)}",
        "",
    ]


def _servers(one: dict[str, Any]) -> str:
    return json.dumps({"mcpServers": {NAME: one}}, ensure_ascii=False)


def _command() -> str:
    """The whole path: Claude Desktop knows neither a working directory nor a virtual environment."""
    installed = Path(sysconfig.get_path("scripts")) / "agent-memory"
    return str(installed) if installed.exists() else shutil.which("agent-memory") or "agent-memory"


def _environment(settings: Settings) -> dict[str, str]:
    """What leads another process to the same data where it is not in the place by default; no secret of a URL."""
    given = settings.model_fields_set
    place = settings.storage_url or settings.redis_url
    if place is not None:
        name = "STORAGE_URL" if settings.storage_url else "REDIS_URL"
        # Sentinels and client certificates have passwords among the options.
        hidden = urlsplit(place).password is not None or "password=" in place
        return {name: f"your {name}" if hidden else place}
    return {"DATA_DIR": str(settings.data_dir.absolute())} if "data_dir" in given else {}
