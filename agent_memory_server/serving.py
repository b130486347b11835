"""One process that listens: the REST API with the MCP server beside it, or the MCP server alone.

Ends with what uvicorn ends with when an address cannot be bound (exit status 3); everything else that can be wrong is a
ConfigurationError before anything is bound.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from agent_memory_server.api.dependencies import Runtime
from agent_memory_server.api.metrics import Metrics
from agent_memory_server.api.routes.readiness import OPERATIONS as HEALTH
from agent_memory_server.api.server import Beside, MemoryApi, create_api
from agent_memory_server.app import MemoryApp
from agent_memory_server.config import Settings
from agent_memory_server.config_report import settings_in_force
from agent_memory_server.logs import configure_logging
from agent_memory_server.mcp.endpoint import EVENT_STREAMS, STREAMABLE, McpEndpoint
from agent_memory_server.mcp.options import options_of
from agent_memory_server.mcp_hosts import started_by_a_host
from agent_memory_server.tasks.running import open_working_app
from agent_memory_server.web.console import Console
from agent_memory_server.web.visits import ConsoleFacts

SHUTDOWN_S = 10
"""How long requests under way may take to finish after the signal to stop."""

Announce = Callable[[MemoryApp, str], None]
"""Called with the services and the base URL once connections are accepted."""


async def serve(
    settings: Settings, *, host: str | None = None, port: int | None = None, announce: Announce | None = None
) -> None:
    """Open the services and serve the REST API until a signal says stop. Run it on uvloop where there is one."""

    bind_to = host or settings.host

    def over(app: MemoryApp) -> ASGIApp:
        return create_api(
            app,
            body_bytes_max=settings.max_body_bytes,
            beside=beside_of(settings, bind_to),
            local_callers_only=settings.is_for_this_machine,
        )

    await listen(
        settings,
        over,
        host=bind_to,
        port=settings.port if port is None else port,
        announce=announce,
    )


async def serve_mcp(settings: Settings, *, event_streams: bool, announce: Announce | None = None) -> None:
    """The MCP server alone, on MCP_HOST and MCP_PORT: streamable HTTP, or with ``event_streams`` the older transport.

    Of the REST API it answers only whether it is alive and ready.
    """
    options = options_of(settings, host=settings.mcp_host)
    kinds = EVENT_STREAMS if event_streams else STREAMABLE

    def over(app: MemoryApp) -> ASGIApp:
        return create_api(
            app,
            body_bytes_max=options.body_bytes_max,
            operations=HEALTH,
            beside=(lambda runtime: McpEndpoint(runtime, options, kinds),),
        )

    await listen(settings, over, host=settings.mcp_host, port=settings.mcp_port, announce=announce)


async def listen(
    settings: Settings,
    over: Callable[[MemoryApp], ASGIApp],
    *,
    host: str,
    port: int,
    announce: Announce | None = None,
) -> None:
    """Open the services, serve the ASGI application that ``over`` makes of them, and do the background work beside it."""
    bind_to = settings.checked_host(host)
    begin = asyncio.Event()
    async with open_working_app(settings, begin=begin) as app:
        # What start-up made lives as long as the process. Walking it again in every full collection would hold up all
        # requests for a tenth of a second, again and again.
        gc.freeze()

        def listening(url: str) -> None:
            begin.set()
            if announce is not None:
                announce(app, url)

        config = uvicorn.Config(
            over(app),
            host=bind_to,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
            http=_http_protocol(),
        )
        await _Server(config, announce=listening, stopping=app.events.stop).serve()


def api_from_environment() -> MemoryApi:
    """A factory for ``uvicorn --factory`` and reloading: settings from the environment, services opened by the lifespan."""
    settings = Settings()
    settings.checked_host(settings.host)
    configure_logging(settings.log_level)
    return create_api(
        opening=lambda: open_working_app(settings),
        body_bytes_max=settings.max_body_bytes,
        beside=beside_of(settings, settings.host),
        local_callers_only=settings.is_for_this_machine,
    )


def beside_of(settings: Settings, host: str) -> Sequence[Callable[[Runtime], Beside]]:
    """What the API's process serves as well."""
    beside: list[Callable[[Runtime], Beside]] = []
    if settings.mcp_in_api:
        options = options_of(settings, host=host)
        beside.append(lambda runtime: McpEndpoint(runtime, options))
    if settings.metrics:
        beside.append(Metrics)
    if settings.console:
        facts = ConsoleFacts(
            is_open_on_purpose=settings.allow_unauthenticated,
            settings=settings_in_force(settings),
            mcp_host=started_by_a_host(settings),
        )
        beside.append(lambda runtime: Console(runtime, facts))
    return beside


def _http_protocol() -> Any:
    """Ours where its parser is installed; on Windows uvicorn's own, which bounds a head by itself."""
    try:
        from agent_memory_server.api.http_protocol import HttpProtocol
    except ImportError:
        return "auto"
    return HttpProtocol


class _Server(uvicorn.Server):
    """Says where it listens once it does (the port may have been chosen by the system)."""

    def __init__(
        self, config: uvicorn.Config, *, announce: Callable[[str], None] | None, stopping: Callable[[], None]
    ) -> None:
        """``stopping`` ends answers that would go on for ever, before those under way are waited for."""
        super().__init__(config)
        self._announce = announce
        self._stopping = stopping

    async def shutdown(self, sockets: Any = None) -> None:
        self._stopping()
        await super().shutdown(sockets)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self._announce is not None and self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._announce(f"http://{shown}:{port}")
