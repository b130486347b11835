"""The REST server: an ASGI application over opened services, and the process that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from agent_memory_server import __version__
from agent_memory_server.api.answers import Answer
from agent_memory_server.api.dependencies import Runtime
from agent_memory_server.api.dispatch import Dispatcher
from agent_memory_server.api.documentation import add_documentation_pages
from agent_memory_server.api.errors import problem_answer
from agent_memory_server.api.middleware import Gateway
from agent_memory_server.api.openapi import document
from agent_memory_server.api.operations import Operation
from agent_memory_server.api.routes import OPERATIONS
from agent_memory_server.app import MemoryApp
from agent_memory_server.config import Settings
from agent_memory_server.logs import configure_logging
from agent_memory_server.tasks.running import open_working_app

TITLE = "Agent Memory Server"
DESCRIPTION = "Working memory and long-term memory for AI agents."
SHUTDOWN_S = 10
"""How long requests under way may take to finish after the signal to stop."""

Opening = Callable[[], contextlib.AbstractAsyncContextManager[MemoryApp]]


def create_api(app: MemoryApp | None = None, *, opening: Opening | None = None, body_bytes_max: int) -> MemoryApi:
    """The REST API over an app that is already open, or over one that its lifespan opens with ``opening``."""
    runtime = Runtime(body_bytes_max=body_bytes_max, app=app)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if opening is not None:
                runtime.opened = await stack.enter_async_context(opening())
            try:
                yield
            finally:
                await runtime.afterwards.finish()
                runtime.opened = app

    return MemoryApi(OPERATIONS, runtime, lifespan=lifespan)


async def serve(
    settings: Settings,
    *,
    host: str | None = None,
    port: int | None = None,
    announce: Callable[[MemoryApp, str], None] | None = None,
) -> None:
    """Open the services and serve until a signal says stop. Run it on uvloop where there is one.

    ``announce`` is called with the services and the base URL once connections are accepted. Raises ConfigurationError before
    anything is bound; an address that cannot be bound ends the process as uvicorn does (exit status 3).
    """
    bind_to = settings.checked_host(host or settings.host)
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
            create_api(app, body_bytes_max=settings.max_body_bytes),
            host=bind_to,
            port=settings.port if port is None else port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
            http=_http_protocol(),
        )
        await _Server(config, announce=listening).serve()


def _http_protocol() -> Any:
    """Ours where its parser is installed; on Windows uvicorn's own, which bounds a head by itself."""
    try:
        from agent_memory_server.api.http_protocol import HttpProtocol
    except ImportError:
        return "auto"
    return HttpProtocol


def api_from_environment() -> MemoryApi:
    """A factory for ``uvicorn --factory`` and reloading: settings from the environment, services opened by the lifespan."""
    settings = Settings()
    settings.checked_host(settings.host)
    configure_logging(settings.log_level)
    return create_api(opening=lambda: open_working_app(settings), body_bytes_max=settings.max_body_bytes)


class MemoryApi(FastAPI):
    """FastAPI for the documentation pages and the lifespan; the gateway goes before everything and serves our operations."""

    def __init__(self, operations: Sequence[Operation], runtime: Runtime, **options: Any) -> None:
        super().__init__(
            title=TITLE,
            version=__version__,
            description=DESCRIPTION,
            redirect_slashes=False,
            docs_url=None,
            redoc_url=None,
            **options,
        )
        add_documentation_pages(self, title=TITLE)
        self._operations = operations
        self._runtime = runtime
        self.add_exception_handler(HTTPException, _no_route)

    async def finish_afterwards(self) -> None:
        """Wait for what was begun after answers; shutting down does so too."""
        await self._runtime.afterwards.finish()

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document(self._operations, title=TITLE, version=__version__, description=DESCRIPTION)
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        rest = super().build_middleware_stack()
        return Gateway(rest, dispatcher=Dispatcher(self._operations), runtime=self._runtime)


class _Server(uvicorn.Server):
    """Says where it listens once it does (the port may have been chosen by the system)."""

    def __init__(self, config: uvicorn.Config, *, announce: Callable[[str], None] | None) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self._announce is not None and self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._announce(f"http://{shown}:{port}")


async def _no_route(request: Request, error: Exception) -> Response:
    """A path or method that is not there."""
    return _as_response(problem_answer(error, request.scope["trace"]))


def _as_response(answer: Answer) -> Response:
    response = Response(answer.body, status_code=answer.status)
    response.raw_headers = [
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]
    return response
