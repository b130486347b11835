"""Failures as sentences for the model that called: what is wrong, and what to do. Never an empty answer, never internals."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from agent_memory_server.api.errors import BadBody
from agent_memory_server.domain.identity import OutsideReach
from agent_memory_server.errors import DependencyUnavailable, InvalidInput, MemoryServerError, TooManyRequests

PROBLEMS_SHOWN_MAX = 10
INTERNAL = "Internal error: the server could not do this. It has been logged."
INTERNAL_STATUS = 500
BAD_ARGUMENTS_STATUS = 422
SERVER_FAULT = 500

_log = structlog.stdlib.get_logger(__name__)


def sentence(error: Exception, tool: str) -> str:
    """What the tool's caller is told; failures of the server are logged as well."""
    if isinstance(error, BadBody):
        shown = [f"{_place(each['loc'])}{each['msg']}" for each in error.problems[:PROBLEMS_SHOWN_MAX]]
        return f"Invalid arguments: {'; '.join(shown)}"
    if isinstance(error, InvalidInput):
        return f"Invalid arguments: {_place(error.field)}{error.detail}"
    if isinstance(error, OutsideReach):
        return "Not found"
    if not isinstance(error, MemoryServerError):
        _log.error("tool failed unexpectedly", tool=tool, exc_info=error)
        return INTERNAL
    if error.status >= SERVER_FAULT:
        _log.error("tool failed", tool=tool, reason=error.detail, cause=repr(error.__cause__))
    if isinstance(error, DependencyUnavailable | TooManyRequests):
        return f"{error.title}: {error.detail}. Try again in {max(1, error.retry_after_s)} s."
    return f"{error.title}: {error.detail}"


def status_of(error: Exception) -> int:
    """What the same failure is answered with over REST."""
    if isinstance(error, MemoryServerError):
        return error.status
    return BAD_ARGUMENTS_STATUS if isinstance(error, BadBody) else INTERNAL_STATUS


def _place(location: Sequence[str | int]) -> str:
    """Where it is wrong, in the caller's words: ``memories.0.text: ``."""
    parts = [str(part) for part in location]
    if parts[:1] == ["body"]:
        parts = parts[1:]
    return f"{'.'.join(parts)}: " if parts else ""
