"""What forgetting walks through: times of memories without their texts, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import MemoryKey, MemoryType
from agent_memory_server.domain.search import Handle
from agent_memory_server.ports.memories import Aged
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.filtering import Condition
from agent_memory_server.stores.sqlite.listing import matching
from agent_memory_server.stores.sqlite.scoping import known_scope, selected
from agent_memory_server.stores.values import micros

_TYPES = {each.value: each for each in MemoryType}


def ages(
    connected: Connected,
    criteria: MemoryFilter,
    *,
    now: datetime,
    limit: int,
    after: Handle | None,
    owner: Scope | None,
) -> list[Aged]:
    connected.leave_event_loop()
    found = matching(connected, criteria, now=now)
    if found is None:
        return []
    _, condition = found
    if owner is not None:
        scope_id = known_scope(connected, owner.tenant, owner.namespace, owner.user_id)
        condition = Condition.all_of(condition, Condition("m.scope_id = ?", (scope_id,)))
    text = connected.value(
        "SELECT json_group_array(json_array(handle, id, created_at, last_accessed, pinned, memory_type)) FROM ("
        "SELECT m.handle, m.id, m.created_at, m.last_accessed, m.pinned, m.memory_type FROM memories AS m "
        f"WHERE {condition.sql} AND m.handle > ? ORDER BY m.handle LIMIT ?)",
        (*condition.values, after if isinstance(after, int) else 0, limit),
    )
    return [
        Aged(handle, memory_id, created, accessed, bool(pinned), _TYPES[memory_type])
        for handle, memory_id, created, accessed, pinned, memory_type in orjson.loads(text)
    ]


def expired(connected: Connected, *, now: datetime, limit: int) -> list[MemoryKey]:
    """The port's ``expired``: only memories that have a time to live are looked at."""
    rows = connected.rows(
        "SELECT t.name, s.namespace, s.user_id, m.id FROM memories AS m INDEXED BY memories_expiring "
        "JOIN scopes AS s ON s.id = m.scope_id JOIN tenants AS t ON t.id = m.tenant_id "
        "WHERE m.expires_at IS NOT NULL AND m.expires_at <= ? LIMIT ?",
        (micros(now), limit),
    )
    return [MemoryKey(tenant, namespace, user_id, memory_id) for tenant, namespace, user_id, memory_id in rows]


def owners(connected: Connected, selector: ScopeSelector) -> list[Scope]:
    selection = selected(connected, selector)
    if selection is None:
        return []
    where = (
        ("tenant_id = ?", (selection.tenant_id,))
        if selection.scope_ids is None
        else ("id IN (SELECT value FROM json_each(?))", (orjson.dumps(selection.scope_ids).decode(),))
    )
    rows = connected.rows(
        f"SELECT namespace, user_id FROM scopes WHERE {where[0]} AND documents > 0 ORDER BY id", where[1]
    )
    return [Scope(selector.tenant, namespace, user_id) for namespace, user_id in rows]


def keys(connected: Connected, handles: Sequence[int]) -> dict[Handle, MemoryKey]:
    rows = connected.rows(
        "SELECT m.handle, t.name, s.namespace, s.user_id, m.id FROM json_each(?) AS h CROSS JOIN memories AS m "
        "JOIN scopes AS s ON s.id = m.scope_id JOIN tenants AS t ON t.id = m.tenant_id WHERE m.handle = h.value",
        (orjson.dumps(list(handles)).decode(),),
    )
    return {
        handle: MemoryKey(tenant, namespace, user_id, memory_id)
        for handle, tenant, namespace, user_id, memory_id in rows
    }
