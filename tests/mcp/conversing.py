"""Talking to the tools in this process: a real MCP client on a real server, over memory instead of a socket."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from mcp.client.client import Client
from mcp.server.lowlevel import Server

from agent_memory_server.api.dependencies import Afterwards
from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import ANONYMOUS, Principal
from agent_memory_server.mcp.scope import Defaults, ToolCall
from agent_memory_server.mcp.server import Context, open_server
from agent_memory_server.mcp.tools import TOOL_SETS


@dataclass(frozen=True)
class Conversation:
    """A server to talk to. ``done`` is for calls that have to succeed, ``refused`` for those that must not."""

    server: Server[Any]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Each call is a connection of its own: a client has to be closed by the task that opened it, and fixtures are not."""
        async with Client(self.server) as client:
            return await client.call_tool(tool, arguments)

    async def done(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured answer, whose text form says the same."""
        result = await self.call(tool, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        return result.structured_content

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        """What the caller is told."""
        result = await self.call(tool, arguments)
        assert result.is_error, result.structured_content
        assert result.structured_content is None
        return text_of(result)

    async def remembered(self, text: str, **fields: Any) -> str:
        """Store one memory; returns its id."""
        return (await self.done("create_long_term_memories", memories=[{"text": text, **fields}]))["ids"][0]

    async def found(self, text: str | None = None, **arguments: Any) -> list[str]:
        """The texts of a search's page."""
        page = await self.done("search_long_term_memory", text=text, **arguments)
        return [memory["text"] for memory in page["memories"]]


def text_of(result: Any) -> str:
    """The text of a result."""
    return "\n".join(block.text for block in result.content)


@contextlib.asynccontextmanager
async def conversing(
    app: MemoryApp,
    *,
    caller: Principal = ANONYMOUS,
    tools: str = "full",
    defaults: Defaults | None = None,
    url_namespace: str | None = None,
) -> AsyncGenerator[Conversation]:
    """A client of the tools over this app, as this caller."""
    afterwards = Afterwards()

    async def calling(context: Context) -> ToolCall:
        del context
        return ToolCall(
            app=app,
            caller=caller,
            afterwards=afterwards,
            url_namespace=url_namespace,
            defaults=defaults or Defaults(),
        )

    yield Conversation(open_server(TOOL_SETS[tools], calling, simple=tools == "simple"))
    await afterwards.finish()
