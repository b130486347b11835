"""Conditional writes: ``If-Match`` and ``If-None-Match`` (RFC 9110)."""

from __future__ import annotations

import re

from agent_memory_server.api.operations import Call
from agent_memory_server.errors import BadRequest
from agent_memory_server.services.working_memory import UNCONDITIONAL, Precondition

_ETAGS = re.compile(r'\s*(?:W/)?"[^"]*"\s*(?:,\s*(?:W/)?"[^"]*"\s*)*')
_ETAG = re.compile(r'(?:W/)?"[^"]*"')


def precondition_of(call: Call) -> Precondition:
    """The request's condition. Raises BadRequest for what is none; a weak ETag never matches a strong one."""
    if_match, if_none_match = call.header(b"if-match"), call.header(b"if-none-match")
    if if_match is None and if_none_match is None:
        return UNCONDITIONAL
    if if_none_match is not None and if_none_match.strip() != "*":
        raise BadRequest("If-None-Match of a write can only be *: the record must not exist yet")
    return Precondition(
        if_match=None if if_match is None else _etags(if_match), if_none_match=if_none_match is not None
    )


def _etags(header: str) -> tuple[str, ...]:
    if header.strip() == "*":
        return ("*",)
    if not _ETAGS.fullmatch(header):
        raise BadRequest('If-Match must be * or a list of ETags in double quotes, as in "abc"')
    return tuple(_ETAG.findall(header))
