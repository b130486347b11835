"""All tools: a new one is a Tool in a module here, a description in ``descriptions/``, and a line in a set below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent_memory_server.mcp.tool import Tool
from agent_memory_server.mcp.tools import (
    administration,
    clock,
    history,
    hydration,
    memories,
    search,
    summary_views,
    verbs,
    working_memory,
)

_FULL: tuple[Tool, ...] = (
    *clock.TOOLS,
    *memories.TOOLS,
    *search.TOOLS,
    *hydration.TOOLS,
    *working_memory.TOOLS,
)

TOOL_SETS: Mapping[str, Sequence[Tool]] = {
    "simple": verbs.TOOLS,
    "full": _FULL,
    "admin": (*_FULL, *administration.TOOLS, *history.TOOLS, *summary_views.TOOLS),
}
"""By MCP_TOOLS."""
