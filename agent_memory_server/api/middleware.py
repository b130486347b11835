"""What every request passes, as plain ASGI: its trace, the size of its body, its endpoint, and the one catch for errors."""

from __future__ import annotations

import asyncio
import contextlib
import time

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_memory_server.api.answers import Answer
from agent_memory_server.api.bodies import body_too_large
from agent_memory_server.api.dependencies import Runtime, caller_of
from agent_memory_server.api.dispatch import Dispatcher
from agent_memory_server.api.documentation import is_documentation
from agent_memory_server.api.errors import BodyTooLarge, ClientGone, problem_answer
from agent_memory_server.api.operations import Call
from agent_memory_server.api.paths import segments_of
from agent_memory_server.api.trace import Trace, recorded, trace_of
from agent_memory_server.domain.identity import STRANGER, Permission
from agent_memory_server.domain.traceparent import within_trace
from agent_memory_server.telemetry import note_request, span, traceparent_of

DRAIN_S = 2.0
"""How long the rest of a refused body is thrown away before the connection is closed, so that the client sees the answer."""

OTHER = "other"
"""The route, in metrics, of what is served beside the API, and of paths that are none."""

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)

_log = structlog.stdlib.get_logger(__name__)


class Gateway:
    """The outermost layer: everything behind it may raise, everything before it sees an HTTP answer.

    Paths that are none of ours go on to ``rest`` (the documentation pages, and what is mounted beside the API).
    """

    def __init__(self, rest: ASGIApp, *, dispatcher: Dispatcher, runtime: Runtime) -> None:
        self._rest = rest
        self._dispatcher = dispatcher
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        headers = dict(scope["headers"])
        trace = trace_of(headers.get(b"traceparent"))
        with span(scope["method"], is_request=True, traceparent=trace.parent) as begun:
            if begun is not None:
                trace = recorded(trace, traceparent_of(begun))
            scope["trace"] = trace
            outgoing = _Outgoing(send, trace)
            # Work that the request asks for says which request that was, whether or not spans are recorded.
            with within_trace(trace.traceparent):
                await self._answered(scope, receive, outgoing, headers.get(b"content-length"))
            note_request(begun, scope["method"], scope.get("route_template", OTHER), outgoing.status)

    async def _answered(
        self, scope: Scope, receive: Receive, outgoing: _Outgoing, content_length: bytes | None
    ) -> None:
        """One answer, whatever fails; the outcome is told to whoever counts."""
        trace: Trace = scope["trace"]
        tokens = structlog.contextvars.bind_contextvars(trace_id=trace.trace_id)
        began = time.perf_counter()
        try:
            self._check_length(content_length)
            await self._answer(scope, receive, outgoing)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the one catch: whatever failed is answered, and logged when unexpected
            await self._refuse(error, trace, receive, outgoing)
        finally:
            structlog.contextvars.reset_contextvars(**tokens)
            self._noted(scope, outgoing.status, time.perf_counter() - began)

    def _noted(self, scope: Scope, status: int, took_s: float) -> None:
        """Tell whoever counts. ``status`` 0: nothing was answered."""
        if not status:
            return
        method, route = scope["method"], scope.get("route_template", OTHER)
        if self._runtime.observe is not None:
            self._runtime.observe(method, route, status, took_s)
        if self._runtime.opened is not None:
            self._runtime.failures.note(
                scope.get("tenant"),
                method,
                route,
                status,
                trace_id=scope["trace"].trace_id,
                at=self._runtime.opened.now(),
            )

    async def _answer(self, scope: Scope, receive: Receive, outgoing: _Outgoing) -> None:
        method: str = scope["method"]
        found = self._dispatcher.find(method, segments_of(scope))
        if found is None:
            if is_documentation(scope["path"]) and not self._runtime.app.docs_public:
                await caller_of(scope, self._runtime, Permission.READ, action="read the documentation")
            await self._rest(scope, receive, outgoing)
            return
        if found.operation is None:
            raise HTTPException(405, headers={"Allow": ", ".join(found.allowed)})
        operation = found.operation
        scope["route_template"] = operation.path
        caller = STRANGER
        if operation.permission is not None:
            caller = await caller_of(scope, self._runtime, operation.permission, action=operation.name)
        answer = await operation.handler(Call(scope, receive, self._runtime, found.ids, caller))
        await answer.send(outgoing)

    def _check_length(self, content_length: bytes | None) -> None:
        most = self._runtime.body_bytes_max
        if content_length is not None and content_length.isdigit() and int(content_length[:20]) > most:
            raise body_too_large(most)

    async def _refuse(self, error: Exception, trace: Trace, receive: Receive, outgoing: _Outgoing) -> None:
        answer = problem_answer(error, trace)
        if outgoing.started:
            _log.warning("the answer had begun when its request failed", error=type(error).__name__)
            return
        if isinstance(error, BodyTooLarge):
            await _answer_and_close(answer, receive, outgoing)
        else:
            await answer.send(outgoing)


class _Outgoing:
    """``send`` that adds the headers which every answer carries."""

    __slots__ = ("_send", "_trace", "started", "status")

    def __init__(self, send: Send, trace: Trace) -> None:
        self._send = send
        self._trace = trace
        self.started = False
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self._trace.trace_id.encode()),
                (b"traceparent", self._trace.traceparent.encode()),
                *_SECURITY_HEADERS,
            ]
        await self._send(message)


async def _answer_and_close(answer: Answer, receive: Receive, send: Send) -> None:
    """Answer at once, then throw away what the client is still sending for a moment, and close.

    Closing a connection with unread data resets it, and the client might never see why.
    """
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.media_type),
                (b"content-length", b"%d" % len(answer.body)),
                (b"connection", b"close"),
                *answer.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            message = await receive()
            while message["type"] == "http.request" and message.get("more_body", False):
                message = await receive()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
