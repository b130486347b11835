"""Pending work as the store remembers it (the outbox), and what a caller may see of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class IntentKind(StrEnum):
    """What can be pending. The value is stored: never rename one."""

    PROMOTE_WORKING_MEMORY = "promote_working_memory_to_long_term"
    """payload: session_id (scope in the intent's own columns), epoch."""
    EMBED_MEMORIES = "embed_memories"
    """payload: ids of one owner scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedIntent:
    """An intent that this process works on until ``claimed_until``; after that another may take it."""

    id: int
    kind: str
    key: str
    tenant: str
    namespace: str | None
    user_id: str | None
    payload: Mapping[str, Any]
    attempts: int
    """Failed attempts so far."""
    generation: int
    """Completing an intent that was asked for again meanwhile (a newer generation) leaves it pending."""
    created_at: datetime
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWork:
    """``pending`` counts what is still to be done, ``dead`` what failed for good and can be replayed."""

    pending: int
    oldest_age_s: float
    dead: int
