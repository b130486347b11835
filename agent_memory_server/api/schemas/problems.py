"""Errors on the wire (RFC 9457, with the ``detail`` that published clients read)."""

from __future__ import annotations

from typing import Any

from agent_memory_server.api.schemas.values import Body


class ValidationProblem(Body):
    """One value that cannot be accepted; ``loc`` is its path, ``input`` is null for what is neither text nor a number."""

    loc: list[str | int]
    msg: str
    type: str
    input: Any = None
    ctx: dict[str, Any] | None = None


class Problem(Body):
    """``instance`` names the request's trace, as the X-Request-ID header does."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


class InputProblem(Body):
    """Like Problem; ``detail`` lists the values that cannot be accepted."""

    type: str
    title: str
    status: int
    detail: list[ValidationProblem]
    instance: str
