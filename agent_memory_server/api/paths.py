"""Ids in paths: routes work on the raw path, so that an id may hold any character and ``%2F`` belongs to its segment.

The server's ``path`` has lost the difference between a slash that separates and one that was percent-encoded. So the raw path
is split first, and each segment is decoded by itself. One slash at the end means nothing: an id's own would be encoded.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.errors import BadRequest, InvalidInput

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def segments_of(scope: Scope) -> list[str]:
    """The decoded segments of the path. Raises BadRequest for a broken percent escape or bytes that are not UTF-8."""
    raw: bytes | None = scope.get("raw_path")
    text = raw.decode("latin-1") if raw else quote(scope["path"])
    segments = text.split("/")[1:]
    if len(segments) > 1 and not segments[-1]:
        segments.pop()
    if "%" not in text and text.isascii():
        return segments
    return [_decoded(segment) for segment in segments]


def checked_id(value: str, name: str) -> str:
    """An id that was named in a path. Raises InvalidInput when no record can have it."""
    if len(value) > LIMITS.id_length_max:
        raise InvalidInput(
            f"String should have at most {LIMITS.id_length_max} characters",
            field=("path", name),
            kind="string_too_long",
        )
    if "\0" in value:
        raise InvalidInput("must not contain the NUL character", field=("path", name), kind="nul_character")
    return value


def _decoded(segment: str) -> str:
    if _BAD_ESCAPE.search(segment):
        raise BadRequest("the path holds a % that is not followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8") from None
