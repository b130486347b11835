"""A client that sends its body too slowly is answered, and holds nothing."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from agent_memory_server.api.bodies import read_body
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
