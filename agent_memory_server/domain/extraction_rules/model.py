"""What the rules hand back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent_memory_server.domain.records import MemoryType


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleMemory:
    """One statement as one short sentence. ``rule`` and ``confidence`` (0..1) are for the stored record's metadata."""

    text: str
    memory_type: MemoryType
    """Episodic when the statement says when; semantic otherwise."""
    topics: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    event_date: datetime | None = None
    """The first moment (UTC) of the day, week, month or year that the statement names; None when it names none."""
    message_ids: tuple[str, ...] = ()
    rule: str = ""
    confidence: float = 0.8
