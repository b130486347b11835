"""A session's keys: reading them as one view, and changing them within the caller's transaction.

The *head* is a small document that every change of the session renews, so checking it checks everything of the session. The
*body* holds what may be long. Messages are fields of a hash, by their sequence; sorted sets say which are live, archived,
copied and extracted. So an append writes the new messages and the head.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import SESSION_INTENTS
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sessions import Message, Session, SessionGuard, Strategy, Summarization, etag_of
from agent_memory_server.errors import InvalidInput, StaleRevision
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Script
from agent_memory_server.stores.redis.encoding import document_of, memory_of
from agent_memory_server.stores.redis.intents import drop_row, row_key, session_subject, subject_key
from agent_memory_server.stores.redis.scopes import register
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import instant, micros, to_json

READ_MESSAGES = Script("messages", writes=False)
_PAIRS_AT_ONCE = 1_000
"""Pairs in one command: Lua hands over at most some thousand arguments."""
_MESSAGES_AT_ONCE = 1_000
_KEPT_BYTES = 500
"""What a message takes in memory beside its content."""

Body = dict[str, Any]


class SessionKeys:
    """Where one session lives."""

    def __init__(self, scope: Scope) -> None:
        if scope.session_id is None:
            raise InvalidInput("A session has an id.")
        found = naming.digest(scope.namespace, scope.user_id, scope.session_id)

        def key(part: str) -> str:
            return naming.in_tenant(scope.tenant, part, found)

        self.head = key("session")
        self.body = key("session-body")
        self.messages = key("session-messages")
        """Hash: sequence → message."""
        self.ids = key("session-ids")
        """Hash: message id → sequence."""
        self.live = key("session-live")
        self.all = key("session-all")
        self.recent = key("session-recent")
        """The live ones by when they were said, then by arrival."""
        self.unpromoted = key("session-unpromoted")
        self.unextracted = key("session-unextracted")
        self.named = naming.in_tenant(scope.tenant, "sessions-named", naming.digest(scope.session_id))
        """Set: the owners that have a session of this id."""
        self.member = naming.ordered_member(scope.session_id, naming.owner_digest(scope.namespace, scope.user_id))

    @property
    def own(self) -> tuple[str, ...]:
        return (
            self.body,
            self.messages,
            self.ids,
            self.live,
            self.all,
            self.recent,
            self.unpromoted,
            self.unextracted,
        )


def listing_key(tenant: str, tag: str) -> str:
    """Sorted set of a selection's sessions by when they were updated, the latest first."""
    return naming.in_tenant(tenant, "sessions", tag)


def expiring_key(tenant: str, tag: str) -> str:
    return naming.in_tenant(tenant, "sessions-expiring", tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    epoch: str
    revision: int
    created_at: int
    updated_at: int
    last_accessed: int
    expires_at: int | None = None
    ttl_seconds: int | None = None
    tokens: int = 0
    strategy: str = Strategy().name
    live_count: int = 0
    archived_count: int = 0
    live_tokens: int = 0
    next_seq: int = 1
    summarization: str = Summarization.NONE.value
    changes: int = 0
    """Counts every write, marks too: what checks compare."""

    @property
    def etag(self) -> str:
        return etag_of(self.epoch, self.revision)

    def is_live(self, now: datetime) -> bool:
        return self.expires_at is None or self.expires_at > micros(now)


def head_of(document: dict[str, Any] | None) -> Head | None:
    return None if document is None else Head(**document)


def document_of_head(head: Head) -> dict[str, Any]:
    return {name: getattr(head, name) for name in Head.__slots__}


async def read_head(transaction: Transaction, scope: Scope) -> Head | None:
    """The session of this exact scope, expired or not."""
    return head_of(await transaction.document(SessionKeys(scope).head))


async def guard_holds(transaction: Transaction, guard: SessionGuard, *, now: datetime) -> bool:
    """Whether the session lives the life that the guard saw."""
    head = await read_head(transaction, guard.scope)
    return head is not None and head.epoch == guard.epoch and head.is_live(now)


def check_match(head: Head | None, if_match: Sequence[str] | None, *, if_none_match: bool = False) -> None:
    """Raise StaleRevision when a precondition does not hold."""
    if if_none_match and head is not None:
        raise StaleRevision("The session exists already.")
    if if_match is not None and (head is None or not ("*" in if_match or head.etag in if_match)):
        raise StaleRevision("The session was changed meanwhile; read it again.")


# -- the session as a whole -------------------------------------------------------------------------------------------


def session_of(head: Head, body: Body, scope: Scope, messages: tuple[Message, ...]) -> Session:
    return Session(
        scope=scope,
        messages=messages,
        memories=memories_from(body),
        data=body.get("data"),
        context=body.get("context"),
        tokens=head.tokens,
        strategy=Strategy(name=head.strategy, config=body.get("strategy_config") or {}),
        ttl_seconds=head.ttl_seconds,
        created_at=instant(head.created_at),
        updated_at=instant(head.updated_at),
        last_accessed=instant(head.last_accessed),
        epoch=head.epoch,
        revision=head.revision,
        message_count=head.live_count,
        archived_count=head.archived_count,
        summarization=Summarization(head.summarization),
    )


def memories_to(memories: Iterable[Memory]) -> list[dict[str, Any]]:
    return [document_of(memory) for memory in memories]


def memories_from(body: Body) -> tuple[Memory, ...]:
    return tuple(memory_of(document) for document in body.get("memories") or ())


def new_head(*, epoch: str, at: datetime) -> Head:
    """An empty session of revision 0, in its first moment."""
    moment = micros(at)
    return Head(epoch=epoch, revision=0, created_at=moment, updated_at=moment, last_accessed=moment)


def save_head(transaction: Transaction, scope: Scope, head: Head, *, before: Head | None) -> None:
    """Store the head with everything that lists the session by it."""
    keys = SessionKeys(scope)
    head = replace(head, changes=head.changes + 1)
    transaction.put(keys.head, document_of_head(head))
    tags = naming.tags_of(scope)
    if before is None:
        register(transaction, scope.owner)
        transaction.add(keys.named, naming.owner_digest(scope.namespace, scope.user_id))
    if before is None or before.updated_at != head.updated_at:
        for tag in tags:
            transaction.command("ZADD", listing_key(scope.tenant, tag), -head.updated_at, keys.member)
    if head.expires_at == (None if before is None else before.expires_at):
        return
    named = to_json([scope.tenant, scope.namespace, scope.user_id, scope.session_id])
    if head.expires_at is None:
        transaction.command("ZREM", naming.EXPIRING_SESSIONS, named)
    else:
        transaction.command("ZADD", naming.EXPIRING_SESSIONS, head.expires_at, named)
    for tag in tags:
        if head.expires_at is None:
            transaction.command("ZREM", expiring_key(scope.tenant, tag), keys.member)
        else:
            transaction.command("ZADD", expiring_key(scope.tenant, tag), head.expires_at, keys.member)


def expiry(at: datetime, ttl_seconds: int | None) -> int | None:
    return None if ttl_seconds is None else micros(at) + ttl_seconds * 1_000_000


async def remove_session(transaction: Transaction, scope: Scope) -> None:
    """Take away the session, all its messages and its pending work."""
    keys = SessionKeys(scope)
    transaction.drop(keys.head)
    transaction.put(keys.body, {})
    transaction.command("DEL", *keys.own)
    transaction.discard(keys.named, naming.owner_digest(scope.namespace, scope.user_id))
    for tag in naming.tags_of(scope):
        transaction.command("ZREM", listing_key(scope.tenant, tag), keys.member)
        transaction.command("ZREM", expiring_key(scope.tenant, tag), keys.member)
    named = to_json([scope.tenant, scope.namespace, scope.user_id, scope.session_id])
    transaction.command("ZREM", naming.EXPIRING_SESSIONS, named)
    about = subject_key(scope.tenant, scope.namespace, scope.user_id, session_subject(scope.session_id or ""))
    digests = sorted(await transaction.members(about))
    rows = await transaction.documents([row_key(digest) for digest in digests]) if digests else []
    for digest, row in zip(digests, rows, strict=True):
        if row is not None and row["kind"] in {kind.value for kind in SESSION_INTENTS}:
            drop_row(transaction, digest, row)


def position(cursor: str) -> int:
    """The sequence that a cursor of ``page`` names."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInput("This cursor was not made by this server.", field=("query", "cursor"))
    return int(cursor)
