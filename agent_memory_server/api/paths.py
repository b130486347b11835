"""Ids in paths: routes work on the raw path, so that an id may hold any character and ``%2F`` belongs to its segment.

The server's ``path`` has lost the difference between a slash that separates and one that was percent-encoded. So the raw path
is split first, each segment is decoded, and a routable path is made of them in which ``%`` and ``/`` inside a segment are
escaped again (``%25``, ``%2F``). ``unescaped`` undoes that for one path parameter.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.errors import BadRequest, InvalidInput

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_COLLECTION_SEGMENTS = 2
"""``/v1/working-memory``: what such a path means with a slash at its end is said by its route."""


def routable_path(scope: Scope) -> str:
    """The path to route by. Raises BadRequest for a broken percent escape or bytes that are not UTF-8."""
    raw = scope.get("raw_path")
    text = raw.decode("latin-1") if raw else quote(scope["path"])
    if "%" not in text and text.isascii():
        return _without_last_slash(text)
    return _without_last_slash("/".join(_escaped(_decoded(segment)) for segment in text.split("/")))


def unescaped(segment: str) -> str:
    """The id that a path parameter of a routable path stands for."""
    return segment.replace("%2F", "/").replace("%25", "%") if "%" in segment else segment


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


def _escaped(segment: str) -> str:
    return segment.replace("%", "%25").replace("/", "%2F")


def _without_last_slash(path: str) -> str:
    """By-id paths mean the same with a slash at the end: an id's own slash would have been encoded."""
    if path.endswith("/") and path.count("/") > _COLLECTION_SEGMENTS + 1:
        return path[:-1]
    return path
