"""Sessions whole, as a transfer reads and writes them: each function runs within its caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.sessions import Session, Summarization
from agent_memory_server.domain.transfer import SessionMessage, SessionRecord
from agent_memory_server.ports.transfer import Portion
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.scoping import interned_scope, interned_tenant
from agent_memory_server.stores.sqlite.session_rows import (
    SessionRow,
    insert_session,
    live_session,
    memories_to,
    message_of,
    save_session,
    session_of,
    session_row,
)
from agent_memory_server.stores.values import instant_or_none, micros, micros_or_none, to_json

_NAMED = (
    "SELECT s.id, t.name, c.namespace, c.user_id, s.session_id FROM sessions AS s "
    "JOIN tenants AS t ON t.id = s.tenant_id JOIN scopes AS c ON c.id = s.scope_id "
    "WHERE s.id > ? ORDER BY s.id LIMIT ?"
)


def walk(connected: Connected, *, after: str | None, limit: int, now: datetime) -> Portion[SessionRecord]:
    rows = connected.rows(_NAMED, (int(after or 0), limit + 1))
    shown = rows[:limit]
    found = [session(connected, Scope(*names), now=now) for _, *names in shown]
    following = str(shown[-1][0]) if len(rows) > limit else None
    return Portion([record for record in found if record is not None], following)


def session(connected: Connected, scope: Scope, *, now: datetime) -> SessionRecord | None:
    row = live_session(connected, scope, now=now)
    if row is None:
        return None
    return SessionRecord(session=session_of(row, scope, ()), expires_at=instant_or_none(row.expires_at))


def messages(connected: Connected, scope: Scope, *, after: int, limit: int) -> list[SessionMessage]:
    row = session_row(connected, scope)
    if row is None:
        return []
    found = connected.rows(
        "SELECT seq, archived, id, role, content, created_at, name, persisted_at, extracted, token_count FROM messages "
        "WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?",
        (row.id, after, limit),
    )
    return [
        SessionMessage(sequence=sequence, archived=bool(archived), message=message_of(values))
        for sequence, archived, *values in found
    ]


def put(connected: Connected, record: SessionRecord, first: Sequence[SessionMessage]) -> None:
    """Store the session in place of the one that is there; its pending work stays."""
    given = record.session
    scope = given.scope
    assert scope.session_id is not None
    before = session_row(connected, scope)
    if before is not None:
        connected.execute("DELETE FROM messages WHERE session = ?", (before.id,))
        connected.execute("DELETE FROM sessions WHERE id = ?", (before.id,))
    made = insert_session(
        connected,
        tenant_id=interned_tenant(connected, scope.tenant),
        scope_id=interned_scope(connected, scope.tenant, scope.namespace, scope.user_id),
        session_id=scope.session_id,
        epoch=given.epoch,
        at=given.updated_at,
    )
    save_session(connected, _row_of(made, given, expires_at=micros_or_none(record.expires_at)))
    if given.summarization is not Summarization.NONE:
        connected.execute("UPDATE sessions SET summarization = ? WHERE id = ?", (given.summarization.value, made.id))
    add(connected, scope, first)


def _row_of(made: SessionRow, given: Session, *, expires_at: int | None) -> SessionRow:
    return replace(
        made,
        revision=given.revision,
        created_at=micros(given.created_at),
        updated_at=micros(given.updated_at),
        last_accessed=micros(given.last_accessed),
        expires_at=expires_at,
        ttl_seconds=given.ttl_seconds,
        context=given.context,
        tokens=given.tokens,
        data=None if given.data is None else to_json(dict(given.data)),
        strategy=given.strategy.name,
        strategy_config=to_json(dict(given.strategy.config)) if given.strategy.config else None,
        memories=memories_to(given.memories),
    )


def add(connected: Connected, scope: Scope, more: Sequence[SessionMessage]) -> None:
    """Messages with their places, and the counts that go with them."""
    row = session_row(connected, scope)
    if row is None or not more:
        return
    connected.many(
        "INSERT INTO messages (session, seq, archived, id, role, created_at, name, persisted_at, extracted, token_count, "
        "content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        _message_rows(row.id, more),
    )
    live = [each for each in more if not each.archived]
    connected.execute(
        "UPDATE sessions SET live_count = live_count + ?, archived_count = archived_count + ?, next_seq = max(next_seq, ?), "
        "live_tokens = live_tokens + ? WHERE id = ?",
        (
            len(live),
            len(more) - len(live),
            more[-1].sequence + 1,
            sum(each.message.token_count for each in live),
            row.id,
        ),
    )


def _message_rows(session_id: int, more: Iterable[SessionMessage]) -> Iterable[tuple[object, ...]]:
    for each in more:
        message = each.message
        yield (
            session_id,
            each.sequence,
            int(each.archived),
            message.id,
            message.role,
            micros(message.created_at),
            message.name,
            micros_or_none(message.persisted_at),
            int(message.extracted),
            message.token_count,
            message.content,
        )
