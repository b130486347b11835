"""A remember–recall–forget session of a real MCP client, run as a script so that clients of several generations can run it.

    python agent.py sse|streamable-http|stdio PLACE TOKEN handshake|newest

PLACE is a URL, or the command that speaks over stdio, whose environment is ours. Prints what happened as one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import AsyncGenerator
from typing import Any

TEXT = "Ana is allergic to peanuts"


def field(thing: Any, name: str) -> Any:
    """An attribute by its name in this generation: ``is_error`` was ``isError``."""
    first, *rest = name.split("_")
    return getattr(thing, name) if hasattr(thing, name) else getattr(thing, first + "".join(map(str.title, rest)))


@contextlib.asynccontextmanager
async def transport(kind: str, place: str, token: str) -> AsyncGenerator[Any]:
    """The two streams of a connection."""
    headers = {"Authorization": f"Bearer {token}"}
    if kind == "stdio":
        stdio: Any = importlib.import_module("mcp.client.stdio")
        command, *arguments = shlex.split(place)
        started = stdio.StdioServerParameters(command=command, args=arguments, env={**os.environ, "MCP_TOKEN": token})
        async with stdio.stdio_client(started) as streams:
            yield streams
    elif kind == "sse":
        sse: Any = importlib.import_module("mcp.client.sse")
        async with sse.sse_client(place, headers=headers) as streams:
            yield streams
    else:
        new = importlib.metadata.version("mcp").startswith("2.")
        requesting: Any = importlib.import_module("httpx2" if new else "httpx")
        streaming: Any = importlib.import_module("mcp.client.streamable_http")
        async with (
            requesting.AsyncClient(headers=headers, timeout=30) as http,
            streaming.streamable_http_client(place, http_client=http) as streams,
        ):
            yield streams


@contextlib.asynccontextmanager
async def session(kind: str, place: str, token: str, protocol: str) -> AsyncGenerator[tuple[Any, str]]:
    """An open session and its protocol version."""
    if protocol == "newest":
        module: Any = importlib.import_module("mcp.client.client")
        async with module.Client(transport(kind, place, token), mode="auto") as client:
            yield client, str(client.protocol_version)
        return
    mcp: Any = importlib.import_module("mcp")
    async with (
        transport(kind, place, token) as (incoming, outgoing, *_),
        mcp.ClientSession(incoming, outgoing) as opened,
    ):
        greeting = await opened.initialize()
        yield opened, field(greeting, "protocol_version")


async def converse(kind: str, place: str, token: str, protocol: str) -> dict[str, Any]:
    async with session(kind, place, token, protocol) as (agent, version):

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await agent.call_tool(tool, arguments)
            assert not field(result, "is_error"), result
            structured = field(result, "structured_content")
            assert json.loads(result.content[0].text) == structured
            return structured

        tools = [tool.name for tool in (await agent.list_tools()).tools]
        stored = await call("create_long_term_memories", memories=[{"text": TEXT, "user_id": kind + protocol}])
        found = await call("search_long_term_memory", text="what may she not eat?", user_id={"eq": kind + protocol})
        deleted = await call("delete_long_term_memories", memory_ids=stored["ids"])
        left = await call("search_long_term_memory", text="peanuts", user_id={"eq": kind + protocol})
        refused = await agent.call_tool("get_long_term_memory", {"memory_id": stored["ids"][0]})
        return {
            "library": importlib.metadata.version("mcp"),
            "protocol": version,
            "tools": tools,
            "found": [(memory["id"], memory["text"]) for memory in found["memories"]],
            "stored": stored["ids"],
            "deleted": deleted["status"],
            "left": left["memories"],
            "refused": field(refused, "is_error"),
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(converse(*sys.argv[1:]))) + "\n")
