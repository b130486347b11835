"""A session's rows: reading them as one view, and changing them within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import SESSION_INTENTS
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sessions import Message, Session, Strategy, Summarization, etag_of
from agent_memory_server.errors import InvalidInput, StaleRevision
from agent_memory_server.ports.working_memory import MessageRow
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import document_of, from_json, memory_of_document
from agent_memory_server.stores.sqlite.scoping import known_scope, known_tenant
from agent_memory_server.stores.values import instant, instant_or_none, micros, micros_or_none, to_json

_SESSION_COLUMNS = (
    "id, epoch, revision, created_at, updated_at, last_accessed, expires_at, ttl_seconds, context, tokens, data, "
    "strategy, strategy_config, memories, live_count, archived_count, next_seq, promoted_through, summarization, "
    "live_tokens"
)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session without its messages, as it stands in the file."""

    id: int
    epoch: str
    revision: int
    created_at: int
    updated_at: int
    last_accessed: int
    expires_at: int | None
    ttl_seconds: int | None
    context: str | None
    tokens: int
    data: str | None
    strategy: str
    strategy_config: str | None
    memories: str | None
    live_count: int
    archived_count: int
    next_seq: int
    promoted_through: int
    summarization: str
    live_tokens: int

    @property
    def etag(self) -> str:
        return etag_of(self.epoch, self.revision)

    def is_live(self, now: datetime) -> bool:
        return self.expires_at is None or self.expires_at > micros(now)


def session_row(connected: Connected, scope: Scope) -> SessionRow | None:
    """The session of this exact scope, expired or not."""
    tenant_id = known_tenant(connected, scope.tenant)
    scope_id = known_scope(connected, scope.tenant, scope.namespace, scope.user_id)
    if tenant_id is None or scope_id is None:
        return None
    row = connected.one(
        f"SELECT {_SESSION_COLUMNS} FROM sessions WHERE tenant_id = ? AND session_id = ? AND scope_id = ?",
        (tenant_id, scope.session_id, scope_id),
    )
    return None if row is None else SessionRow(*row)


def live_session(connected: Connected, scope: Scope, *, now: datetime) -> SessionRow | None:
    found = session_row(connected, scope)
    return found if found is not None and found.is_live(now) else None


def check_match(row: SessionRow | None, if_match: Sequence[str] | None, *, if_none_match: bool = False) -> None:
    """Raise StaleRevision when a precondition does not hold."""
    if if_none_match and row is not None:
        raise StaleRevision("The session exists already.")
    if if_match is not None and (row is None or not ("*" in if_match or row.etag in if_match)):
        raise StaleRevision("The session was changed meanwhile; read it again.")


# -- messages ---------------------------------------------------------------------------------------------------------

# One row holds them all: fetching each on its own would give up the interpreter lock as often, and wait for it again.
_AS_ARRAY = "json_array(id, role, content, created_at, name, persisted_at, extracted, token_count, seq)"
_READ_AT_ONCE = 1_000
"""Messages that become Python objects in one go: meanwhile no other thread runs."""
_LIVE = (
    f"SELECT json_group_array({_AS_ARRAY} ORDER BY seq) FROM "
    "(SELECT * FROM messages WHERE session = ? AND archived = 0 AND seq > ? ORDER BY seq LIMIT ?)"
)
_RECENT = (
    f"SELECT json_group_array({_AS_ARRAY} ORDER BY created_at, seq) FROM ("
    "SELECT * FROM messages WHERE session = ? AND archived = 0 ORDER BY created_at DESC, seq DESC LIMIT ?)"
)


def message_of(values: Sequence[Any]) -> Message:
    return Message(
        id=values[0],
        role=values[1],
        content=values[2],
        created_at=instant(values[3]),
        name=values[4],
        persisted_at=instant_or_none(values[5]),
        extracted=values[6] == 1,
        token_count=values[7],
    )


def live_messages(connected: Connected, session: int, *, recent: int | None = None) -> tuple[Message, ...]:
    if recent is not None:
        return tuple(
            [message_of(values) for values in orjson.loads(connected.value(_RECENT, (session, max(0, recent))))]
        )
    found: list[Message] = []
    for rows in _in_order(connected, _LIVE, session):
        found += [message_of(values) for values in rows]
    return tuple(found)


def _in_order(connected: Connected, sql: str, session: int) -> Iterator[list[list[Any]]]:
    """All live messages, some at a time. The last value of each row is its sequence."""
    last = 0
    while True:
        rows: list[list[Any]] = orjson.loads(connected.value(sql, (session, last, _READ_AT_ONCE)))
        if rows:
            yield rows
            last = rows[-1][-1]
        if len(rows) < _READ_AT_ONCE:
            return


_ROW = "json_array(id, role, content, created_at, name, persisted_at, extracted = 1, seq)"
_LIVE_ROWS = (
    f"SELECT json_group_array({_ROW}) FROM "
    "(SELECT * FROM messages WHERE session = ? AND archived = 0 AND seq > ? ORDER BY seq LIMIT ?)"
)
_RECENT_ROWS = (
    f"SELECT json_group_array({_ROW} ORDER BY created_at, seq) FROM ("
    "SELECT * FROM messages WHERE session = ? AND archived = 0 ORDER BY created_at DESC, seq DESC LIMIT ?)"
)


def live_rows(connected: Connected, session: int, *, recent: int | None = None) -> list[MessageRow]:
    """The live messages as ``ports.working_memory.MessageRow``."""
    if recent is not None:
        return _message_rows(orjson.loads(connected.value(_RECENT_ROWS, (session, max(0, recent)))))
    found: list[MessageRow] = []
    for rows in _in_order(connected, _LIVE_ROWS, session):
        found += _message_rows(rows)
    return found


def _message_rows(rows: list[list[Any]]) -> list[MessageRow]:
    """All times are converted at once, which costs a tenth."""
    created = _moments([row[3] for row in rows])
    persisted = iter(_moments([row[5] for row in rows if row[5] is not None]))
    return [
        (identity, role, content, at, name, None if stored is None else next(persisted), bool(extracted))
        for (identity, role, content, _, name, stored, extracted, _), at in zip(rows, created, strict=True)
    ]


def _moments(micros_since_epoch: Sequence[int]) -> list[datetime]:
    """In UTC, without saying so."""
    return np.array(micros_since_epoch, dtype=np.int64).view("datetime64[us]").tolist()


def messages_where(
    connected: Connected, session: int, condition: str, values: tuple[object, ...], *, order: str, limit: int
) -> list[tuple[int, Message]]:
    """(sequence, message) of up to ``limit`` messages. ``condition`` and ``order`` are SQL of ours."""
    text = connected.value(
        f"SELECT json_group_array({_AS_ARRAY} ORDER BY seq {order}) FROM (SELECT * FROM messages WHERE session = ? "
        f"AND {condition} ORDER BY seq {order} LIMIT ?)",
        (session, *values, limit),
    )
    return [(found[8], message_of(found)) for found in orjson.loads(text)]


def insert_messages(connected: Connected, session: int, messages: Iterable[Message], *, first_seq: int) -> None:
    connected.many(
        "INSERT INTO messages (session, seq, id, role, created_at, name, persisted_at, extracted, token_count, content) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                session,
                seq,
                message.id,
                message.role,
                micros(message.created_at),
                message.name,
                micros_or_none(message.persisted_at),
                int(message.extracted),
                message.token_count,
                message.content,
            )
            for seq, message in enumerate(messages, first_seq)
        ),
    )


# -- the session as a whole -------------------------------------------------------------------------------------------


def session_of(row: SessionRow, scope: Scope, messages: tuple[Message, ...]) -> Session:
    return Session(
        scope=scope,
        messages=messages,
        memories=memories_from(row.memories),
        data=None if row.data is None else from_json(row.data),
        context=row.context,
        tokens=row.tokens,
        strategy=Strategy(name=row.strategy, config=from_json(row.strategy_config))
        if row.strategy_config
        else Strategy(name=row.strategy),
        ttl_seconds=row.ttl_seconds,
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
        last_accessed=instant(row.last_accessed),
        epoch=row.epoch,
        revision=row.revision,
        message_count=row.live_count,
        archived_count=row.archived_count,
        summarization=Summarization(row.summarization),
    )


def memories_to(memories: Iterable[Memory]) -> str | None:
    documents = [document_of(memory) for memory in memories]
    return to_json(documents) if documents else None


def memories_from(text: str | None) -> tuple[Memory, ...]:
    return tuple(memory_of_document(document) for document in from_json(text)) if text else ()


def insert_session(
    connected: Connected, *, tenant_id: int, scope_id: int, session_id: str, epoch: str, at: datetime
) -> SessionRow:
    """An empty session of revision 0, in its first moment."""
    moment = micros(at)
    connected.execute(
        "INSERT INTO sessions (tenant_id, scope_id, session_id, epoch, revision, created_at, updated_at, last_accessed, "
        "tokens, strategy, live_count, next_seq) VALUES (?, ?, ?, ?, 0, ?, ?, ?, 0, ?, 0, 1)",
        (tenant_id, scope_id, session_id, epoch, moment, moment, moment, Strategy().name),
    )
    return SessionRow(
        id=connected.last_id,
        epoch=epoch,
        revision=0,
        created_at=moment,
        updated_at=moment,
        last_accessed=moment,
        expires_at=None,
        ttl_seconds=None,
        context=None,
        tokens=0,
        data=None,
        strategy=Strategy().name,
        strategy_config=None,
        memories=None,
        live_count=0,
        archived_count=0,
        next_seq=1,
        promoted_through=0,
        summarization=Summarization.NONE.value,
        live_tokens=0,
    )


def save_session(connected: Connected, row: SessionRow) -> None:
    connected.execute(
        "UPDATE sessions SET revision = ?, created_at = ?, updated_at = ?, last_accessed = ?, expires_at = ?, "
        "ttl_seconds = ?, context = ?, tokens = ?, data = ?, strategy = ?, strategy_config = ?, memories = ?, "
        "live_count = ?, next_seq = ?, live_tokens = ? WHERE id = ?",
        (
            row.revision,
            row.created_at,
            row.updated_at,
            row.last_accessed,
            row.expires_at,
            row.ttl_seconds,
            row.context,
            row.tokens,
            row.data,
            row.strategy,
            row.strategy_config,
            row.memories,
            row.live_count,
            row.next_seq,
            row.live_tokens,
            row.id,
        ),
    )


def expiry(at: datetime, ttl_seconds: int | None) -> int | None:
    return None if ttl_seconds is None else micros(at) + ttl_seconds * 1_000_000


def remove_session(connected: Connected, row: SessionRow, scope: Scope) -> None:
    """Take away the session, all its messages and its pending work."""
    connected.execute("DELETE FROM messages WHERE session = ?", (row.id,))
    connected.execute("DELETE FROM sessions WHERE id = ?", (row.id,))
    scope_id = known_scope(connected, scope.tenant, scope.namespace, scope.user_id)
    pending = connected.rows(
        "SELECT id, payload FROM outbox WHERE scope_id = ? AND kind IN (SELECT value FROM json_each(?))",
        (scope_id, to_json([kind.value for kind in SESSION_INTENTS])),
    )
    for intent, payload in pending:
        if from_json(payload).get("session_id") == scope.session_id:
            connected.execute("DELETE FROM outbox WHERE id = ?", (intent,))


def position(cursor: str) -> int:
    """The sequence that a cursor of ``page`` names."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInput("This cursor was not made by this server.", field=("query", "cursor"))
    return int(cursor)


def with_marks(message: Message, marked: Message) -> Message:
    """The message with the server's own marks of what is stored."""
    return replace(message, extracted=marked.extracted, persisted_at=marked.persisted_at)
