"""Pages of memories in a total order, their true totals, and groups of exact duplicates."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import Handle
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.memories import Order
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import MEMORY_COLUMNS, MEMORY_TABLES, from_json, memory_of
from agent_memory_server.stores.sqlite.filtering import Condition, narrowing
from agent_memory_server.stores.sqlite.scoping import Selection, selected
from agent_memory_server.stores.values import micros, to_json


@dataclass(frozen=True, slots=True)
class SqliteListing:
    """``ports.memories.Listing``."""

    memories: Sequence[Memory]
    total: int
    next_cursor: str | None


_COLUMN = {Order.CREATED_DESC: "m.created_at", Order.LAST_ACCESSED_ASC: "m.last_accessed"}
_DIRECTION = {Order.CREATED_DESC: "DESC", Order.LAST_ACCESSED_ASC: "ASC"}
_LETTER = {Order.CREATED_DESC: "c", Order.LAST_ACCESSED_ASC: "a"}


def matching(connected: Connected, criteria: MemoryFilter, *, now: datetime) -> tuple[Selection, Condition] | None:
    """The condition over ``memories AS m`` that is the filter; None when no scope is selected."""
    selection = selected(connected, criteria.selector, namespace=criteria.namespace, user_id=criteria.user_id)
    if selection is None:
        return None
    narrowed = narrowing(criteria, now, tenant_id=selection.tenant_id, scope_id=selection.single)
    return selection, Condition.all_of(selection.condition("m"), narrowed)


def fetched(connected: Connected, handles: Sequence[int]) -> dict[int, Memory]:
    """The memories behind handles, in one statement step; those that are gone are missing."""
    text = connected.value(
        f"SELECT json_group_array(json_array(m.handle, {MEMORY_COLUMNS})) FROM json_each(?) AS h "
        f"CROSS JOIN {MEMORY_TABLES} WHERE m.handle = h.value",
        (to_json(list(handles)),),
    )
    return {row[0]: memory_of(row[1:]) for row in orjson.loads(text)}


def times(connected: Connected, handles: Sequence[int]) -> dict[Handle, tuple[int, int]]:
    """(created_at, last_accessed) in microseconds of the memories behind handles; those that are gone are missing."""
    text = connected.value(
        "SELECT json_group_array(json_array(m.handle, m.created_at, m.last_accessed)) FROM json_each(?) AS h "
        "CROSS JOIN memories AS m WHERE m.handle = h.value",
        (to_json(list(handles)),),
    )
    return {handle: (created, accessed) for handle, created, accessed in orjson.loads(text)}


def count(connected: Connected, criteria: MemoryFilter, *, now: datetime) -> int:
    found = matching(connected, criteria, now=now)
    return 0 if found is None else _total(connected, criteria, *found, now=now)


def _total(
    connected: Connected, criteria: MemoryFilter, selection: Selection, condition: Condition, *, now: datetime
) -> int:
    if not criteria.is_scope_only or criteria.include_superseded:
        return connected.value(f"SELECT count(*) FROM memories AS m WHERE {condition.sql}", condition.values)
    # Nothing but the scope narrows it: the scopes know how many live memories they hold, less those that have expired.
    if selection.scope_ids is None:
        held = connected.value("SELECT sum(documents) FROM scopes WHERE tenant_id = ?", (selection.tenant_id,))
    else:
        held = connected.value(
            "SELECT sum(documents) FROM scopes WHERE id IN (SELECT value FROM json_each(?))",
            (to_json(selection.scope_ids),),
        )
    owned = selection.condition("m")
    expired = connected.value(
        f"SELECT count(*) FROM memories AS m INDEXED BY memories_expiring WHERE {owned.sql} AND m.expires_at <= ? "
        "AND m.superseded_by IS NULL",
        (*owned.values, micros(now)),
    )
    return (held or 0) - expired


def page(
    connected: Connected,
    criteria: MemoryFilter,
    *,
    now: datetime,
    limit: int,
    offset: int,
    cursor: str | None,
    order: Order,
) -> SqliteListing:
    found = matching(connected, criteria, now=now)
    if found is None:
        if cursor is not None:
            _position(cursor, order)
        return SqliteListing((), 0, None)
    selection, condition = found
    total = _total(connected, criteria, selection, condition, now=now)
    handles, next_cursor = places(connected, condition, limit=limit, offset=offset, cursor=cursor, order=order)
    memories = fetched(connected, handles)
    return SqliteListing([memories[handle] for handle in handles], total, next_cursor)


def places(
    connected: Connected, condition: Condition, *, limit: int, offset: int, cursor: str | None, order: Order
) -> tuple[list[int], str | None]:
    """The handles of one page, and where the next one begins; None at the end."""
    after = None if cursor is None else _position(cursor, order)
    column, direction = _COLUMN[order], _DIRECTION[order]
    if after is not None:
        compared = "<" if direction == "DESC" else ">"
        moment, memory_id, scope_id = after
        condition = Condition.all_of(
            condition,
            Condition(f"{column} {compared}= ?", (moment,)),
            Condition(
                f"{column} <> ? OR m.id > ? OR (m.id = ? AND m.scope_id > ?)", (moment, memory_id, memory_id, scope_id)
            ),
        )
        offset = 0
    text = connected.value(
        f"SELECT json_group_array(json_array(handle, moment, id, scope_id)) FROM (SELECT m.handle, {column} AS moment, "
        f"m.id, m.scope_id FROM memories AS m WHERE {condition.sql} ORDER BY {column} {direction}, m.id, m.scope_id "
        "LIMIT ? OFFSET ?)",
        (*condition.values, limit + 1, offset),
    )
    rows = orjson.loads(text)
    shown = rows[:limit]
    return [row[0] for row in shown], _cursor(shown[-1][1:], order) if len(rows) > limit and shown else None


def _cursor(position: Sequence[object], order: Order) -> str:
    packed = to_json([_LETTER[order], *position]).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _position(cursor: str, order: Order) -> tuple[int, str, int]:
    refusal = InvalidInput("This cursor was not made by this server for this listing.", field=("query", "cursor"))
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        values = from_json(base64.b64decode(padded, altchars=b"-_", validate=True).decode())
    except (ValueError, binascii.Error, RecursionError) as error:
        raise refusal from error
    match values:
        case [str(letter), int(moment), str(memory_id), int(scope_id)] if letter == _LETTER[order]:
            if abs(moment) < 2**62 and 0 <= scope_id < 2**62:
                return moment, memory_id, scope_id
        case _:
            pass
    raise refusal


def duplicate_groups(
    connected: Connected, criteria: MemoryFilter, *, now: datetime, limit: int, after: str | None
) -> list[list[Memory]]:
    """Groups by (hash, scope) after a hash; the groups of one hash are never parted between two pages."""
    found = matching(connected, criteria, now=now)
    if found is None:
        return []
    _, condition = found
    text = connected.value(
        "SELECT json_group_array(json_array(memory_hash, handles)) FROM (SELECT m.memory_hash, "
        "json_group_array(m.handle ORDER BY m.created_at, m.id) AS handles "
        f"FROM memories AS m WHERE {condition.sql} AND m.superseded_by IS NULL AND m.memory_hash > ? "
        "GROUP BY m.memory_hash, m.scope_id HAVING count(*) > 1 ORDER BY m.memory_hash, m.scope_id)",
        (*condition.values, after or ""),
    )
    groups: list[list[Memory]] = []
    last_hash: str | None = None
    for memory_hash, handles in orjson.loads(text):
        if len(groups) >= limit and memory_hash != last_hash:
            break
        last_hash = memory_hash
        members: list[int] = orjson.loads(handles) if isinstance(handles, str) else handles
        memories = fetched(connected, members)
        groups.append([memories[handle] for handle in members])
    return groups
