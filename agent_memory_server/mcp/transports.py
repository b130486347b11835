"""The protocol over HTTP: one exchange a POST (stateless), and the older event streams. The library's transports do the work.

Each message carries its own caller: it is read from the request that brought it, also where an event stream carries the
answers of several. Importing this loads the MCP library.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from agent_memory_server.api.dependencies import Runtime
from agent_memory_server.domain.identity import Permission, Principal
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.errors import TooManyRequests
from agent_memory_server.mcp.options import Options
from agent_memory_server.mcp.places import Place
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.server import Context, open_server
from agent_memory_server.mcp.tools import TOOL_SETS

_CALLER = "agent_memory.caller"
_NAMESPACE = "agent_memory.namespace"
_STREAM_RETRY_S = 5
METHOD = "MCP"
"""What stands for the HTTP method where failures of tools are listed: each tool is a route of its own."""


class Transports:
    """Open until ``close``. ``permissions``: what each tool needs."""

    def __init__(self, server: Server[Any], options: Options, permissions: dict[str, Permission]) -> None:
        self.permissions = permissions
        self._server = server
        self._manager = StreamableHTTPSessionManager(
            server, stateless=True, json_response=False, max_request_body_size=options.body_bytes_max
        )
        self._events = SseServerTransport("/messages/", max_request_body_size=options.body_bytes_max)
        self._ready = asyncio.Event()
        self._over = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._streams: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        # The library's task group has to be left by the task that entered it, which no request is.
        self._running = asyncio.create_task(self._run(), name="MCP exchanges")
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            ready.cancel()
            await self._running

    async def close(self) -> None:
        """Streams end; exchanges under way have been waited for by the server before."""
        for stream in self._streams:
            stream.cancel()
        self._over.set()
        if self._running is not None:
            await self._running

    def scoped(self, scope: Scope, place: Place, caller: Principal) -> Scope:
        """The request with what was found out about it. ``user`` is how the library keeps others off an event stream."""
        token = AccessToken(token="", client_id=f"{caller.tenant}/{caller.subject}", scopes=[], subject=caller.subject)
        return {**scope, _CALLER: caller, _NAMESPACE: place.namespace, "user": AuthenticatedUser(token)}

    async def exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One message, one answer."""
        await self._manager.handle_request(scope, receive, send)

    async def message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A message whose answer goes to the event stream that it names."""
        await self._events.handle_post_message(scope, receive, send)

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An event stream, until its client goes or the server ends."""
        if len(self._streams) >= LIMITS.mcp_streams_max:
            raise TooManyRequests("too many event streams are open; use /mcp", retry_after_s=_STREAM_RETRY_S)
        namespace = scope[_NAMESPACE]
        below = scope if namespace is None else {**scope, "root_path": f"/{namespace}"}
        task = asyncio.create_task(self._serve_stream(below, receive, send), name="MCP event stream")
        self._streams.add(task)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                task.cancel()
                raise
        finally:
            self._streams.discard(task)

    async def _serve_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._events.connect_sse(scope, receive, send) as (incoming, outgoing):
            await self._server.run(incoming, outgoing, self._server.create_initialization_options())

    async def _run(self) -> None:
        async with self._manager.run():
            self._ready.set()
            await self._over.wait()


async def open_transports(runtime: Runtime, options: Options) -> Transports:
    """A server of the tools that the options name, over HTTP."""
    tools = TOOL_SETS[options.tools]

    async def calling(context: Context) -> ToolCall:
        scope = cast("Request", context.request).scope
        return ToolCall(
            app=runtime.app,
            caller=scope[_CALLER],
            afterwards=runtime.afterwards,
            url_namespace=scope[_NAMESPACE],
            defaults=options.defaults,
        )

    def failing(context: Context, tool: str, status: int, trace_id: str) -> None:
        caller: Principal = cast("Request", context.request).scope[_CALLER]
        runtime.failures.note(caller.tenant, METHOD, tool, status, trace_id=trace_id, at=runtime.app.now())

    server = open_server(tools, calling, simple=options.tools == "simple", failing=failing)
    transports = Transports(server, options, {tool.name: tool.permission for tool in tools})
    await transports.open()
    return transports
