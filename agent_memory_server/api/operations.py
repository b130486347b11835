"""How an endpoint is declared and called.

An ``Operation`` says everything about one endpoint: where it is, what it reads, what it answers, how it can fail. From it come
the dispatch and the OpenAPI document; ``routes/__init__.py`` lists them all. Handlers are plain functions of a ``Call``.

FastAPI's routes are not used for them: bodies must be parsed strictly and bounded, ids come from the raw path, answers are bytes
made once. Each of these would have to be undone there, and every request would pay for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel
from starlette.types import Receive, Scope

from agent_memory_server.api import bodies
from agent_memory_server.api.answers import Answer
from agent_memory_server.api.dependencies import Runtime, caller_of
from agent_memory_server.api.errors import BadBody
from agent_memory_server.api.paths import checked_id
from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import Permission, Principal
from agent_memory_server.errors import BadRequest, NotAuthenticated

Model = TypeVar("Model", bound=BaseModel)

QUERY_FIELDS_MAX = 2_000
_REPEATED = frozenset({"memory_ids"})
"""Query parameters that are lists; of any other the last value counts."""


class Call:
    """One request: its caller, its input as models, and the services."""

    __slots__ = ("_ids", "_receive", "_scope", "caller", "runtime")

    def __init__(
        self, scope: Scope, receive: Receive, runtime: Runtime, ids: Mapping[str, str], caller: Principal
    ) -> None:
        self._scope = scope
        self._ids = ids
        self._receive = receive
        self.runtime = runtime
        self.caller = caller

    @property
    def app(self) -> MemoryApp:
        return self.runtime.app

    @property
    def long_term(self) -> MemoryApp:
        """The services, where long-term memory is on. Raises BadRequest."""
        if not self.runtime.app.long_term_memory:
            raise BadRequest("Long-term memory is disabled")
        return self.runtime.app

    @property
    def is_head(self) -> bool:
        return self._scope["method"] == "HEAD"

    @property
    def receive(self) -> Receive:
        """For answers that go on: it tells when the client is gone."""
        return self._receive

    async def check_again(self, permission: Permission, *, action: str) -> None:
        """Whether the credential is still good, for answers that go on. Raises NotAuthenticated, NotPermitted."""
        if await caller_of(self._scope, self.runtime, permission, action=action) != self.caller:
            raise NotAuthenticated("the credential means something else by now")

    def path_id(self, name: str) -> str:
        """An id from the path, which may hold any character but NUL. Raises InvalidInput."""
        return checked_id(self._ids[name], name)

    def header(self, name: bytes) -> str | None:
        values = [value for key, value in self._scope["headers"] if key == name]
        return b", ".join(values).decode("latin-1") if values else None

    def query(self, model: type[Model]) -> Model:
        """The query parameters as the model; unknown ones are ignored. Raises BadBody."""
        raw: bytes = self._scope["query_string"]
        return bodies.validated(model, _query_values(raw) if raw else {}, "query")

    async def json(self) -> Any:
        """The body as a JSON value. Raises BadBody, BodyTooLarge, UnsupportedMediaType, ClientGone."""
        return bodies.parsed(await self._read())

    async def optional_json(self) -> Any:
        """The body as a JSON value, None for an empty one. Raises as ``json``."""
        body = await self._read()
        return bodies.parsed(body) if body.strip() else None

    async def _read(self) -> bytes:
        body = await bodies.read_body(self._receive, bytes_max=self.runtime.body_bytes_max)
        content_type = self.header(b"content-type")
        bodies.check_media_type(content_type.encode("latin-1") if content_type is not None and body else None)
        return body

    async def lines(self) -> bytes:
        """The body as lines of JSON (NDJSON), unread. Raises BodyTooLarge, UnsupportedMediaType, ClientGone."""
        body = await bodies.read_body(self._receive, bytes_max=self.runtime.body_bytes_max)
        bodies.check_lines_type((self.header(b"content-type") or "").encode("latin-1"))
        return body

    async def body(self, model: type[Model]) -> Model:
        """The body as the model."""
        return bodies.validated(model, await self.json(), "body")


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One endpoint. ``fails`` are statuses beyond those that every endpoint can answer (``openapi.EVERYWHERE``)."""

    method: str
    path: str
    handler: Handler
    answers: type[BaseModel]
    permission: Permission | None = Permission.ADMIN
    """What a credential must allow, when authentication is on; None: open to everybody. One that is left out is ADMIN, so that
    an endpoint never opens by being forgotten."""
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_is_optional: bool = False
    takes_lines: bool = False
    """The body is lines of JSON in place of one value."""
    fails: tuple[int, ...] = ()
    same_as: str | None = None
    """The other spelling of a collection's path, for the document: with and without a slash at the end mean the same."""
    reads_headers: tuple[str, ...] = ()
    returns_etag: bool = False
    media_type: str = "application/json"

    @property
    def name(self) -> str:
        return getattr(self.handler, "__name__", "operation")


def _query_values(raw: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError:
        problem = {"type": "query_invalid", "loc": ["query"], "msg": "the query is not UTF-8 or has too many fields"}
        raise BadBody([problem]) from None
    values: dict[str, Any] = {}
    for name, value in pairs:
        if "\0" in value:
            raise BadBody(
                [{"type": "nul_character", "loc": ["query", name], "msg": "must not contain the NUL character"}]
            )
        if name in _REPEATED:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    return values
