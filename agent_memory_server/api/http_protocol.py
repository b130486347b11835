"""HTTP below the application: what is not HTTP, or whose head is endless, is answered as a problem document too.

A head (request line and headers) may be ``HEAD_BYTES_MAX`` long; a client that goes on sending one is cut off with 431, so
that it cannot grow the server. It has to come within ``head_seconds_max``, else 408: a thousand clients that send a byte now
and then would hold all the connections that a process may have. Bodies are bounded above, by the gateway.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent_memory_server.api.errors import problem
from agent_memory_server.api.trace import trace_of
from agent_memory_server.domain.limits import LIMITS

HEAD_BYTES_MAX = 96 * 1024
_URL_BYTES_MAX = 64 * 1024
"""Of the parser."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's fast protocol with a bounded head. ``_head_bytes`` counts what came while a head was incomplete."""

    head_seconds_max = LIMITS.head_seconds_max
    _head_bytes = 0
    _in_head = True
    _waiting: asyncio.TimerHandle | None = None
    """Runs while a head is awaited. One that comes in one piece, as they do, on an open connection costs no timer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - uvicorn's
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if self._waiting is None:
            self._wait_for_head()
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the request line and headers are longer than {HEAD_BYTES_MAX} bytes",
            )

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._wait_no_more()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        self._waiting = self.loop.call_later(self.head_seconds_max, self._head_is_late)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _head_is_late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison] - before the first
            self._wait_for_head()  # an earlier request of this connection is still being answered
        elif not self._head_bytes:
            self.transport.close()  # an answer could pass for that of a request which is on its way
        elif not self.transport.is_closing():
            reason = f"the request line and headers did not come within {self.head_seconds_max:g} seconds"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, reason)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words are for its log
        is_long = len(getattr(self, "url", b"")) >= _URL_BYTES_MAX
        reason = f"the URL is longer than {_URL_BYTES_MAX - 1} bytes" if is_long else "this is not a valid HTTP request"
        self._refuse(HTTPStatus.BAD_REQUEST, reason)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        answer = problem(status.value, status.phrase.capitalize(), reason, trace_of(None))
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}".encode(),
            b"content-type: " + answer.media_type,
            b"content-length: %d" % len(answer.body),
            b"connection: close",
            *(name + b": " + value for name, value in answer.headers),
        ]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + answer.body)
        self.transport.close()
