"""MCP over HTTP, as a part of a server process: admits, authenticates, bounds, and hands over to the protocol.

The protocol's library is loaded when the first admitted request comes, not when the process starts: a server that nobody
asks for MCP pays neither its time nor its memory.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from agent_memory_server.api.answers import Answer, encoded
from agent_memory_server.api.bodies import read_body
from agent_memory_server.api.dependencies import Runtime
from agent_memory_server.api.errors import BodyTooLarge
from agent_memory_server.api.event_stream import MEDIA_TYPE, on_one_line
from agent_memory_server.api.paths import checked_id, segments_of
from agent_memory_server.errors import InvalidInput
from agent_memory_server.mcp.guarding import ALLOWED_HEADERS, Guard, cross_origin_headers
from agent_memory_server.mcp.options import Options
from agent_memory_server.mcp.places import METHODS, Kind, Place, place_of

if TYPE_CHECKING:
    from agent_memory_server.mcp.transports import Transports

_TRANSPORTS = "agent_memory_server.mcp.transports"
STREAMABLE = frozenset({Kind.MCP, Kind.METADATA})
EVENT_STREAMS = frozenset({Kind.SSE, Kind.MESSAGES, Kind.METADATA})


class McpEndpoint:
    """Serves the ``kinds`` of places; everything that it raises is answered by the gateway before it."""

    def __init__(self, runtime: Runtime, options: Options, kinds: Collection[Kind] = STREAMABLE) -> None:
        self._runtime = runtime
        self._options = options
        self._kinds = kinds
        self._guard = Guard(options)
        self._opening = asyncio.Lock()
        self._transports: Transports | None = None

    def takes(self, scope: Scope) -> bool:
        return self._place(scope) is not None

    def _place(self, scope: Scope) -> Place | None:
        place = place_of(segments_of(scope))
        if place is None or place.kind not in self._kinds:
            return None
        return None if place.of and self._unserved(place) else place

    def _unserved(self, metadata: Place) -> bool:
        about = place_of(metadata.of)
        return about is None or about.kind not in self._kinds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = self._place(scope)
        if place is None:
            raise HTTPException(404)
        origin = self._guard.admitted_origin(scope)
        answering = _with_headers(send, cross_origin_headers(origin))
        method = METHODS[place.kind]
        if scope["method"] == "OPTIONS" and origin is not None:
            await _preflight(method).send(answering)
        elif scope["method"] != method:
            raise HTTPException(405, headers={"Allow": method})
        elif place.kind is Kind.METADATA:
            await self._metadata(scope, place).send(answering)
        else:
            await self._serve(place, scope, receive, answering)

    async def close(self) -> None:
        """End open streams and what the protocol's library runs in the background."""
        if self._transports is not None:
            await self._transports.close()

    async def _serve(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        authentication = self._runtime.app.authentication
        caller = await self._guard.caller(authentication, scope)
        if place.namespace is not None:
            checked_id(place.namespace, "namespace")
            if not place.namespace.strip():
                raise InvalidInput("must not be blank", field=("path", "namespace"))
        transports = await self._opened()
        if place.kind is Kind.SSE:
            await transports.stream(transports.scoped(scope, place, caller), receive, send)
            return
        body = await self._body(receive)
        called = _called_tool(body)
        permission = None if called is None else transports.permissions.get(called)
        if called is not None and permission is not None:
            self._guard.require(authentication, caller, permission, scope, action=called)
        replayed = _replayed(body, receive)
        given = transports.scoped(scope, place, caller)
        if place.kind is Kind.MCP:
            await transports.exchange(given, replayed, send)
        else:
            await transports.message(given, replayed, send)

    async def _body(self, receive: Receive) -> bytes:
        most = self._options.body_bytes_max
        try:
            return await read_body(receive, bytes_max=most)
        except BodyTooLarge:
            raise BodyTooLarge(f"an MCP message may have at most {most} bytes; use the REST API for more") from None

    async def _opened(self) -> Transports:
        if self._transports is None:
            async with self._opening:
                if self._transports is None:
                    module = await asyncio.to_thread(importlib.import_module, _TRANSPORTS)
                    transports: Transports = await module.open_transports(self._runtime, self._options)
                    self._transports = transports
        return self._transports

    def _metadata(self, scope: Scope, place: Place) -> Answer:
        if not self._runtime.app.authentication.is_on:
            raise HTTPException(404, "authentication is off: there is nothing to say about it")
        return Answer(body=encoded(self._guard.metadata(scope, tuple(place.of))))


def _called_tool(body: bytes) -> str | None:
    """The tool that a message calls, None for any other message and for what is none: the protocol answers that."""
    try:
        message = from_json(body)
    except ValueError:
        return None
    match message:
        case {"method": "tools/call", "params": {"name": str(name)}}:
            return name
        case _:
            return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """``receive`` over a body that was read already, and what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message


def _with_headers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    """What goes out, with these headers, and each event's JSON on what every client takes for one line."""
    is_events = False

    async def sending(message: Message) -> None:
        nonlocal is_events
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            is_events = any(name.lower() == b"content-type" and value.startswith(MEDIA_TYPE) for name, value in given)
            message["headers"] = [*given, *headers]
        elif is_events:
            message["body"] = on_one_line(message.get("body", b""))
        await send(message)

    return sending


def _preflight(method: str) -> Answer:
    return Answer(
        body=b"",
        status=204,
        headers=(
            (b"access-control-allow-methods", method.encode()),
            (b"access-control-allow-headers", ALLOWED_HEADERS.encode()),
            (b"access-control-max-age", b"600"),
        ),
    )
