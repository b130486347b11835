"""The protocol's side: tools as MCP lists and calls them, over whatever transport. The only place that builds a server.

Importing this loads the MCP library, half a second of work: commands and servers that nobody asks for MCP never do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import cache
from typing import Any

import mcp_types as types
import orjson
import structlog
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from agent_memory_server import __version__
from agent_memory_server.api.answers import encoded
from agent_memory_server.api.trace import trace_of
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.traceparent import current_traceparent, trace_id_of, within_trace
from agent_memory_server.errors import NotPermitted
from agent_memory_server.mcp.arguments import input_schema, output_schema, validated
from agent_memory_server.mcp.failures import sentence, status_of
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool, text
from agent_memory_server.telemetry import begun_elsewhere

NAME = "agent-memory-server"
TITLE = "Agent Memory Server"

Context = ServerRequestContext[Any, Any]
Calling = Callable[[Context], Awaitable[ToolCall]]
"""Who calls and on whose memories, from the request itself. Raises what authentication raises."""
Failing = Callable[[Context, str, int, str], None]
"""Told of a call that failed: its context, the tool's name, the status that REST answers with, and the trace's id."""


def open_server(
    tools: Sequence[Tool], calling: Calling, *, simple: bool, failing: Failing | None = None
) -> Server[Any]:
    """A server of these tools. ``calling`` is asked anew for each call: nothing about a caller is kept."""
    by_name = {tool.name: tool for tool in tools}
    listed = [_listed(tool) for tool in tools]

    async def list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        del context, params
        return types.ListToolsResult(tools=listed)

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = by_name.get(params.name)
        if tool is None:
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name[:200]}")
        with _in_trace() as trace_id:
            try:
                answer = await answered(tool, await calling(context), params.arguments or {})
            except Exception as error:  # noqa: BLE001 - the one catch: whatever failed, the model that called is told
                if failing is not None:
                    failing(context, tool.name, status_of(error), trace_id)
                return _failed(sentence(error, tool.name))
            return _result(answer)

    return Server(
        NAME,
        version=__version__,
        title=TITLE,
        instructions=text("instructions_simple" if simple else "instructions"),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema={tool.name: tool.input_schema for tool in listed}.get,
    )


async def answered(tool: Tool, call: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the tool answers. Raises NotPermitted, BadBody, InvalidInput and what the services raise."""
    if tool.permission not in call.caller.permissions:
        raise NotPermitted(
            f"{tool.name} needs the permission {tool.permission.value}, which your credential does not have"
        )
    return await tool.handler(call, validated(tool.arguments, arguments))


@contextlib.contextmanager
def _in_trace() -> Generator[str]:
    """The trace's id. A call belongs to the span that the MCP library began for it, else to the request that brought it,
    else (over stdio) to a trace of its own: its log lines and the work that it asks for have that id."""
    parent = begun_elsewhere() or current_traceparent() or trace_of(None).traceparent
    trace_id = trace_id_of(parent)
    with within_trace(parent), structlog.contextvars.bound_contextvars(trace_id=trace_id):
        yield trace_id


@cache
def _listed(tool: Tool) -> types.Tool:
    """Made once a process: the schemas of all tools take a quarter of a second."""
    effect = tool.effect
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool.arguments),
        output_schema=output_schema(tool.answers),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=effect is Effect.READS,
            destructive_hint=effect is Effect.CHANGES,
            idempotent_hint=effect is not Effect.ADDS,
            open_world_hint=False,
        ),
    )


def _result(answer: dict[str, Any]) -> types.CallToolResult:
    """Structured, and the same as text for clients that know no structured results."""
    written = encoded(answer)
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=written.decode())], structured_content=orjson.loads(written)
    )


def _failed(told: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=told)], is_error=True)


PERMISSIONS: dict[Permission, str] = {each: f"memory:{each.value}" for each in Permission}
"""As OAuth names them."""
