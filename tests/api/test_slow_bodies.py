"""A client that sends its head or body too slowly is answered, and holds nothing."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from agent_memory_server.api.bodies import read_body
from agent_memory_server.api.http_protocol import HttpProtocol
from agent_memory_server.errors import RequestTimeout


async def test_a_body_that_does_not_end_in_time_is_refused() -> None:
    """408 with a sentence, whether nothing came at all or the rest stays away."""
    never = asyncio.Event()
    parts: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        if parts:
            return parts.pop()
        await never.wait()
        raise AssertionError("unreachable")

    for _ in range(2):
        with pytest.raises(RequestTimeout, match=r"within 0\.01 seconds"):
            await read_body(receive, bytes_max=100, seconds_max=0.01)


async def test_a_body_in_several_parts_is_joined() -> None:
    """Parts in time are one body."""
    parts: list[Message] = [
        {"type": "http.request", "body": b"1}", "more_body": False},
        {"type": "http.request", "body": b'{"a":', "more_body": True},
    ]

    async def receive() -> Message:
        return parts.pop()

    assert await read_body(receive, bytes_max=100) == b'{"a":1}'


class _Impatient(HttpProtocol):
    head_seconds_max = 0.1


async def _answering(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_a_head_that_does_not_end_in_time_is_refused() -> None:
    """408 and the end of the connection, also behind a request that was whole; without a word where nothing was said."""
    config = uvicorn.Config(_answering, log_config=None)
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Impatient(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
    )
    whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with server:
        for sent, answers in ((b"", []), (whole[:20], [408]), (whole + whole[:20], [204, 408])):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(sent)
            answered = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert [int(each[:3]) for each in answered.split(b"HTTP/1.1 ")[1:]] == answers
            assert (b"did not come within 0.1 seconds" in answered) is bool(answers)
