"""What is told of a memory's past when it is taken along: the same after an export, an import and another export."""

from __future__ import annotations

from collections.abc import Sequence

from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.past import IMPORTED, PastRevision, stated
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.transfer import HistoryRecord
from agent_memory_server.ports.journal import Journal, Revision

TRANSFER_ACTOR = "transfer"
"""Who writes what is carried in from another store or a file."""


async def histories_told(journal: Journal, keys: Sequence[MemoryKey]) -> Sequence[HistoryRecord]:
    """What is told of each of these memories. It has no revisions where nothing is known of one."""
    histories = await journal.histories(keys, live=False)
    return [told(key, revisions) for key, revisions in zip(keys, histories, strict=True)]


def told(key: MemoryKey, revisions: Sequence[Revision]) -> HistoryRecord:
    """What an export says of a memory's past: nothing of an earlier memory with its id that was deleted for good, nor of what it
    was at another owner's, and not that it was imported, where it is known what was before."""
    if len(revisions) == 1 and revisions[0].effect is Effect.CREATED and not revisions[0].imported:
        # As nearly all that ever was written.
        opened_by = revisions[0].operation.run if _is_transfer(revisions[0]) else None
        return HistoryRecord(memory_key=key, revisions=(_past(revisions[0]),), opened_by=opened_by)
    past = [each for each in revisions if each.imported]
    own = _since_arrival(key, _since_deletion([each for each in revisions if not each.imported]))
    opening = next((each for each in own if _is_transfer(each)), None)
    if past:
        own = _without_carrying(own)
    return HistoryRecord(
        memory_key=key,
        revisions=tuple(_past(each) for each in (*past, *own)),
        opened_by=None if past or opening is None else opening.operation.run,
    )


def _since_deletion(own: Sequence[Revision]) -> list[Revision]:
    lives = [number for number, each in enumerate(own) if each.scrubbed and each.effect is Effect.DELETED]
    return list(own[lives[-1] + 1 :] if lives else own)


def _since_arrival(key: MemoryKey, own: Sequence[Revision]) -> list[Revision]:
    elsewhere = [n for n, each in enumerate(own) if each.before is not None and each.before.key[:3] != key[:3]]
    return list(own[elsewhere[-1] + 1 :] if elsewhere else own)


def _without_carrying(own: Sequence[Revision]) -> list[Revision]:
    """Without the imports that brought it and brought it up to date; one that brought it back after it went is news."""
    gone = next((number for number, each in enumerate(own) if each.effect is Effect.DELETED), len(own))
    return [each for number, each in enumerate(own) if number > gone or not _is_transfer(each)]


def _is_transfer(revision: Revision) -> bool:
    return revision.operation.kind is OperationKind.IMPORT and revision.operation.actor == TRANSFER_ACTOR


def _past(revision: Revision) -> PastRevision:
    operation = revision.operation
    return PastRevision(
        operation_id=operation.id.removeprefix(IMPORTED) if revision.imported else operation.id,
        kind=operation.kind,
        actor=operation.actor,
        at=operation.at,
        reason=operation.reason,
        details=operation.details,
        run=operation.run.removeprefix(IMPORTED) if revision.imported and operation.run else operation.run,
        effect=revision.effect,
        scrubbed=revision.scrubbed,
        before=None if revision.before is None else stated(revision.before),
        before_is_copy=revision.before_is_copy,
    )
