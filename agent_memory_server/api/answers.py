"""An answer as bytes, and the one place that turns Python values into JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Send

Headers = tuple[tuple[bytes, bytes], ...]

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


def encoded(value: Any) -> bytes:
    """JSON as the contract writes it: times as ISO-8601 with ``Z`` (a naive one is in UTC), microseconds if there are some."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)


def answer(value: Any, *, etag: str | None = None, headers: Headers = (), status: int = 200) -> Answer:
    """A JSON answer; ``etag`` comes with its quotes."""
    tagged: Headers = () if etag is None else ((b"etag", etag.encode("latin-1")),)
    return Answer(body=encoded(value), status=status, headers=(*NO_STORE, *tagged, *headers))
