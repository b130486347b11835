"""Every error that leaves the server: ``application/problem+json`` (RFC 9457) that also carries the ``detail`` clients read.

``detail`` is a sentence, or for 422 the list of ``{type, loc, msg, input, ctx?}`` that FastAPI's clients know. Nothing of
the inside leaves: no stack, path, SQL or foreign id. What was unexpected is logged with its stack under the trace id that
the client gets as ``instance``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from agent_memory_server.api.answers import NO_STORE, PROBLEM_TYPE, Answer, Headers, encoded
from agent_memory_server.api.trace import Trace
from agent_memory_server.errors import (
    DependencyUnavailable,
    InvalidInput,
    MemoryServerError,
    NotAuthenticated,
    NotPermitted,
    TooLarge,
    TooManyRequests,
)

ERRORS_SHOWN_MAX = 50
INPUT_LENGTH_MAX = 200
_INTEGER_BITS_MAX = 63
_NO_OBJECT = {
    "type": "model_attributes_type",
    "msg": "Input should be a valid dictionary or object to extract fields from",
    "ctx": None,
}
"""What FastAPI's clients know for a value that should be an object; pydantic's own words name a class of ours."""

_log = structlog.stdlib.get_logger(__name__)


class UnsupportedMediaType(MemoryServerError):
    """The body is declared as something other than JSON in UTF-8."""

    status = 415
    title = "Unsupported media type"


class BodyTooLarge(TooLarge):
    """The body is larger than MAX_BODY_BYTES; the rest of it is not read."""


class BadBody(MemoryServerError):
    """A body, query or path that does not fit its description; ``problems`` is the list that ``detail`` shows."""

    status = 422
    title = "Invalid input"

    def __init__(self, problems: Sequence[dict[str, Any]]) -> None:
        super().__init__("invalid input")
        self.problems = list(problems)

    @classmethod
    def of(cls, error: ValidationError, *prefix: str | int) -> BadBody:
        """What pydantic found, with ``prefix`` before each location."""
        shown = error.errors(include_url=False)[:ERRORS_SHOWN_MAX]
        return cls([_shown({**each, "loc": (*prefix, *each["loc"])}) for each in shown])


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


def problem_answer(error: Exception, trace: Trace) -> Answer:
    """The answer for any exception; an unexpected one is logged and becomes a 500 without internals."""
    if isinstance(error, BadBody):
        return problem(error.status, error.title, error.problems, trace)
    if isinstance(error, InvalidInput):
        detail = [{"type": error.kind, "loc": list(error.field), "msg": error.detail, "input": None}]
        return problem(error.status, error.title, detail, trace)
    if isinstance(error, MemoryServerError):
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request failed", reason=error.detail, cause=repr(error.__cause__), status=error.status)
        return problem(error.status, error.title, error.detail, trace, headers=_headers_of(error))
    if isinstance(error, HTTPException):
        headers: Headers = tuple((k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items())
        return problem(error.status_code, _phrase(error.status_code), error.detail, trace, headers=headers)
    _log.error("request failed unexpectedly", exc_info=error)
    return problem(500, "Internal server error", "Internal server error", trace)


def problem(
    status: int, title: str, detail: str | list[dict[str, Any]], trace: Trace, *, headers: Headers = ()
) -> Answer:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": trace.urn}
    return Answer(body=encoded(body), status=status, headers=(*NO_STORE, *headers), media_type=PROBLEM_TYPE)


def _headers_of(error: MemoryServerError) -> Headers:
    if isinstance(error, DependencyUnavailable | TooManyRequests):
        return ((b"retry-after", b"%d" % max(1, error.retry_after_s)),)
    if isinstance(error, NotAuthenticated | NotPermitted) and error.challenge is not None:
        return ((b"www-authenticate", error.challenge.encode("latin-1")),)
    return ()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase.capitalize()


def _shown(error: dict[str, Any]) -> dict[str, Any]:
    """One pydantic error as JSON can hold it: of the input only a scalar is repeated, and never a long one."""
    if error["type"] == "model_type":
        error = {**error, **_NO_OBJECT}
    shown: dict[str, Any] = {"type": error["type"], "loc": [_brief(part) for part in error["loc"]], "msg": error["msg"]}
    shown["input"] = _brief(error["input"]) if _is_scalar(error.get("input")) else None
    context = error.get("ctx")
    if context:
        shown["ctx"] = {str(key): _brief(value) for key, value in context.items()}
    return shown


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _brief(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= INPUT_LENGTH_MAX else value[:INPUT_LENGTH_MAX] + "…"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _INTEGER_BITS_MAX else "an integer beyond 64 bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    text = str(value)
    return text if len(text) <= INPUT_LENGTH_MAX else text[:INPUT_LENGTH_MAX] + "…"
