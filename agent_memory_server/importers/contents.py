"""What a file from elsewhere holds, in this server's words: statements, and conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_memory_server.importers.conversations import FileSession


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFact:
    """One statement. ``user_id`` and ``namespace``: as the file has them; who imports may name others."""

    id: str
    text: str
    user_id: str | None = None
    namespace: str | None = None
    session_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    event_date: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    topics: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    name: str | None = None
    is_episode: bool = False
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Everything that a file holds. ``left_out`` counts items without anything to keep."""

    facts: Sequence[FileFact] = ()
    sessions: Sequence[FileSession] = ()
    left_out: int = 0
