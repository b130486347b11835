"""What a program on this machine needs in order to start an MCP server of its own on the same data."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from agent_memory_server.config import Settings


def started_by_a_host(settings: Settings) -> dict[str, Any]:
    """Command, arguments and environment as MCP hosts write them."""
    environment = _environment(settings)
    return {"command": _command(), "args": ["mcp"], **({"env": environment} if environment else {})}


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
