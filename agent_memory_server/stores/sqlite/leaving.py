"""What memories said within a selection before they moved to another owner: an erasure of the selection takes it out."""

from __future__ import annotations

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.deleting import NOTE_SCRUBBED
from agent_memory_server.stores.sqlite.scoping import known_scope, selected
from agent_memory_server.stores.values import to_json

_WITHIN = "scope_then IN (SELECT value FROM json_each(?)) AND before IS NOT NULL"


def moved_away(connected: Connected, selector: ScopeSelector, *, limit: int) -> list[MemoryKey]:
    """The port's ``moved_away``. Nothing leaves a whole tenant."""
    within = _scopes(connected, selector)
    if within is None:
        return []
    rows = connected.rows(
        "SELECT DISTINCT s.namespace, s.user_id, e.memory_id FROM entries AS e INDEXED BY entries_moved "
        f"JOIN scopes AS s ON s.id = e.scope_id WHERE {_WITHIN} "
        "AND e.scope_id NOT IN (SELECT value FROM json_each(?)) LIMIT ?",
        (within, within, limit),
    )
    return [MemoryKey(selector.tenant, namespace, user_id, memory_id) for namespace, user_id, memory_id in rows]


def scrub_stay(connected: Connected, selector: ScopeSelector, key: MemoryKey) -> None:
    """The port's ``scrub_stay``."""
    within = _scopes(connected, selector)
    scope_id = known_scope(connected, key.tenant, key.namespace, key.user_id)
    if within is None or scope_id is None:
        return
    connected.execute(
        f"UPDATE entries SET before = NULL, scrubbed = 1 WHERE scope_id = ? AND memory_id = ? AND {_WITHIN}",
        (scope_id, key.id, within),
    )
    connected.execute(NOTE_SCRUBBED, (scope_id,))


def _scopes(connected: Connected, selector: ScopeSelector) -> str | None:
    selection = selected(connected, selector)
    return None if selection is None or selection.scope_ids is None else to_json(selection.scope_ids)
