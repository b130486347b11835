"""The tool that tells the time, which models do not know."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from pydantic import Field

from agent_memory_server.api.schemas.values import Body
from agent_memory_server.domain.identity import Permission
from agent_memory_server.mcp.arguments import Arguments
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool


class NoArguments(Arguments):
    """Takes nothing."""


class CurrentTime(Body):
    iso_utc: str = Field(description="YYYY-MM-DDTHH:MM:SSZ")
    unix_ts: int = Field(description="Seconds since the epoch.")


async def get_current_datetime(call: ToolCall, asked: NoArguments) -> dict[str, Any]:
    """In UTC, whatever the host's zone."""
    del asked
    now = call.app.now().astimezone(UTC).replace(microsecond=0)
    return {"iso_utc": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "unix_ts": int(now.timestamp())}


TOOLS = (
    Tool(
        name="get_current_datetime", title="Tell the time", arguments=NoArguments, answers=CurrentTime,
        handler=get_current_datetime, effect=Effect.READS, permission=Permission.READ,
    ),
)  # fmt: skip
