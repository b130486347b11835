"""Working memory: a session, its messages and its structured memories that wait for promotion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. ``token_count`` is of ``"<role>: <content>"`` and computed once, when the message is written."""

    id: str
    role: str
    content: str
    created_at: datetime
    name: str | None = None
    persisted_at: datetime | None = None
    """When it was copied to long-term memory; a background mark, never the client's."""
    extracted: bool = False
    token_count: int = 0


class Summarization(StrEnum):
    NONE = "none"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How messages of a session become memories."""

    name: str = "discrete"
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDraft:
    """What a PUT replaces: everything but the archived messages, the summary state and the server's own marks."""

    scope: Scope
    """With ``session_id`` set."""
    messages: tuple[Message, ...] = ()
    memories: tuple[Memory, ...] = ()
    """As the client gave them: their scope is their own, without inheritance (that happens at promotion)."""
    data: Mapping[str, Any] | None = None
    context: str | None = None
    tokens: int = 0
    strategy: Strategy = field(default_factory=Strategy)
    ttl_seconds: int | None = None
    created_at: datetime | None = None
    """None keeps the stored one, or means now for a new session."""
    last_accessed: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A stored session as one view. ``messages`` are the live ones, in the order of arrival (or as the read limited them)."""

    scope: Scope
    messages: tuple[Message, ...]
    memories: tuple[Memory, ...]
    data: Mapping[str, Any] | None
    context: str | None
    tokens: int
    strategy: Strategy
    ttl_seconds: int | None
    created_at: datetime
    updated_at: datetime
    last_accessed: datetime
    epoch: str
    """One life of the session: a deleted session that is created again has another, so late background writes miss it."""
    revision: int
    message_count: int
    """All live messages, also those that a limited read left out."""
    archived_count: int = 0
    summarization: Summarization = Summarization.NONE

    @property
    def etag(self) -> str:
        return etag_of(self.epoch, self.revision)


def etag_of(epoch: str, revision: int) -> str:
    """The strong ETag of a session's content: the same on every view of it."""
    return f'"{epoch}.{revision}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPatch:
    """A partial change. ``fields`` names what the client sent: an absent one stays, a ``None`` clears."""

    fields: frozenset[str]
    data: Mapping[str, Any] | None = None
    """Merged into the stored data by RFC 7396."""
    context: str | None = None
    ttl_seconds: int | None = None
    strategy: Strategy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """The outcome of an append; ``total`` counts live and archived messages."""

    appended: int
    duplicates: int
    total: int
    etag: str
    live_tokens: int = 0
    """Tokens of all live messages afterwards."""
    summarization: Summarization = Summarization.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePage:
    """``next_cursor`` is the sequence to go on from, or None at the end."""

    messages: tuple[Message, ...]
    total: int
    next_cursor: str | None
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Messages that background work has not handled yet, oldest first, and those right before the first of them."""

    messages: tuple[Message, ...]
    before: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionListing:
    session_ids: tuple[str, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGuard:
    """A write that carries this does nothing when the session is gone or has begun another life."""

    scope: Scope
    epoch: str


def merge_patch(target: object, patch: object) -> object:
    """RFC 7396 JSON merge patch: objects merge by key, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged: dict[str, object] = dict(target) if isinstance(target, Mapping) else {}  # pyright: ignore[reportUnknownArgumentType]
    for key, value in patch.items():  # pyright: ignore[reportUnknownVariableType]
        if value is None:
            merged.pop(str(key), None)  # pyright: ignore[reportUnknownArgumentType]
        else:
            merged[str(key)] = merge_patch(merged.get(str(key)), value)  # pyright: ignore[reportUnknownArgumentType]
    return merged
