"""A fake server of models on loopback, for the real vendor SDKs to talk to: embeddings, chat, and faults on demand.

    async with ModelServer() as server:
        embedder = await open_embedder("any-model", openai_api_base=server.base_url)
        server.fail_next(RATE_LIMITED, times=2)
        server.chat.say({"memories": []}, chat_answers.REFUSAL)

It is a plain HTTP/1.1 server on asyncio, reachable from other processes while its loop runs. An endpoint is one function
from a request to an answer. A fault replaces an answer, or spoils a right one; ``chat_answers`` has what models say wrongly.
Embeddings and chat in OpenAI's shape are at ``base_url``, Anthropic's messages and Bedrock's converse at ``root_url``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import unquote

import numpy as np

from agent_memory_server.testing.chat_answers import Body, ChatScript
from agent_memory_server.testing.embedder import HashEmbedder

_CONVERSE = re.compile(r"/model/([^/]+)/converse")
_BODY_BYTES_MAX = 64 * 1024 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one answer. ``spoil`` changes the right body; ``hangs`` never answers; ``resets`` cuts the line."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    raw_body: bytes | None = None
    spoil: Callable[[Body], Body] | None = None
    delay_s: float = 0.0
    hangs: bool = False
    resets: bool = False


def _each_vector(change: Callable[[list[float]], list[float]]) -> Callable[[Body], Body]:
    def spoil(body: Body) -> Body:
        items = [{**item, "embedding": _encoded(change(_decoded(item["embedding"])))} for item in body["data"]]
        return {**body, "data": items}

    return spoil


SERVER_ERROR = Fault(status=500)
UNAUTHORIZED = Fault(status=401)
UNKNOWN_MODEL = Fault(status=404)
RATE_LIMITED = Fault(status=429, headers={"retry-after": "0"})
TOO_LONG = Fault(status=400, raw_body=b'{"error": {"message": "This model\'s maximum context length is 8192 tokens"}}')
NEVER_ANSWERS = Fault(hangs=True)
RESET = Fault(resets=True)
NOT_JSON = Fault(raw_body=b"<html>gateway</html>")
NO_DATA = Fault(spoil=lambda body: {**body, "data": []})
TOO_FEW = Fault(spoil=lambda body: {**body, "data": body["data"][:-1]})
WRONG_DIMENSIONS = Fault(spoil=_each_vector(lambda vector: vector[:-1]))
NOT_A_NUMBER = Fault(spoil=_each_vector(lambda vector: [float("nan"), *vector[1:]]))


def slow(delay_s: float) -> Fault:
    """A right answer, late."""
    return Fault(delay_s=delay_s)


def rate_limited(retry_after_s: int) -> Fault:
    return Fault(status=429, headers={"retry-after": str(retry_after_s)})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Body


class ModelServer:
    """Answers while its ``async with`` block runs. ``requests`` holds all that arrived, failed ones too."""

    def __init__(self, *, dimensions: int = 64) -> None:
        self.requests: list[RecordedRequest] = []
        self.chat = ChatScript()
        self._embedder = HashEmbedder(dimensions=dimensions)
        self._next_faults: deque[Fault] = deque()
        self._lasting_fault: Fault | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._endpoints: Mapping[str, Callable[[Body], tuple[int, Body]]] = {
            "/v1/embeddings": lambda body: (200, self._embeddings(body)),
            "/v1/chat/completions": self.chat.openai,
            "/v1/messages": self.chat.anthropic,
        }

    @property
    def base_url(self) -> str:
        """What to set OPENAI_API_BASE to."""
        return f"{self.root_url}/v1"

    @property
    def root_url(self) -> str:
        """What to set ANTHROPIC_API_BASE to."""
        if self._server is None:
            raise RuntimeError("the model server is not running: use it in an async with block")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def fail_next(self, fault: Fault, *, times: int = 1) -> None:
        """The next answers go wrong; then it goes on as before."""
        self._next_faults.extend([fault] * times)

    def fail(self, fault: Fault) -> None:
        """Every answer goes wrong until ``recover()``."""
        self._lasting_fault = fault

    def recover(self) -> None:
        self._lasting_fault = None
        self._next_faults.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                fault = self._next_faults.popleft() if self._next_faults else self._lasting_fault
                if not await self._answer(request, fault or Fault(), writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, request: RecordedRequest, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        """False when the connection is over."""
        if fault.hangs:
            await asyncio.Event().wait()
        if fault.resets:
            writer.transport.abort()
            return False
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        status, body = self._right_answer(request)
        if fault.status is not None:
            status, body = fault.status, {"error": {"message": "scripted fault", "type": "fault"}}
        elif fault.spoil is not None and status == 200:
            body = fault.spoil(body)
        raw = fault.raw_body if fault.raw_body is not None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "content-length": str(len(raw)), **fault.headers}
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(head.encode("latin-1") + b"\r\n" + raw)
        await writer.drain()
        return True

    def _right_answer(self, request: RecordedRequest) -> tuple[int, Body]:
        endpoint = self._endpoints.get(request.path) if request.method == "POST" else None
        converse = _CONVERSE.fullmatch(request.path)
        if converse is not None:
            return self.chat.bedrock(unquote(converse[1]), request.body)
        if endpoint is None:
            return 404, {"error": {"message": f"no endpoint {request.method} {request.path}"}}
        return endpoint(request.body)

    def _embeddings(self, body: Body) -> Body:
        asked = body.get("input", [])
        texts = [asked] if isinstance(asked, str) else cast(list[str], asked)
        vectors: list[list[float]] = []
        for text in texts:
            vector = self._embedder.embed_one(text)
            vectors.append([0.0] * self._embedder.dimensions if vector is None else [float(x) for x in vector])
        as_base64 = body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(vector) if as_base64 else vector}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": sum(map(len, texts)) // 4, "total_tokens": sum(map(len, texts)) // 4}
        return {"object": "list", "model": body.get("model"), "data": data, "usage": usage}


async def _read_request(reader: asyncio.StreamReader) -> RecordedRequest | None:
    """None when the peer closed the connection between requests."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if length > _BODY_BYTES_MAX:
        raise ConnectionError("body too large")
    raw = await reader.readexactly(length)
    body: Any = json.loads(raw) if raw else {}
    return RecordedRequest(method=method, path=path.partition("?")[0], headers=headers, body=cast(Body, body))


def _encoded(vector: list[float]) -> str:
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


def _decoded(vector: str | list[float]) -> list[float]:
    if isinstance(vector, str):
        return [float(x) for x in np.frombuffer(base64.b64decode(vector), dtype="<f4")]
    return vector
