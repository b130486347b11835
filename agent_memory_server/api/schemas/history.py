"""Histories, operations and undo on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from agent_memory_server.api.schemas.memories import MemoryRecord, memory_wire
from agent_memory_server.api.schemas.values import Body
from agent_memory_server.api.schemas.working_memory import SessionScopeQuery
from agent_memory_server.domain.history import UndoConflict, UndoStep
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.sessions import Message
from agent_memory_server.ports.journal import JournalledOperation
from agent_memory_server.services.history import Event, History, Listed, OperationPage, Told
from agent_memory_server.services.undo import UndoReport
from agent_memory_server.services.webhooks import event_document

OperationKindName = Literal[
    "create", "edit", "delete", "merge", "compact", "forget", "promote", "extract", "enrich", "import", "undo"
]
EffectName = Literal["created", "updated", "unchanged", "duplicate", "superseded", "deleted", "absent", "spared"]
Cursor = Annotated[str, Field(max_length=64)]
UNDO_SHOWN_MAX = 1_000


class HistoryQuery(SessionScopeQuery):
    after: Cursor | None = Field(default=None, description="The ``next_cursor`` of the page before.")
    limit: Annotated[int, Field(ge=1, le=LIMITS.page_max)] = 100


class OperationsQuery(SessionScopeQuery):
    after: Cursor | None = Field(default=None, description="Only what comes behind this cursor.")
    limit: Annotated[int, Field(ge=1, le=LIMITS.page_max)] = 100
    order: Literal["asc", "desc"] = Field(default="asc", description="In commit order, or the newest first.")


class UndoQuery(Body):
    dry_run: bool = Field(default=False, description="Change nothing and answer with what would happen.")
    skip_conflicts: bool = Field(
        default=False,
        description="Leave what changed later, or was deleted for good, as it is, and take back the rest.",
    )


class OperationRecord(Body):
    """``details`` says why for programs: the policy, the group, the model and prompt version. It never holds memories' text."""

    id: str
    cursor: str = Field(description="The place behind this operation, for ``after``.")
    kind: OperationKindName
    actor: str = Field(description="Who: the subject of a credential, or the name of a task.")
    at: datetime
    reason: str
    details: dict[str, Any]
    run_id: str | None = Field(
        description="What all operations of one run have in common; they can be undone together."
    )
    counts: dict[EffectName, int] = Field(description="Memories by what happened to them, within the caller's reach.")


class OperationsResponse(Body):
    operations: list[OperationRecord]
    next_cursor: str | None


class ChangeRecord(Body):
    """One memory that an operation changed, with the owner that it has now."""

    memory_id: str
    namespace: str | None
    user_id: str | None
    effect: EffectName


class OperationResponse(OperationRecord):
    """``changes``: at most 1,000 of them."""

    changes: list[ChangeRecord]
    has_more: bool


class FieldDifference(Body):
    field: str
    before: Any
    after: Any


class RevisionRecord(Body):
    """One change of one memory. ``scrubbed``: its text was deleted for good, or is not kept any more."""

    operation_id: str
    run_id: str | None
    kind: OperationKindName
    actor: str
    at: datetime
    reason: str
    details: dict[str, Any]
    effect: EffectName
    scrubbed: bool
    imported: bool = Field(
        description="It happened in another store, as an import told: nothing of it can be undone here."
    )
    changes: list[FieldDifference]


class QuotedMessage(Body):
    id: str
    role: str
    name: str | None
    content: str
    created_at: datetime


class OriginRecord(Body):
    """Where it came from: the messages (as far as they are still there), and the memories that it was merged from."""

    messages: list[QuotedMessage]
    memories: list[MemoryRecord]


class OutcomeRecord(Body):
    """What came of it: what took its place, what stands for it now, and what is so since it ended (``valid_to``)."""

    superseded_by: MemoryRecord | None
    stands: MemoryRecord | None
    replaced_by: MemoryRecord | None


class HistoryResponse(Body):
    """``memory``: as it is now, null when it is gone. ``origin`` and ``outcome`` come with the first page alone."""

    memory_id: str
    namespace: str | None
    user_id: str | None
    memory: MemoryRecord | None
    revisions: list[RevisionRecord]
    next_cursor: str | None
    origin: OriginRecord | None
    outcome: OutcomeRecord | None


class UndoStepRecord(Body):
    """``revert``: it gets its earlier state back; ``bring_back``: it was gone; ``remove``: it was not there before."""

    memory_id: str
    namespace: str | None
    user_id: str | None
    action: Literal["revert", "bring_back", "remove"]


class UndoConflictRecord(Body):
    memory_id: str
    namespace: str | None
    user_id: str | None
    reason: str
    operation_id: str | None = Field(description="What came later.")


class UndoResponse(Body):
    """What was done, or on a dry run would be done. ``steps`` and ``conflicts``: at most 1,000 of each."""

    undoes: str
    dry_run: bool
    possible: bool = Field(description="False when something stands against it: see ``conflicts``.")
    operation_ids: list[str] = Field(description="The operations that the undo made. It can be undone itself.")
    run_id: str | None = Field(description="What to undo to take it back as a whole, when it made several operations.")
    counts: dict[str, int] = Field(description="Memories by action.")
    steps: list[UndoStepRecord]
    conflicts: list[UndoConflictRecord]
    undone_before: int = Field(description="Memories that an earlier undo has put back already.")
    notices: list[str]


def operation_wire(listed: Listed) -> dict[str, Any]:
    """The fields of OperationRecord."""
    return _operation_wire(listed.operation) | {"id": listed.operation.id, "cursor": listed.cursor}


def _operation_wire(operation: JournalledOperation) -> dict[str, Any]:
    return {
        "kind": operation.kind.value,
        "actor": operation.actor,
        "at": operation.at,
        "reason": operation.reason,
        "details": operation.details,
        "run_id": operation.run,
        "counts": operation.counts,
    }


def operations_wire(page: OperationPage) -> dict[str, Any]:
    """The fields of OperationsResponse."""
    return {"operations": [operation_wire(each) for each in page.operations], "next_cursor": page.next_cursor}


def told_wire(told: Told) -> dict[str, Any]:
    """The fields of OperationResponse."""
    return event_document(told)


def history_wire(history: History) -> dict[str, Any]:
    """The fields of HistoryResponse."""
    origin, outcome, key = history.origin, history.outcome, history.key
    return {
        "memory_id": key.id,
        "namespace": key.namespace,
        "user_id": key.user_id,
        "memory": None if history.memory is None else memory_wire(history.memory),
        "revisions": [_revision_wire(event) for event in history.events],
        "next_cursor": history.next_cursor,
        "origin": origin
        and {
            "messages": [_message_wire(each) for each in origin.messages],
            "memories": [memory_wire(each) for each in origin.memories],
        },
        "outcome": outcome
        and {
            name: None if memory is None else memory_wire(memory)
            for name, memory in (
                ("superseded_by", outcome.superseded_by),
                ("stands", outcome.stands),
                ("replaced_by", outcome.replaced_by),
            )
        },
    }


def _revision_wire(event: Event) -> dict[str, Any]:
    revision = event.revision
    wire = _operation_wire(revision.operation)
    del wire["counts"]
    return wire | {
        "operation_id": revision.operation.id,
        "effect": revision.effect.value,
        "scrubbed": revision.scrubbed,
        "imported": revision.imported,
        "changes": [{"field": each.name, "before": each.before, "after": each.after} for each in event.changes],
    }


def _message_wire(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "role": message.role,
        "name": message.name,
        "content": message.content,
        "created_at": message.created_at,
    }


def undo_wire(report: UndoReport, *, dry_run: bool) -> dict[str, Any]:
    """The fields of UndoResponse."""
    return {
        "undoes": report.undoes,
        "dry_run": dry_run,
        "possible": not report.conflicts,
        "operation_ids": report.operation_ids,
        "run_id": report.run,
        "counts": dict(report.counts),
        "steps": [_step_wire(each) for each in report.steps[:UNDO_SHOWN_MAX]],
        "conflicts": [_conflict_wire(each) for each in report.conflicts[:UNDO_SHOWN_MAX]],
        "undone_before": report.undone_before,
        "notices": report.notices,
    }


def _step_wire(step: UndoStep) -> dict[str, Any]:
    key = step.key
    return {
        "memory_id": key.id,
        "namespace": key.namespace,
        "user_id": key.user_id,
        "action": step.action.value,
    }


def _conflict_wire(conflict: UndoConflict) -> dict[str, Any]:
    key = conflict.key
    return {
        "memory_id": key.id,
        "namespace": key.namespace,
        "user_id": key.user_id,
        "reason": conflict.reason,
        "operation_id": conflict.operation_id,
    }
