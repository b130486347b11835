"""What deduplication and compaction ask of a store: what changed, who says the same, and who lies near.

A memory is *due* from the commit that makes or changes it until it was compared. So a run looks at what changed and at nothing
else, goes on where a crash cut it off, and costs nothing when nothing changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import Handle


class Stage(IntEnum):
    """How far the comparing of a memory has come. The value is stored: never change one."""

    NEW = 0
    """Written with ``deduplicate``: to be compared at once, at the threshold for writes."""
    CHANGED = 1
    """To be compared by the next compaction."""
    UNDECIDED = 2
    """Compared as far as it goes without a language model: it has near duplicates, or was never compared by meaning."""
    REFUSED = 3
    """A model's answers about it could not be used several times: looked at again when somebody asks, or when it changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A memory that is due. ``stamp`` names the change: it differs after the next one."""

    handle: Handle
    owner: Scope
    stage: Stage
    attempts: int
    """How often a model's answer about it could not be used since it changed."""
    stamp: int | str


class ComparisonStore(Protocol):
    async def tenants_due(self, *, stage_max: Stage) -> Sequence[str]:
        """Tenants with memories that are due, up to this stage."""
        ...

    async def due(
        self, selector: ScopeSelector, /, *, stage_max: Stage, limit: int, after: Due | None = None
    ) -> Sequence[Due]:
        """Due memories by owner scope, then handle; ``after`` goes on behind the last one of the page before.

        Deleted and superseded ones are not due. Copies of a session's messages never are: a conversation repeats itself.
        """
        ...

    async def compared(self, due: Sequence[Due], /, *, stage: Stage | None, failed: bool = False) -> int:
        """Note these as compared: at this stage from now on, or (None) not due any more. ``failed`` counts an attempt.

        One that changed meanwhile stays as due as it is. Returns how many were noted.
        """
        ...

    async def copies(self, due: Sequence[Due], /, *, now: datetime) -> Sequence[Sequence[Memory]]:
        """Groups of two or more live memories with equal owner and ``memory_hash``, of which at least one is among these."""
        ...

    async def near(
        self, handles: Sequence[Handle], /, *, model: str, now: datetime, distance_max: float, limit: int
    ) -> Mapping[Handle, Mapping[Handle, float]]:
        """For each of these memories the nearest comparable ones by cosine distance of stored vectors of ``model``.

        Comparable are two memories of exactly the same owner (none is an owner of its own) and the same type, both live,
        unexpired and not pinned; messages and thread summaries never are. Those without a vector, and those that are not
        comparable with anything, are missing. At most ``limit`` each, within ``distance_max``; nothing is embedded.
        """
        ...
