"""Bare FastAPI routes to compare with: they read a body, answer with a given number of bytes, and may fsync what they read.

Run as ``python -m benchmarks.serving.bare PORT FILE`` under the same uvicorn settings as the server. ``durable`` writes and
fsyncs each request by itself, in a thread, so that it stays able to answer others meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import lru_cache
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response


@lru_cache(maxsize=64)
def _body(size: int) -> bytes:
    return b'"' + b"x" * max(0, size - 2) + b'"'


def _write_durably(descriptor: int, content: bytes) -> None:
    os.write(descriptor, content)
    os.fsync(descriptor)


def application(path: Path) -> FastAPI:
    """The routes; ``path`` is the file that ``durable`` appends to."""
    app = FastAPI(openapi_url=None)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    @app.get("/read/{size}")
    async def read(size: int) -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(_body(size), media_type="application/json")

    @app.post("/ask/{size}")
    async def ask(size: int, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        await request.body()
        return Response(_body(size), media_type="application/json")

    @app.post("/durable/{size}")
    async def durable(size: int, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        await asyncio.to_thread(_write_durably, descriptor, await request.body())
        return Response(_body(size), media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning"
    )
