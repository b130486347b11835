"""How every engine keeps the revisions that an import brought: a JSON document each, told apart from the store's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent_memory_server.domain.operations import Effect, Operation, OperationKind, Outcome, Put
from agent_memory_server.domain.past import IMPORTED, PastRevision
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.transfer import HistoryRecord
from agent_memory_server.ports.journal import JournalledOperation, Position, Revision
from agent_memory_server.stores.values import instant, micros

Document = dict[str, Any]


def pasts_of(operation: Operation, outcomes: Sequence[Outcome]) -> list[HistoryRecord]:
    """What an operation tells of the pasts of the memories that it wrote."""
    return [
        HistoryRecord(memory_key=outcome.key, revisions=change.carried.past)
        for change, outcome in zip(operation.changes, outcomes, strict=True)
        if isinstance(change, Put) and change.carried is not None and change.carried.past
        if outcome.effect is not Effect.UNCHANGED
    ]


def past_documents(revisions: Sequence[PastRevision], document_of: Callable[[Memory], Document]) -> list[Document]:
    """One document a revision, in order."""
    found: list[Document] = []
    for revision in revisions:
        document: Document = {
            "operation": [
                revision.operation_id,
                revision.kind.value,
                revision.actor,
                micros(revision.at),
                revision.reason,
                dict(revision.details),
                revision.run,
            ],
            "effect": revision.effect.value,
            "scrubbed": revision.scrubbed,
            "before": None if revision.before is None else document_of(revision.before),
        }
        if revision.before_is_copy:
            document["copy"] = True
        found.append(document)
    return found


def past_revisions(
    key: MemoryKey,
    documents: Sequence[tuple[int, Mapping[str, Any]]],
    memory_of: Callable[[Mapping[str, Any]], Memory],
    *,
    own: Sequence[Revision],
) -> list[Revision]:
    """The revisions again, from their numbers and documents, in order, the last one among them. ``own``: what happened here
    since, beginning with the import that brought the memory."""
    following = next(
        (each.after for each in own if each.operation.kind is OperationKind.IMPORT and not each.scrubbed), None
    )
    entries = [(Position(0, number, 0), document) for number, document in documents]
    return revisions_of(key, entries, memory_of, following=following, prefix=IMPORTED)


def revisions_of(
    key: MemoryKey,
    entries: Sequence[tuple[Position, Mapping[str, Any]]],
    memory_of: Callable[[Mapping[str, Any]], Memory],
    *,
    following: Memory | None,
    prefix: str = "",
) -> list[Revision]:
    """The revisions that entries in order tell of: each state after a change is the state before the next one, and at last
    ``following``. ``prefix``: before ids that an import brought."""
    found: list[Revision] = []
    for position, document in reversed(entries):
        operation_id, kind, actor, at, reason, *more = document["operation"]
        details: dict[str, Any] = more[0] if more else {}
        run: str | None = more[1] if more else None
        effect = Effect(document["effect"])
        before = None if document["before"] is None else memory_of(document["before"])
        found.append(
            Revision(
                operation=JournalledOperation(
                    sequence=position.sequence,
                    id=prefix + operation_id,
                    tenant=key.tenant,
                    kind=OperationKind(kind),
                    actor=actor,
                    at=instant(at),
                    reason=reason,
                    counts={},
                    details=details,
                    run=None if run is None else prefix + run,
                ),
                key=key,
                effect=effect,
                before=before,
                after=None if effect is Effect.DELETED else following,
                scrubbed=document["scrubbed"],
                before_is_copy=document.get("copy", False),
                position=position,
                imported=bool(prefix),
            )
        )
        following = before
    found.reverse()
    return found
