"""What a compaction is allowed to do, what it did, and what it would do."""

from __future__ import annotations

from dataclasses import dataclass

from agent_memory_server.domain.duplicate_thresholds import DuplicateThresholds
from agent_memory_server.domain.records import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionPolicy:
    """``by_meaning`` is COMPACT_SEMANTIC_DUPLICATES; the thresholds belong to the embedding model."""

    by_meaning: bool
    thresholds: DuplicateThresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What a run did. ``remaining`` counts the live memories of the selection afterwards."""

    compared: int = 0
    """Memories that were looked at: what changed since the last run."""
    groups: int = 0
    """Groups of exact duplicates."""
    superseded: int = 0
    """Memories that stepped back, behind an exact duplicate or a merged memory."""
    merged: int = 0
    """New memories that stand for several."""
    near_duplicates: int = 0
    """Groups that may be the same and were left: there is no language model, it did not answer yet, or time was up."""
    unusable: int = 0
    """Groups about which a model's answer could not be used; they are asked about again."""
    remaining: int = 0
    unfinished: str | None = None
    """Why something is still to be done; None when nothing is."""
    run: str | None = None
    """What to undo to take everything back; None when nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGroup:
    """What a run would do with some memories. ``survivor`` None: a model decides, and says it in ``text``."""

    kind: str
    memories: tuple[Memory, ...]
    survivor: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionPlan:
    """``groups`` are at most LIMITS.plan_groups_max of ``total``."""

    groups: tuple[PlannedGroup, ...]
    total: int
    remaining: int
