"""The reference server's sessions, decoded: RedisJSON documents and the older strings that hold the same.

A session's key says whose it is ambiguously: ``working_memory:a:b`` may be user a's, namespace a's, or the session "a:b". So the
document says it, and the key is only asked when the document does not and there is no doubt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.records import Memory, derived_id
from agent_memory_server.domain.sessions import Message, Session, Strategy
from agent_memory_server.domain.transfer import SessionMessage, SessionRecord
from agent_memory_server.stores.reference.layout import Notes, Reading, memory_of
from agent_memory_server.stores.reference.values import (
    CannotRead,
    flag_of,
    json_of,
    listed,
    moment_of,
    number_of,
    object_of,
    optional_text,
    required_text,
)

PREFIX = "working_memory:"
STATUS_KEYS = frozenset({"working_memory:migration:complete", "working_memory:migration:remaining"})
"""Strings of the reference's own migration, unless a session of that name is there."""
NO_MESSAGE_ID = "with messages without an id: given one"
TWICE = "with two messages of one id: the second was given another"
NO_MESSAGE_TIME = "with messages without a time: the session's own"
OLD_FORM = "in the older form (a string)"
Count = Callable[[str], int]
"""Tokens of a text."""


def canonical_key(scope: Scope) -> str:
    """The key under which the reference server keeps this session, and perhaps another one."""
    return PREFIX + ":".join(part for part in (scope.namespace, scope.user_id, scope.session_id) if part)


def is_status(key: str, value: bytes) -> bool:
    """Whether a string under a status key is the status and not a session."""
    return key in STATUS_KEYS and not value.lstrip().startswith(b"{")


def decode_session(
    key: str, value: bytes, reading: Reading, notes: Notes, *, expires_at: datetime | None, count: Count
) -> tuple[SessionRecord, tuple[SessionMessage, ...]]:
    """The session with its messages, in their order."""
    document = object_of(json_of(value, "the session"), "the session")
    scope = _scope_of(key, document, reading)
    created_at = moment_of(document.get("created_at"), "created_at")
    updated_at = moment_of(document.get("updated_at"), "updated_at")
    created_at = created_at or updated_at or reading.begun_at
    messages = _messages(document, key, created_at, notes)
    counted = tuple(
        SessionMessage(
            sequence=number,
            archived=False,
            message=replace(each, token_count=count(f"{each.role}: {each.content}")),
        )
        for number, each in enumerate(messages, 1)
    )
    data = document.get("data")
    context = document.get("context")
    ttl_seconds = document.get("ttl_seconds")
    session = Session(
        scope=scope,
        messages=(),
        memories=_memories(document, reading, key),
        data=None if data is None else object_of(data, "data"),
        context=None if context is None else required_text(context, "context"),
        tokens=max(0, number_of(document.get("tokens"), "tokens", absent=0)),
        strategy=_strategy(document.get("long_term_memory_strategy")),
        ttl_seconds=None if ttl_seconds is None else number_of(ttl_seconds, "ttl_seconds", absent=0),
        created_at=created_at,
        updated_at=updated_at or created_at,
        last_accessed=moment_of(document.get("last_accessed"), "last_accessed") or updated_at or created_at,
        # One life for one content: what is read again unchanged is the same session.
        epoch=derived_id("reference session", key, hashlib.sha256(value).hexdigest()),
        revision=1,
        message_count=len(counted),
    )
    return SessionRecord(session=session, expires_at=expires_at), counted


def _scope_of(key: str, document: Mapping[str, Any], reading: Reading) -> Scope:
    namespace = optional_text(document.get("namespace"), "namespace")
    user_id = optional_text(document.get("user_id"), "user_id")
    session_id = optional_text(document.get("session_id"), "session_id")
    if session_id is None:
        leading = PREFIX + "".join(f"{part}:" for part in (namespace, user_id) if part)
        rest = key.removeprefix(leading) if key.startswith(leading) else ""
        if not rest or (":" in rest and not (namespace or user_id)):
            raise CannotRead("it does not say which session of whom it is, and its key can be read in several ways")
        session_id = rest
    return reading.owner(namespace, user_id, session_id)


def _messages(document: Mapping[str, Any], key: str, created_at: datetime, notes: Notes) -> list[Message]:
    found: list[Message] = []
    seen: set[str] = set()
    for number, each in enumerate(listed(document.get("messages") or [], "messages")):
        what = f"messages[{number}]"
        given = object_of(each, what)
        identity = optional_text(given.get("id"), f"{what}.id")
        if identity is None:
            notes.add(NO_MESSAGE_ID)
            identity = derived_id("reference message", key, str(number))
        elif identity in seen:
            notes.add(TWICE)
            identity = derived_id("reference message", key, identity, str(number))
        seen.add(identity)
        said_at = moment_of(given.get("created_at"), f"{what}.created_at")
        if said_at is None:
            notes.add(NO_MESSAGE_TIME)
        found.append(
            Message(
                id=identity,
                role=required_text(given.get("role"), f"{what}.role"),
                content=required_text(given.get("content"), f"{what}.content"),
                created_at=said_at or created_at,
                persisted_at=moment_of(given.get("persisted_at"), f"{what}.persisted_at"),
                extracted=flag_of(
                    given.get("discrete_memory_extracted"), f"{what}.discrete_memory_extracted", absent=False
                ),
            )
        )
    return found


def _memories(document: Mapping[str, Any], reading: Reading, key: str) -> tuple[Memory, ...]:
    found: list[Memory] = []
    for number, each in enumerate(listed(document.get("memories") or [], "memories")):
        given = object_of(each, f"memories[{number}]")
        identity = optional_text(given.get("id") or given.get("id_"), f"memories[{number}].id")
        identity = identity or derived_id("reference session memory", key, str(number))
        found.append(memory_of(given, reading, Notes(), identity=identity))
    return tuple(found)


def _strategy(value: object) -> Strategy:
    if value is None:
        return Strategy()
    given = object_of(value, "long_term_memory_strategy")
    name = optional_text(given.get("strategy"), "long_term_memory_strategy.strategy")
    config = object_of(given.get("config") or {}, "long_term_memory_strategy.config")
    return Strategy(name=name or Strategy().name, config=config)


def intents_of(
    record: SessionRecord, messages: Sequence[SessionMessage], *, extraction_is_pending: bool
) -> tuple[Intent, ...]:
    """What the reference server had not done yet: structured memories to promote, messages to extract from."""
    kinds: list[IntentKind] = []
    if any(memory.persisted_at is None for memory in record.session.memories):
        kinds.append(IntentKind.PROMOTE_WORKING_MEMORY)
    if extraction_is_pending and any(not each.message.extracted for each in messages):
        kinds.append(IntentKind.RUN_DELAYED_EXTRACTION)
    scope = record.session.scope
    return tuple(
        Intent(
            kind=kind.value,
            key=scope.session_id or "",
            tenant=scope.tenant,
            namespace=scope.namespace,
            user_id=scope.user_id,
            payload={"session_id": scope.session_id},
        )
        for kind in kinds
    )
