"""An answer as bytes, and the one place that turns Python values into JSON."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from starlette.types import Send

Headers = tuple[tuple[bytes, bytes], ...]
Item = TypeVar("Item")

ENCODED_AT_ONCE = 500
"""Items of a long list between two chances for other requests."""

JSON_TYPE = b"application/json"
PROBLEM_TYPE = b"application/problem+json"
NO_STORE: Headers = ((b"cache-control", b"no-store"),)
"""Memories are private data: neither browsers nor proxies keep them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete HTTP answer. ``headers`` come on top of content type and length."""

    body: bytes
    status: int = 200
    headers: Headers = NO_STORE
    media_type: bytes = JSON_TYPE

    async def send(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": [
                    (b"content-type", self.media_type),
                    (b"content-length", b"%d" % len(self.body)),
                    *self.headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": self.body})


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedAnswer(Answer):
    """An answer in pieces, for what may be large: sent as they come. ``media_type`` is of the whole.

    A failure after the first piece can only end the connection; whoever reads sees an answer that was cut.
    """

    pieces: AsyncGenerator[bytes]
    body: bytes = b""

    async def send(self, send: Send) -> None:
        async with contextlib.aclosing(self.pieces) as pieces:
            # The first piece is made before anything is sent, so that what fails at once is answered as any failure.
            first = await anext(pieces, b"")
            start = {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", self.media_type), *self.headers],
            }
            await send(start)
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def encoded(value: Any) -> bytes:
    """JSON as the contract writes it: times as ISO-8601 with ``Z`` (a naive one is in UTC), microseconds if there are some."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)


async def encoded_in_pieces(
    name: str, items: Sequence[Item], wire: Callable[[Item], Any], rest: Mapping[str, Any]
) -> bytes:
    """What ``encoded`` makes of an object whose first member is the list of the items, and whose others are ``rest`` (one at
    least). Other requests are served in between: ten thousand messages at once would hold them up for a tenth of a second."""
    pieces: list[bytes] = []
    for start in range(0, len(items), ENCODED_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        pieces.append(encoded([wire(item) for item in items[start : start + ENCODED_AT_ONCE]])[1:-1])
    return b"".join((b"{", encoded(name), b":[", b",".join(pieces), b"],", encoded(rest)[1:]))


def encoded_lines(values: Iterable[Any]) -> bytes:
    """JSON values on lines of their own (NDJSON)."""
    options = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_APPEND_NEWLINE
    return b"".join([orjson.dumps(value, option=options) for value in values])


def answer(value: Any, *, etag: str | None = None, headers: Headers = (), status: int = 200) -> Answer:
    """A JSON answer; ``etag`` comes with its quotes."""
    return answer_of(encoded(value), etag=etag, headers=headers, status=status)


def answer_of(body: bytes, *, etag: str | None = None, headers: Headers = (), status: int = 200) -> Answer:
    """As ``answer``, of JSON that is there already."""
    tagged: Headers = () if etag is None else ((b"etag", etag.encode("latin-1")),)
    return Answer(body=body, status=status, headers=(*NO_STORE, *tagged, *headers))
