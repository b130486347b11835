"""The paths of the MCP server: ``/mcp``, ``/sse``, ``/messages/``, each also below a namespace, and the metadata of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

WELL_KNOWN = (".well-known", "oauth-protected-resource")


class Kind(StrEnum):
    MCP = "mcp"
    SSE = "sse"
    MESSAGES = "messages"
    METADATA = "metadata"


_NAMED = {kind.value: kind for kind in (Kind.MCP, Kind.SSE, Kind.MESSAGES)}
METHODS = {Kind.MCP: "POST", Kind.SSE: "GET", Kind.MESSAGES: "POST", Kind.METADATA: "GET"}


@dataclass(frozen=True, slots=True)
class Place:
    """``namespace``: the one that stands in the URL. ``of``: for metadata, the path of the resource that it is about."""

    kind: Kind
    namespace: str | None = None
    of: Sequence[str] = ()


def place_of(segments: Sequence[str]) -> Place | None:
    """What the decoded segments of a path mean, or None when it is none of ours."""
    if tuple(segments[:2]) == WELL_KNOWN:
        of = segments[2:]
        return Place(Kind.METADATA, of=of) if not of or place_of(of) is not None else None
    if len(segments) not in (1, 2):
        return None
    kind = _NAMED.get(segments[-1])
    namespace = segments[0] if len(segments) == 2 else None
    if kind is None or namespace == "":
        return None
    return Place(kind, namespace)
