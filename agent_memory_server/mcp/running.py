"""MCP over stdin and stdout: one client, which started this process, on the same data as whatever else runs.

Nothing but the protocol goes to stdout; the library points the process's own stdout to stderr meanwhile. The process ends when
its client closes stdin, or when it is told to stop; the store is closed either way.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from agent_memory_server.api.dependencies import Afterwards
from agent_memory_server.app import MemoryApp
from agent_memory_server.config import Settings
from agent_memory_server.domain.identity import Principal
from agent_memory_server.errors import ConfigurationError, NotAuthenticated
from agent_memory_server.mcp.options import Options, options_of
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.tasks.running import open_working_app

if TYPE_CHECKING:
    from agent_memory_server.mcp.server import Context

Caller = Callable[[], Awaitable[Principal]]

LOCAL = Principal(subject="local")
"""Who calls over stdio without a token: whoever can open the store may do everything in it."""
_BACKGROUND_AFTER_S = 0.5
_SERVER = "agent_memory_server.mcp.server"


async def serve_stdio(settings: Settings, *, ready: Callable[[MemoryApp], None] | None = None) -> None:
    """Serve until stdin ends or a signal says stop. Raises ConfigurationError, also for an MCP_TOKEN that is not valid."""
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # on Windows the default handlers end the process
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
    # Loading the protocol's library takes about as long as opening the data: side by side.
    loading = asyncio.create_task(asyncio.to_thread(importlib.import_module, _SERVER))
    begin = asyncio.Event()
    async with open_working_app(settings, begin=begin) as app:
        caller = _caller_of(app, None if settings.mcp_token is None else settings.mcp_token.get_secret_value())
        try:
            await caller()
        except NotAuthenticated as error:
            raise ConfigurationError(
                f"MCP_TOKEN is not valid: {error.detail}. Make one: agent-memory token add"
            ) from None
        await loading
        if ready is not None:
            ready(app)
        exchange = asyncio.create_task(_exchange(app, options_of(settings, host="localhost"), caller, begin))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({exchange, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    if exchange.done():
        await exchange
    else:
        # A thread is still waiting for stdin, which nothing can interrupt. The store is closed: there is nothing left to do.
        os._exit(0)


def _caller_of(app: MemoryApp, token: str | None) -> Caller:
    """Who calls, verified anew for each call: a token that is revoked meanwhile stops working."""

    async def verified() -> Principal:
        return LOCAL if token is None else await app.authentication.authenticate(token)

    return verified


async def _exchange(app: MemoryApp, options: Options, caller: Caller, begin: asyncio.Event) -> None:
    from mcp.server.stdio import stdio_server

    from agent_memory_server.mcp.server import open_server
    from agent_memory_server.mcp.tools import TOOL_SETS

    afterwards = Afterwards()

    async def calling(context: Context) -> ToolCall:
        del context
        return ToolCall(app=app, caller=await caller(), afterwards=afterwards, defaults=options.defaults)

    server = open_server(TOOL_SETS[options.tools], calling, simple=options.tools == "simple")
    async with stdio_server() as (incoming, outgoing):
        # The client is greeted first: loading what the background needs would take the processor from it.
        asyncio.get_running_loop().call_later(_BACKGROUND_AFTER_S, begin.set)
        await server.run(incoming, outgoing, server.create_initialization_options())
    await afterwards.finish()
