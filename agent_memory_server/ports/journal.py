"""Reading the journal that every commit leaves: who, when, which operation, why, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalledOperation:
    """``sequence`` ascends with commit order within a store."""

    sequence: int
    id: str
    tenant: str
    kind: OperationKind
    actor: str
    at: datetime
    reason: str
    counts: Mapping[str, int]
    """Changes by effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One change of one memory. ``before``/``after`` are None for absent, and for text that was scrubbed (``scrubbed``)."""

    operation: JournalledOperation
    key: MemoryKey
    effect: Effect
    before: Memory | None
    after: Memory | None
    scrubbed: bool = False


class Journal(Protocol):
    async def operations(
        self, selector: ScopeSelector, /, *, after: int = 0, limit: int = 100
    ) -> Sequence[JournalledOperation]:
        """Operations that touched the selector's scopes, in commit order, with counts of those scopes alone."""
        ...

    async def history(self, key: MemoryKey, /) -> Sequence[Revision]:
        """Every revision of one memory, oldest first; a scrubbed one is a tombstone without text."""
        ...
