"""The REST API as an ASGI application over opened services."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

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

TITLE = "Agent Memory Server"
DESCRIPTION = "Working memory and long-term memory for AI agents."

Opening = Callable[[], contextlib.AbstractAsyncContextManager[MemoryApp]]


class Beside(Protocol):
    """What the same process serves under paths that are none of the API's (the MCP server, the console).

    It asks ``runtime.app.authentication`` itself; what it raises is answered as the API answers errors.
    """

    def takes(self, scope: Scope) -> bool:
        """Whether this request is for it."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def close(self) -> None:
        """End what it began; called before the services close."""
        ...


def create_api(
    app: MemoryApp | None = None,
    *,
    opening: Opening | None = None,
    body_bytes_max: int,
    operations: Sequence[Operation] = OPERATIONS,
    beside: Sequence[Callable[[Runtime], Beside]] = (),
    local_callers_only: bool = False,
) -> MemoryApi:
    """The REST API over an app that is already open, or over one that its lifespan opens with ``opening``.

    ``local_callers_only``: what is sent under a name that is none of this machine's, or by a page of another site, is refused.
    """
    runtime = Runtime(body_bytes_max=body_bytes_max, app=app, local_callers_only=local_callers_only)
    others = [each(runtime) for each in beside]

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if opening is not None:
                runtime.opened = await stack.enter_async_context(opening())
            try:
                yield
            finally:
                for other in others:
                    await other.close()
                await runtime.afterwards.finish()
                runtime.opened = app

    return MemoryApi(operations, runtime, others, lifespan=lifespan)


class MemoryApi(FastAPI):
    """FastAPI for the documentation pages and the lifespan; the gateway goes before everything and serves our operations."""

    def __init__(
        self, operations: Sequence[Operation], runtime: Runtime, beside: Sequence[Beside] = (), **options: Any
    ) -> None:
        super().__init__(
            title=TITLE,
            version=__version__,
            description=DESCRIPTION,
            redirect_slashes=False,
            docs_url=None,
            redoc_url=None,
            # The gateway's spans name routes; the framework's own hold paths and queries, which are ids and words of people.
            telemetry={"tracing": False, "metrics": False, "logs": False},
            **options,
        )
        add_documentation_pages(self, title=TITLE)
        self._operations = operations
        self._runtime = runtime
        self._beside = beside
        self.add_exception_handler(HTTPException, _no_route)

    async def finish_afterwards(self) -> None:
        """Wait for what was begun after answers; shutting down does so too."""
        await self._runtime.afterwards.finish()

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = document(self._operations, title=TITLE, version=__version__, description=DESCRIPTION)
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        rest = _with_others(super().build_middleware_stack(), self._beside)
        return Gateway(rest, dispatcher=Dispatcher(self._operations), runtime=self._runtime)


def _with_others(rest: ASGIApp, beside: Sequence[Beside]) -> ASGIApp:
    """Each request to the first that takes it, else to the rest."""

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        takes = (each for each in beside if scope["type"] == "http" and each.takes(scope))
        await next(takes, rest)(scope, receive, send)

    return chosen if beside else rest


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
