"""What is told of a memory's past: which fields a change touched, and what an undo would do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent_memory_server.domain.operations import OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey

UNDOES = "undoes"
"""Key of an undo's details: the id (of an operation or a run) that it takes back."""
GROUP = "group"
"""Key of a merge's and a compaction's details: the ids of the memories that were looked at together."""
GROUP_NAMED_MAX = 100
"""Of a group, so many are named; its operation counts them all."""
REPLACED_BY = "replaced_by"
"""Key of an edit's details: old id → id of the memory that says what is so since."""

NEVER_UNDONE = frozenset({OperationKind.DELETE})
"""Explicit deletion is final: it leaves no text to bring back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field before and after; ``name`` as it stands on the wire."""

    name: str
    before: Any
    after: Any


def fields_of(memory: Memory) -> Mapping[str, Any]:
    """What a diff compares: everything that somebody wrote or decided, by the names of the wire; no counters and marks."""
    return {
        "text": memory.text,
        "memory_type": memory.memory_type.value,
        "topics": list(memory.topics),
        "entities": list(memory.entities),
        "name": memory.name,
        "namespace": memory.scope.namespace,
        "user_id": memory.scope.user_id,
        "session_id": memory.scope.session_id,
        "pinned": memory.pinned,
        "event_date": memory.event_date,
        "valid_from": memory.valid_from,
        "valid_to": memory.valid_to,
        "expires_at": memory.expires_at,
        "created_at": memory.created_at,
        "metadata": dict(memory.metadata),
        "source": memory.source.value,
        "trust": memory.trust,
        "extraction_strategy": memory.extraction_strategy,
        "extracted_from": None if memory.extracted_from is None else list(memory.extracted_from),
        "derived_from": list(memory.derived_from),
        "superseded_by": memory.superseded_by,
    }


def differences(before: Memory | None, after: Memory | None) -> tuple[FieldChange, ...]:
    """The fields that differ; of a memory that came or went those that hold anything."""
    nothing: Mapping[str, Any] = {}
    old = nothing if before is None else fields_of(before)
    new = nothing if after is None else fields_of(after)
    names = old or new
    return tuple(
        FieldChange(name=name, before=old.get(name), after=new.get(name))
        for name in names
        if (old.get(name) or None) != (new.get(name) or None)
    )


class UndoAction(StrEnum):
    """What an undo does to one memory."""

    REVERT = "revert"
    """It gets its earlier state back."""
    BRING_BACK = "bring_back"
    """It was gone, and is there again."""
    REMOVE = "remove"
    """It was not there before, and goes; undoing the undo brings it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoStep:
    key: MemoryKey
    """Where the memory is now, or was last."""
    action: UndoAction
    memory: Memory | None
    """The state that it gets; None when it goes."""
    is_copy: bool
    """Whether that state is a copy's."""
    if_operation: str
    """The operation that made the present state: another one means that something came in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoConflict:
    """Why a memory cannot get its earlier state back. ``operation_id``: what came later, where that is the reason."""

    key: MemoryKey
    reason: str
    operation_id: str | None = None
