"""Taking a memory away: by policy with its state kept in the journal, or for good with everything that repeats its text."""

from __future__ import annotations

from dataclasses import dataclass

from agent_memory_server.domain.fusing import standing_again
from agent_memory_server.domain.operations import Effect
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.journalling import Journalling
from agent_memory_server.stores.sqlite.past import drop_past
from agent_memory_server.stores.sqlite.rows import Stored, remove_memory, stored_memory, update_memory
from agent_memory_server.stores.sqlite.summary_rows import scrub_summaries

NOTE_SCRUBBED = "UPDATE tenants SET scrubbed = scrubbed + 1 WHERE id = (SELECT tenant_id FROM scopes WHERE id = ?)"
"""Text left a history of this scope's tenant: whoever keeps earlier states in memory lets them go."""


def delete_stored(journalling: Journalling, number: int, part: int, stored: Stored, *, scrub: bool) -> int:
    """Remove a memory; with ``scrub`` also what repeats its text: its history, the copies it had taken the place of, and
    what was merged of it, whose other sources live again.

    Returns the next free part number of this change.
    """
    connected = journalling.connected
    going = (stored, *copies_of(connected, stored)) if scrub else (stored,)
    for gone in going:
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
    if scrub:
        apart = _TakingApart(journalling, number, {_place(gone) for gone in going})
        for gone in going:
            part = apart.of(_place(gone), part, behind=gone.memory.superseded_by)
    return part


def scrub_gone(journalling: Journalling, number: int, *, scope_id: int, memory_id: str) -> None:
    """Of a memory that is gone already (forgotten by policy, or undone): take its text out of the journal, and what was merged
    of it. The part 0 of the change is its caller's."""
    scrub_history(journalling.connected, scope_id=scope_id, memory_id=memory_id)
    place = (scope_id, memory_id)
    _TakingApart(journalling, number, {place}).of(place, 1, behind=None)


_Place = tuple[int, str]
"""Scope and id of a memory, whether it is there or not."""


def _place(stored: Stored) -> _Place:
    return stored.scope_id, stored.memory.id


@dataclass(frozen=True, slots=True)
class _TakingApart:
    """Takes back the merges that a memory went into, because it is deleted for good: what says its text goes, also where only the
    journal has it, and the other sources live again, from where compaction makes of them what they still are together.

    A merged memory whose text somebody wrote anew since is theirs and stays, without the history that repeats the source.
    """

    journalling: Journalling
    number: int
    seen: set[_Place]

    def of(self, source: _Place, part: int, *, behind: str | None) -> int:
        """``behind``: what the source had stepped back behind. Returns the next free part number."""
        connected = self.journalling.connected
        for place in self._merges_of(source, behind):
            self.seen.add(place)
            merge = stored_memory(
                connected, tenant_id=self.journalling.tenant_id, scope_id=place[0], memory_id=place[1]
            )
            part = self.of(place, part, behind=None if merge is None else merge.memory.superseded_by)
            if merge is not None and source[1] in merge.memory.derived_from and not _is_written_anew(connected, merge):
                part = self._dissolve(merge, part)
            scrub_history(connected, scope_id=place[0], memory_id=place[1])
        return part

    def _merges_of(self, source: _Place, behind: str | None) -> list[_Place]:
        """What it was merged into and stands behind, or did at some time: undone and forgotten merges too."""
        connected = self.journalling.connected
        scope_id, memory_id = source
        found: dict[_Place, None] = {}
        if behind is not None:
            merge = stored_memory(connected, tenant_id=self.journalling.tenant_id, scope_id=scope_id, memory_id=behind)
            if merge is not None and memory_id in merge.memory.derived_from:
                found[_place(merge)] = None
        for scope_then, survivor in connected.rows(
            "SELECT DISTINCT ifnull(e.scope_then, e.scope_id), e.survivor FROM entries AS e "
            "JOIN operations AS o ON o.seq = e.operation "
            "WHERE e.scope_id = ? AND e.memory_id = ? AND e.effect = 'superseded' AND o.kind = 'merge'",
            source,
        ):
            found |= {(scope_id, survivor): None, (scope_then, survivor): None}
        return [place for place in found if place not in self.seen]

    def _dissolve(self, merge: Stored, part: int) -> int:
        connected = self.journalling.connected
        behind = connected.rows(
            "SELECT id FROM memories WHERE scope_id = ? AND superseded_by = ? ORDER BY handle", _place(merge)
        )
        for (memory_id,) in behind:
            if (merge.scope_id, memory_id) not in self.seen:
                part = self._stand_again(merge, memory_id, part)
        remove_memory(connected, merge)
        self.journalling.entry(
            self.number,
            part,
            scope_id=merge.scope_id,
            memory_id=merge.memory.id,
            effect=Effect.DELETED,
            survivor=merge.memory.id,
            scrubbed=True,
        )
        return part + 1

    def _stand_again(self, merge: Stored, memory_id: str, part: int) -> int:
        journalling = self.journalling
        other = stored_memory(
            journalling.connected, tenant_id=merge.tenant_id, scope_id=merge.scope_id, memory_id=memory_id
        )
        if other is None:
            return part
        again = standing_again(other.memory, merge.memory, operation_id=journalling.operation_id, at=journalling.at)
        update_memory(journalling.connected, other, again, scope_id=other.scope_id, is_copy=False, terms=other.terms)
        journalling.entry(
            self.number,
            part,
            scope_id=other.scope_id,
            memory_id=memory_id,
            effect=Effect.UPDATED,
            survivor=memory_id,
            before=other.memory,
            is_copy=other.is_copy,
        )
        return part + 1


def _is_written_anew(connected: Connected, merge: Stored) -> bool:
    """Whether its text is another than the merge gave it. One whose history was scrubbed before was kept for that reason."""
    first_change = connected.one(
        "SELECT before FROM entries WHERE scope_id = ? AND memory_id = ? "
        "AND effect NOT IN ('unchanged', 'absent', 'spared') ORDER BY operation, change, part LIMIT 1 OFFSET 1",
        _place(merge),
    )
    if first_change is None:
        return False
    return first_change[0] is None or from_json(first_change[0])["text"] != merge.memory.text


def scrub_history(connected: Connected, *, scope_id: int, memory_id: str) -> None:
    """Take the text out of every journal entry of a memory, and out of summaries; who, when and which stays. What an import told
    of its past goes wholly."""
    connected.execute(
        "UPDATE entries SET before = NULL, scrubbed = 1 WHERE scope_id = ? AND memory_id = ? "
        "AND effect NOT IN ('unchanged', 'absent', 'spared')",
        (scope_id, memory_id),
    )
    connected.execute(NOTE_SCRUBBED, (scope_id,))
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
