"""HTTP/1.1 over raw sockets, as light as Python allows: requests are encoded beforehand, responses are only measured."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ERROR_SAMPLE_BYTES = 300


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body_bytes: int
    seconds: float
    sample: str
    """The beginning of an error's body; empty for a success."""


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time; ``answered`` is called when its response is complete."""

    def __init__(self, answered: Callable[[Connection, Answer], None]) -> None:
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._missing = -1
        self._chunked = False
        self._status = 0
        self._body_bytes = 0
        self._sample = ""
        self._tail = b""
        self.sent_at = 0.0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self.sent_at = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self._answered(self, Answer(0, 0, time.perf_counter() - self.sent_at, f"connection lost: {exc}"))

    def data_received(self, data: bytes) -> None:
        if self._missing >= 0:
            self._missing -= len(data)
        elif self._chunked:
            self._body_bytes += len(data)
            self._end_of_chunks(data)
        elif not self._read_head(self._head + data):
            return
        if self._missing == 0:
            self._missing = -1
            self._chunked = False
            self._answered(
                self, Answer(self._status, self._body_bytes, time.perf_counter() - self.sent_at, self._sample)
            )

    def _read_head(self, data: bytes) -> bool:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
            return False
        self._head = b""
        self._status = int(data[9:12])
        body = len(data) - end - 4
        self._sample = data[end + 4 :][:_ERROR_SAMPLE_BYTES].decode("utf-8", "replace") if self._status >= 300 else ""
        length = _LENGTH.search(data, 0, end + 2)
        if length is None:
            self._chunked = True
            self._body_bytes = body
            self._tail = b""
            self._end_of_chunks(data)
        else:
            self._body_bytes = int(length[1])
            self._missing = self._body_bytes - body
        return True

    def _end_of_chunks(self, data: bytes) -> None:
        """The last chunk may come in pieces."""
        self._tail = (self._tail + data[-5:])[-5:]
        self._missing = 0 if self._tail == b"0\r\n\r\n" else -1


async def connect(port: int, answered: Callable[[Connection, Answer], None]) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(answered), "127.0.0.1", port)
    return connection


async def ask(port: int, request: bytes) -> Answer:
    """One request on a connection of its own."""
    waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answered(_: Connection, answer: Answer) -> None:
        if not waiting.done():
            waiting.set_result(answer)

    connection = await connect(port, answered)
    connection.send(request)
    try:
        return await waiting
    finally:
        connection.close()


class ClosedLoop:
    """N clients that each send the next request of one shared sequence as soon as their last one is answered.

    ``answers`` holds what was answered while ``recording``; the loop ends when ``stop`` is called or requests run out.
    """

    def __init__(self, port: int, clients: int, requests: Iterator[bytes]) -> None:
        self._port = port
        self._clients = clients
        self._requests = requests
        self._in_flight = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self.recording = False
        self.answers: list[Answer] = []

    async def run(self) -> None:
        """Open the connections, send, and return when every request that was sent is answered."""
        connections = [await connect(self._port, self._answered) for _ in range(self._clients)]
        for connection in connections:
            self._send_next(connection)
        if self._in_flight:
            await self._idle.wait()
        for connection in connections:
            connection.close()

    def stop(self) -> None:
        self._stopping = True

    def _answered(self, connection: Connection, answer: Answer) -> None:
        self._in_flight -= 1
        if self.recording:
            self.answers.append(answer)
        self._send_next(connection)

    def _send_next(self, connection: Connection) -> None:
        request = None if self._stopping or connection.closed else next(self._requests, None)
        if request is None:
            if not self._in_flight:
                self._idle.set()
            return
        self._in_flight += 1
        connection.send(request)
