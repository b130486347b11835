"""What the journal knows of other times: which operation was the last by then, and what memories were that changed since."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import from_json, memory_of_document
from agent_memory_server.stores.sqlite.filtering import Condition
from agent_memory_server.stores.sqlite.scoping import Selection, known_tenant, selected
from agent_memory_server.stores.timelines import Past, Timeline
from agent_memory_server.stores.values import to_json

_DISORDER_US = 60_000_000
"""Processes note the time before they commit, by clocks of their own: so far may times and sequences be out of step."""
_NO_REVISION = "('unchanged', 'absent', 'spared')"
_ROWS_AT_ONCE_MAX = 1_000
"""More changes are not gone through on the event loop."""
_CHANGES_MAX = 50_000
"""Where there are more since, the first of each memory alone are read."""
_PLACE = "min((e.operation << 28) | (e.change << 12) | min(e.part, 4095))"
"""Where a change stands as one number, so that SQLite's min() brings the other columns of the first one along."""


def sequence_at(connected: Connected, tenant: str, moment_us: int) -> int:
    """The newest sequence whose time is not after the moment; 0 when there is none."""
    tenant_id = known_tenant(connected, tenant)
    near = connected.value(
        "SELECT max(seq) FROM operations INDEXED BY operations_by_time WHERE tenant_id = ? AND at > ? AND at <= ?",
        (tenant_id, moment_us - _DISORDER_US, moment_us),
    )
    if near is not None:
        return near
    last = connected.value(
        "SELECT seq FROM operations INDEXED BY operations_by_time WHERE tenant_id = ? AND at <= ? ORDER BY at DESC LIMIT 1",
        (tenant_id, moment_us),
    )
    return last or 0


@dataclass(frozen=True, slots=True)
class Question:
    """What ``earlier`` is asked, on the thread where it is answered."""

    selector: ScopeSelector
    sequence: int
    limit: int
    memory_id: str | None = None

    def answered(self, connected: Connected, held: Timeline[str] | None) -> Timeline[str]:
        """``held``, when nothing changed meanwhile and it tells of this sequence; else what changed since."""
        selection = selected(connected, self.selector)
        if selection is None:
            return self._timeline([], ())
        mark = _mark(connected, selection)
        if held is not None and held.mark == mark and held.reaches(self.sequence):
            return held
        named = Condition("1") if self.memory_id is None else Condition("e.memory_id = ?", (self.memory_id,))
        touched = Condition.all_of(selection.condition("e", has_tenant=False), named)
        rows = _changes(connected, selection, touched, self.sequence, _CHANGES_MAX)
        whole = len(rows) < _CHANGES_MAX
        if not whole:
            rows = _first_changes(connected, selection, touched, self.sequence, self.limit)
        if selection.scope_ids is not None:
            rows += _moved_away(connected, selection, named, self.sequence, self.limit)
        if len(rows) > _ROWS_AT_ONCE_MAX:
            connected.leave_event_loop()
        return self._timeline(rows, mark, is_whole=whole)

    def _timeline(
        self, rows: Sequence[Sequence[Any]], mark: tuple[object, ...], *, is_whole: bool = True
    ) -> Timeline[str]:
        pasts: dict[Hashable, Past[str]] = {}
        changes: list[tuple[int, str | None]] = []
        last: tuple[int, str] | None = None
        for scope_id, memory_id, sequence, before, namespace, user_id, handle in rows:
            name = scope_id, memory_id
            if name != last:
                last, changes = name, []
                key = MemoryKey(self.selector.tenant, namespace, user_id, memory_id)
                pasts[name] = Past(key, handle, changes)
            changes.append((sequence, before))
        return Timeline(pasts, since=self.sequence, mark=mark, decode=_decoded, is_whole=is_whole)


def _decoded(document: str) -> Memory:
    return memory_of_document(from_json(document))


def _mark(connected: Connected, selection: Selection) -> tuple[int, ...]:
    """Another one after every change within the selection, and after text left a history of the tenant."""
    scrubbed: int = connected.value("SELECT scrubbed FROM tenants WHERE id = ?", (selection.tenant_id,)) or 0
    if selection.single is None:
        return scrubbed, connected.value("SELECT max(seq) FROM operations") or 0
    own = "SELECT max(operation) FROM entries WHERE scope_id = ?"
    moved = "SELECT max(operation) FROM entries INDEXED BY entries_moved WHERE scope_then = ?"
    return (
        scrubbed,
        connected.value(own, (selection.single,)) or 0,
        connected.value(moved, (selection.single,)) or 0,
    )


_SELECTED = (
    "s.namespace, s.user_id, m.handle FROM {changes} AS c JOIN scopes AS s ON s.id = c.scope_id "
    "LEFT JOIN memories AS m ON m.tenant_id = ? AND m.id = c.memory_id AND m.scope_id = c.scope_id"
)
"""Of each change the owner and the record as it is now."""


def _changes(
    connected: Connected, selection: Selection, touched: Condition, sequence: int, limit: int
) -> list[Sequence[Any]]:
    """All of them, those of each memory together and in order."""
    changes = f"(SELECT e.* FROM entries AS e WHERE {touched.sql} AND e.operation > ? AND e.effect NOT IN {_NO_REVISION} LIMIT ?)"
    return list(
        connected.rows(
            f"SELECT c.scope_id, c.memory_id, c.operation, c.before, {_SELECTED.format(changes=changes)} "
            "ORDER BY c.scope_id, c.memory_id, c.operation, c.change, c.part",
            (*touched.values, sequence, limit, selection.tenant_id),
        )
    )


def _first_changes(
    connected: Connected, selection: Selection, touched: Condition, sequence: int, limit: int
) -> list[Sequence[Any]]:
    """Of each memory the first one alone."""
    changes = (
        f"(SELECT e.scope_id, e.memory_id, e.operation, e.before, {_PLACE} FROM entries AS e WHERE {touched.sql} "
        f"AND e.operation > ? AND e.effect NOT IN {_NO_REVISION} GROUP BY e.scope_id, e.memory_id LIMIT ?)"
    )
    return list(
        connected.rows(
            f"SELECT c.scope_id, c.memory_id, c.operation, c.before, {_SELECTED.format(changes=changes)}",
            (*touched.values, sequence, limit, selection.tenant_id),
        )
    )


def _moved_away(
    connected: Connected, selection: Selection, named: Condition, sequence: int, limit: int
) -> list[Sequence[Any]]:
    """Memories that were within the selection since and have another owner now: they are rare, and looked at one by one."""
    within = to_json(selection.scope_ids)
    moved = connected.rows(
        "SELECT DISTINCT e.scope_id, e.memory_id FROM entries AS e INDEXED BY entries_moved "
        f"WHERE e.scope_then IN (SELECT value FROM json_each(?)) AND e.operation > ? AND {named.sql} "
        "AND e.scope_id NOT IN (SELECT value FROM json_each(?)) LIMIT ?",
        (within, sequence, *named.values, within, max(0, limit)),
    )
    found: list[Sequence[Any]] = []
    for scope_id, memory_id in moved:
        touched = Condition("e.scope_id = ? AND e.memory_id = ?", (scope_id, memory_id))
        found += _changes(connected, selection, touched, sequence, _CHANGES_MAX)
    return found
