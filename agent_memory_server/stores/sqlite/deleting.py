"""Taking a memory away: by policy with its state kept in the journal, or for good with everything that repeats its text."""

from __future__ import annotations

from dataclasses import replace

from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.journalling import Journalling
from agent_memory_server.stores.sqlite.past import drop_past
from agent_memory_server.stores.sqlite.rows import Stored, remove_memory, stored_memory, update_memory
from agent_memory_server.stores.sqlite.summary_rows import scrub_summaries


def delete_stored(journalling: Journalling, number: int, part: int, stored: Stored, *, scrub: bool) -> int:
    """Remove a memory; with ``scrub`` also what repeats its text: its history, the copies it had taken the place of, and
    what was merged of it, whose other sources live again.

    Returns the next free part number of this change.
    """
    connected = journalling.connected
    copies = copies_of(connected, stored) if scrub else []
    for gone in (stored, *copies):
        remove_memory(connected, gone)
        if scrub:
            scrub_history(connected, scope_id=gone.scope_id, memory_id=gone.memory.id)
        journalling.entry(
            number,
            part,
            scope_id=gone.scope_id,
            memory_id=gone.memory.id,
            effect=Effect.DELETED,
            survivor=gone.memory.id,
            before=gone.memory,
            is_copy=gone.is_copy,
            scrubbed=scrub,
        )
        part += 1
    return _unmerge(journalling, number, part, stored) if scrub else part


def _unmerge(journalling: Journalling, number: int, part: int, source: Stored) -> int:
    """Take back the merges that a memory went into, because it is deleted for good: what says its text goes, and the other
    sources live again, from where compaction makes of them what they still are together.

    A merged memory that somebody edited or pinned since is theirs and stays, without the history that repeats the source.
    """
    connected = journalling.connected
    merged = _merged_of(connected, source)
    if merged is None:
        return part
    kind = connected.value(
        "SELECT kind FROM operations WHERE tenant_id = ? AND id = ?", (merged.tenant_id, merged.memory.operation_id)
    )
    if kind == OperationKind.EDIT.value or merged.memory.pinned:
        scrub_history(connected, scope_id=merged.scope_id, memory_id=merged.memory.id)
        return part
    part = _unmerge(journalling, number, part, merged)
    for memory_id in merged.memory.derived_from:
        if memory_id != source.memory.id:
            part = _revive(journalling, number, part, merged, memory_id)
    remove_memory(connected, merged)
    scrub_history(connected, scope_id=merged.scope_id, memory_id=merged.memory.id)
    journalling.entry(
        number,
        part,
        scope_id=merged.scope_id,
        memory_id=merged.memory.id,
        effect=Effect.DELETED,
        survivor=merged.memory.id,
        scrubbed=True,
    )
    return part + 1


def _merged_of(connected: Connected, source: Stored) -> Stored | None:
    """The memory that this one was merged into, if it was."""
    by = source.memory.superseded_by
    if by is None:
        return None
    found = stored_memory(connected, tenant_id=source.tenant_id, scope_id=source.scope_id, memory_id=by)
    return found if found is not None and source.memory.id in found.memory.derived_from else None


def _revive(journalling: Journalling, number: int, part: int, merged: Stored, memory_id: str) -> int:
    """Let a source of a merge that is taken back stand for itself again."""
    connected = journalling.connected
    other = stored_memory(connected, tenant_id=merged.tenant_id, scope_id=merged.scope_id, memory_id=memory_id)
    if other is None or other.memory.superseded_by != merged.memory.id:
        return part
    revived = replace(
        other.memory,
        superseded_by=None,
        updated_at=journalling.at,
        revision=other.memory.revision + 1,
        operation_id=journalling.operation_id,
    )
    update_memory(connected, other, revived, scope_id=other.scope_id, is_copy=False, terms=other.terms)
    journalling.entry(
        number,
        part,
        scope_id=other.scope_id,
        memory_id=memory_id,
        effect=Effect.UPDATED,
        survivor=memory_id,
        before=other.memory,
        is_copy=other.is_copy,
    )
    return part + 1


def scrub_history(connected: Connected, *, scope_id: int, memory_id: str) -> None:
    """Take the text out of every journal entry of a memory, and out of summaries; who, when and which stays. What an import told
    of its past goes wholly."""
    connected.execute(
        "UPDATE entries SET before = NULL, scrubbed = 1 WHERE scope_id = ? AND memory_id = ? "
        "AND effect NOT IN ('unchanged', 'absent', 'spared')",
        (scope_id, memory_id),
    )
    drop_past(connected, scope_id=scope_id, memory_id=memory_id)
    scrub_summaries(connected, scope_id=scope_id, memory_id=memory_id)


def copies_of(connected: Connected, stored: Stored) -> list[Stored]:
    """The duplicates that step back behind this memory, and behind those, in the same owner scope."""
    found: list[Stored] = []
    seen = {stored.memory.id}
    ahead = [stored.memory.id]
    while ahead:
        rows = connected.rows(
            "SELECT id FROM memories WHERE scope_id = ? AND superseded_by = ? AND is_copy = 1 ORDER BY handle",
            (stored.scope_id, ahead.pop()),
        )
        for (memory_id,) in rows:
            if memory_id in seen:
                continue
            seen.add(memory_id)
            ahead.append(memory_id)
            copy = stored_memory(connected, tenant_id=stored.tenant_id, scope_id=stored.scope_id, memory_id=memory_id)
            if copy is not None:
                found.append(copy)
    return found
