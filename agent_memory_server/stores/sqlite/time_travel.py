"""What the journal knows of other times: which operation was the last by then, and what memories were that changed since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.stores.decoded_states import DecodedStates
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import from_json, memory_of_document
from agent_memory_server.stores.sqlite.filtering import Condition
from agent_memory_server.stores.sqlite.scoping import Selection, known_tenant, selected
from agent_memory_server.stores.values import to_json

_DISORDER_US = 60_000_000
"""Processes note the time before they commit, by clocks of their own: so far may times and sequences be out of step."""
_NO_REVISION = "('unchanged', 'absent', 'spared')"
_DECODED_AT_ONCE_MAX = 100
_ROWS_AT_ONCE_MAX = 1_000
"""More earlier states are not made into records on the event loop."""
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


def decoded_states() -> DecodedStates[str, Memory]:
    """To be kept from one question to the next."""
    return DecodedStates(lambda document: memory_of_document(from_json(document)))


def earlier(
    connected: Connected,
    states: DecodedStates[str, Memory],
    selector: ScopeSelector,
    sequence: int,
    *,
    memory_id: str | None,
    limit: int,
) -> list[Earlier]:
    """The port's ``earlier``: of each memory the state before its first revision after the sequence."""
    selection = selected(connected, selector)
    if selection is None:
        return []
    named = Condition("1") if memory_id is None else Condition("e.memory_id = ?", (memory_id,))
    touched = Condition.all_of(selection.condition("e", has_tenant=False), named)
    rows = _first_changes(connected, selection, touched, sequence, limit)
    if selection.scope_ids is not None:
        rows += _moved_away(connected, selection, named, sequence, limit - len(rows))
    states.renew()
    if (
        len(rows) > _ROWS_AT_ONCE_MAX
        or sum(row[2] is not None and not states.has(row[2]) for row in rows) > _DECODED_AT_ONCE_MAX
    ):
        connected.leave_event_loop()
    return [
        Earlier(
            key=MemoryKey(selector.tenant, namespace, user_id, found_id),
            memory=None if before is None else states.decoded(before),
            handle=handle,
        )
        for _, found_id, before, namespace, user_id, handle in rows
    ]


def _first_changes(
    connected: Connected, selection: Selection, touched: Condition, sequence: int, limit: int
) -> list[Sequence[Any]]:
    return list(
        connected.rows(
            "SELECT c.scope_id, c.memory_id, c.before, s.namespace, s.user_id, m.handle FROM ("
            f"SELECT e.scope_id, e.memory_id, e.before, {_PLACE} FROM entries AS e WHERE {touched.sql} AND e.operation > ? "
            f"AND e.effect NOT IN {_NO_REVISION} GROUP BY e.scope_id, e.memory_id LIMIT ?) AS c "
            "JOIN scopes AS s ON s.id = c.scope_id "
            "LEFT JOIN memories AS m ON m.tenant_id = ? AND m.id = c.memory_id AND m.scope_id = c.scope_id",
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
        found += _first_changes(connected, selection, touched, sequence, 1)
    return found
