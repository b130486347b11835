"""What ties summaries to the memories they were made of: each function runs within its caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.summary_views import SOURCE_DELETED, Member
from agent_memory_server.errors import InvalidInput
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.filtering import Condition
from agent_memory_server.stores.sqlite.listing import matching
from agent_memory_server.stores.values import to_json


@dataclass(frozen=True, slots=True)
class SqliteMembers:
    """``ports.summary_views.MemberPage``."""

    members: Sequence[Member]
    next_cursor: str | None


def member_page(
    connected: Connected, criteria: MemoryFilter, *, now: datetime, limit: int, cursor: str | None
) -> SqliteMembers:
    """A page in the order of listings, which an index serves; one statement step for all of it."""
    found = matching(connected, criteria, now=now)
    if found is None:
        return SqliteMembers((), None)
    _, condition = found
    if cursor is not None:
        moment, memory_id, scope_id = _position(cursor)
        condition = Condition.all_of(
            condition,
            Condition("m.created_at <= ?", (moment,)),
            Condition(
                "m.created_at <> ? OR m.id > ? OR (m.id = ? AND m.scope_id > ?)",
                (moment, memory_id, memory_id, scope_id),
            ),
        )
    text = connected.value(
        "SELECT json_group_array(json_array(p.created_at, p.id, p.scope_id, s.namespace, s.user_id, p.session_id, "
        "p.memory_type, p.operation_id)) FROM (SELECT m.created_at, m.id, m.scope_id, m.session_id, m.memory_type, "
        f"m.operation_id FROM memories AS m WHERE {condition.sql} ORDER BY m.created_at DESC, m.id, m.scope_id LIMIT ?) "
        "AS p CROSS JOIN scopes AS s WHERE s.id = p.scope_id",
        (*condition.values, limit + 1),
    )
    rows: list[list[Any]] = orjson.loads(text)
    shown = rows[:limit]
    tenant = criteria.selector.tenant
    members = [
        Member(MemoryKey(tenant, namespace, user_id, memory_id), session_id, memory_type, operation_id)
        for _, memory_id, _, namespace, user_id, session_id, memory_type, operation_id in shown
    ]
    return SqliteMembers(members, to_json(shown[-1][:3]) if len(rows) > limit else None)


def _position(cursor: str) -> tuple[int, str, int]:
    try:
        values = from_json(cursor)
    except ValueError as error:
        raise InvalidInput("This cursor was not made by this server.") from error
    match values:
        case [int(moment), str(memory_id), int(scope_id)]:
            return moment, memory_id, scope_id
        case _:
            raise InvalidInput("This cursor was not made by this server.")


def scrub_summaries(connected: Connected, *, scope_id: int, memory_id: str) -> None:
    """Take away the text of every summary that this memory, which is deleted for good, went into."""
    found = connected.rows(
        "SELECT partition FROM partition_sources WHERE scope_id = ? AND memory_id = ?", (scope_id, memory_id)
    )
    for (partition,) in found:
        connected.execute(
            "UPDATE partitions SET summary = '', memory_count = 0, fingerprint = NULL, empty_reason = ? WHERE number = ?",
            (SOURCE_DELETED, partition),
        )
        connected.execute("DELETE FROM partition_sources WHERE partition = ?", (partition,))


def rekey_sources(
    connected: Connected, *, scope_id: int, memory_id: str, new_scope_id: int, new_memory_id: str
) -> None:
    """A memory moved to another owner: the summaries that hold its text still go when it is deleted."""
    connected.execute(
        "UPDATE OR REPLACE partition_sources SET scope_id = ?, memory_id = ? WHERE scope_id = ? AND memory_id = ?",
        (new_scope_id, new_memory_id, scope_id, memory_id),
    )
