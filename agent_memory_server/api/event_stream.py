"""Server-sent events: an answer that goes on until the client leaves, the events end, or the server stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.types import Receive, Send

from agent_memory_server.api.answers import Answer
from agent_memory_server.errors import MemoryServerError

MEDIA_TYPE = b"text/event-stream"
HEARTBEAT = b": still here\n\n"
_RETRY_MS = 2_000


def event(*, cursor: str, kind: str, data: bytes) -> bytes:
    """One event; ``data`` is JSON and so has no line breaks."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (cursor.encode(), kind.encode(), on_one_line(data))


def on_one_line(json: bytes) -> bytes:
    """The same JSON without the characters (in its texts) at which some clients end a line, though events do not."""
    return (
        json.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029").replace(b"\xc2\x85", b"\\u0085")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStream(Answer):
    """``events`` are written as they come. A client that is gone is noticed at once. ``leave`` is called when it is over."""

    events: AsyncIterator[bytes]
    receive: Receive
    leave: Callable[[], None]
    media_type: bytes = MEDIA_TYPE

    async def send(self, send: Send) -> None:
        try:
            await self._send(send)
        finally:
            self.leave()

    async def _send(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                # Proxies that collect answers would hold events back.
                "headers": [(b"content-type", self.media_type), (b"x-accel-buffering", b"no"), *self.headers],
            }
        )
        await send({"type": "http.response.body", "body": b"retry: %d\n\n" % _RETRY_MS, "more_body": True})
        writing = asyncio.create_task(self._write(send), name="events")
        leaving = asyncio.create_task(self._left(), name="client of events")
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)
        if not writing.cancelled() and writing.exception() is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send) -> None:
        # A store that is down, or a credential that was revoked: the client comes back with its cursor and is told why.
        with contextlib.suppress(MemoryServerError):
            async for each in self.events:
                await send({"type": "http.response.body", "body": each, "more_body": True})

    async def _left(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
