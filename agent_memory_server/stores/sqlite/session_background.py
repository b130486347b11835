"""What background work reads and writes of a session: its own marks and summaries, under the guard of the session's life.

Each within one transaction of its caller. Marks change neither content nor ETag; a summary is a new content revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.sessions import Backlog, Message, SessionGuard, Summarization
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.outbox_rows import request_work
from agent_memory_server.stores.sqlite.session_rows import SessionRow, live_session, messages_where, session_row
from agent_memory_server.stores.values import micros


def unextracted_messages(
    connected: Connected, guard: SessionGuard, *, now: datetime, limit: int, context: int
) -> Backlog:
    row = live_session(connected, guard.scope, now=now)
    if row is None or row.epoch != guard.epoch:
        return Backlog(messages=())
    through = connected.value("SELECT extracted_through FROM sessions WHERE id = ?", (row.id,))
    found = messages_where(connected, row.id, "seq > ? AND extracted = 0", (through,), order="ASC", limit=limit)
    if not found:
        return Backlog(messages=())
    before = messages_where(connected, row.id, "seq < ?", (found[0][0],), order="DESC", limit=context)
    return Backlog(
        messages=tuple(message for _, message in found),
        before=tuple(message for _, message in reversed(before)),
    )


def mark_extracted(connected: Connected, guard: SessionGuard, *, message_ids: Sequence[str]) -> bool:
    row = _guarded(connected, guard)
    if row is None:
        return False
    connected.many(
        "UPDATE messages SET extracted = 1 WHERE session = ? AND id = ?",
        [(row.id, message_id) for message_id in message_ids],
    )
    through = connected.value("SELECT extracted_through FROM sessions WHERE id = ?", (row.id,))
    first_waiting = connected.value(
        "SELECT min(seq) FROM messages WHERE session = ? AND seq > ? AND extracted = 0", (row.id, through)
    )
    done = row.next_seq - 1 if first_waiting is None else first_waiting - 1
    connected.execute("UPDATE sessions SET extracted_through = ? WHERE id = ?", (done, row.id))
    return True


def archive_messages(
    connected: Connected,
    guard: SessionGuard,
    *,
    messages: Sequence[Message],
    context: str,
    if_context: str | None,
    tokens: int,
    at: datetime,
) -> bool:
    row = _guarded(connected, guard)
    if row is None or row.context != if_context:
        return False
    found = [
        connected.one(
            "SELECT seq, token_count FROM messages WHERE session = ? AND id = ? AND archived = 0 AND role = ? AND content = ?",
            (row.id, message.id, message.role, message.content),
        )
        for message in messages
    ]
    live = [each for each in found if each is not None]
    if len(live) != len(messages):
        return False
    connected.many(
        "UPDATE messages SET archived = 1 WHERE session = ? AND seq = ?", [(row.id, sequence) for sequence, _ in live]
    )
    archived = len(live)
    leaving_tokens = sum(token_count for _, token_count in live)
    connected.execute(
        "UPDATE sessions SET context = ?, tokens = tokens + ?, revision = revision + 1, updated_at = ?, "
        "live_count = live_count - ?, archived_count = archived_count + ?, live_tokens = live_tokens - ? WHERE id = ?",
        (context, tokens, micros(at), archived, archived, leaving_tokens, row.id),
    )
    return True


def request_summary(connected: Connected, scope: Scope, intent: Intent, *, at: datetime) -> bool:
    row = session_row(connected, scope)
    if row is None or not row.is_live(at):
        return False
    connected.execute("UPDATE sessions SET summarization = ? WHERE id = ?", (Summarization.PENDING.value, row.id))
    request_work(connected, (intent,), at=at)
    return True


def summarized(connected: Connected, guard: SessionGuard) -> bool:
    row = _guarded(connected, guard)
    if row is None:
        return False
    connected.execute("UPDATE sessions SET summarization = ? WHERE id = ?", (Summarization.NONE.value, row.id))
    return True


def _guarded(connected: Connected, guard: SessionGuard) -> SessionRow | None:
    row = session_row(connected, guard.scope)
    return row if row is not None and row.epoch == guard.epoch else None
