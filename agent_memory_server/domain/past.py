"""What a memory's past looks like where another store tells of it: revisions that an import brought.

They say what happened elsewhere. This store did none of it: no operation of its own has their ids, and none can be undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import EmbeddingStatus, Memory

IMPORTED = "imported:"
"""Stands before the ids of operations that an import brought, wherever this server shows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRevision:
    """One change of one memory in the store where it happened, with the operation that it was part of.

    ``before`` is None for absent, and for text that is not kept (``scrubbed``). What came of a change is what the next one
    began with, and of the last one the memory as it was brought.
    """

    operation_id: str
    kind: OperationKind
    actor: str
    at: datetime
    reason: str
    effect: Effect
    before: Memory | None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    run: str | None = None
    scrubbed: bool = False
    before_is_copy: bool = False


def stated(memory: Memory) -> Memory:
    """The state of a memory as its past tells it: without the marks that reading, background work and a store leave."""
    return replace(
        memory,
        last_accessed=memory.updated_at,
        access_count=0,
        memory_hash="",
        persisted_at=None,
        extracted=True,
        embedding=EmbeddingStatus.PENDING,
        revision=0,
        operation_id="",
    )
