"""Rows of pending work: asking for it within a caller's transaction, and keeping the indexes of a row in step with it.

A row lives under the digest of (owner scope, kind, key), which is what makes a second request the same work. Its ``id`` is
new with each life of the row, so that a late outcome of an earlier life finds another one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import count
from typing import Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.records import derived_id
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.scopes import register
from agent_memory_server.stores.redis.task_rows import record_task
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import micros, to_json

Row = dict[str, Any]
_numbers = count()
_DELAYED_AT_MOST = 10
"""A delay that is asked for again and again (debounce) holds work back at most so many times as long as it is."""


def row_digest(tenant: str, namespace: str | None, user_id: str | None, kind: str, key: str) -> str:
    return naming.digest(tenant, namespace, user_id, kind, key)


def row_key(digest: str) -> str:
    return naming.PREFIX + "work:" + digest


def row_keys(intents: Iterable[Intent]) -> list[str]:
    """Where the rows of these intents are, or will be."""
    return [row_key(row_digest(each.tenant, each.namespace, each.user_id, each.kind, each.key)) for each in intents]


def due_key(kind: str) -> str:
    """Sorted set of what is not dead, by when it is due (or free again)."""
    return naming.PREFIX + "due:" + naming.digest(kind)


def subject_key(tenant: str, namespace: str | None, user_id: str | None, subject: str) -> str:
    """Set of the rows about one session or view."""
    return naming.in_tenant(tenant, "about", naming.digest(namespace, user_id, subject))


def session_subject(session_id: str) -> str:
    return "session:" + session_id


def view_subject(view_id: str) -> str:
    return "view:" + view_id


def _subjects(payload: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name, subject in (("session_id", session_subject), ("view_id", view_subject)):
        value = payload.get(name)
        if isinstance(value, str):
            found.append(subject(value))
    return found


def task_id_of(intent: Intent) -> str:
    """The task that a client may ask about: the same for each request of the same kind and key in one owner scope."""
    given = intent.payload.get("task_id")
    if isinstance(given, str) and given:
        return given
    return derived_id("task", to_json([intent.tenant, intent.namespace, intent.user_id]), intent.kind, intent.key)


async def request_work(transaction: Transaction, intents: Iterable[Intent], *, at: datetime) -> None:
    """Record what is to be done. What is waiting already is not doubled; what failed for good begins anew."""
    wanted = list(intents)
    digests = [row_digest(each.tenant, each.namespace, each.user_id, each.kind, each.key) for each in wanted]
    if wanted:
        await transaction.documents([row_key(digest) for digest in digests])
    for intent, digest in zip(wanted, digests, strict=True):
        held: Row | None = await transaction.document(row_key(digest))
        row = _requested(held, intent, at=micros(at))
        if held is None:
            register(transaction, Scope(intent.tenant, intent.namespace, intent.user_id))
            transaction.command("SADD", naming.KINDS, intent.kind)
        put_row(transaction, digest, row, before=held)
        if intent.task is not None:
            await record_task(transaction, intent.task, intent, digest=digest, row=row, at=at)


def _requested(held: Row | None, intent: Intent, *, at: int) -> Row:
    not_before = at if intent.not_before is None else micros(intent.not_before)
    payload = dict(intent.payload)
    if held is None or held["dead"]:
        number = (at << 40) | ((next(_numbers) & 0xFFFFF) << 20) | secrets.randbits(20)
        return {
            "id": number if held is None else held["id"],
            "tenant": intent.tenant,
            "namespace": intent.namespace,
            "user_id": intent.user_id,
            "kind": intent.kind,
            "key": intent.key,
            "payload": payload,
            "created_at": at,
            "requested_at": at,
            "not_before": not_before,
            "attempts": 0,
            "generation": 1 if held is None else held["generation"] + 1,
            "claimed_until": None if held is None else held["claimed_until"],
            "reason": None,
            "dead": False,
            "task_id": task_id_of(intent),
            "traceparent": intent.traceparent,
        }
    latest = held["created_at"] + _DELAYED_AT_MOST * (not_before - at)
    return {
        **held,
        "payload": payload,
        "requested_at": at,
        "not_before": min(not_before, latest),
        "generation": held["generation"] + 1,
        "traceparent": intent.traceparent or held.get("traceparent"),
    }


def put_row(transaction: Transaction, digest: str, row: Row, *, before: Row | None) -> None:
    """Store the row as it is now, with its indexes."""
    transaction.put(row_key(digest), row)
    tags = naming.tags_of(Scope(row["tenant"], row["namespace"], row["user_id"]))
    if row["dead"]:
        transaction.command("ZREM", due_key(row["kind"]), digest)
    else:
        due = max(row["not_before"], row["claimed_until"] or 0)
        transaction.command("ZADD", due_key(row["kind"]), due, digest)
    if before is None or before["dead"] != row["dead"] or before["created_at"] != row["created_at"]:
        here, there = ("dead", "waiting") if row["dead"] else ("waiting", "dead")
        for holding, left in _listings(row["tenant"], tags, here, there):
            transaction.command("ZADD", holding, row["created_at"], digest)
            if before is not None and before["dead"] != row["dead"]:
                transaction.command("ZREM", left, digest)
    if before is None or before["payload"] != row["payload"]:
        owner = (row["tenant"], row["namespace"], row["user_id"])
        for subject in _subjects({} if before is None else before["payload"]):
            transaction.discard(subject_key(*owner, subject), digest)
        for subject in _subjects(row["payload"]):
            transaction.add(subject_key(*owner, subject), digest)


def _listings(tenant: str, tags: Iterable[str], here: str, there: str) -> list[tuple[str, str]]:
    whole = {"waiting": naming.WAITING, "dead": naming.DEAD}
    return [
        (whole[here], whole[there]),
        *((listing_key(tenant, here, tag), listing_key(tenant, there, tag)) for tag in tags),
    ]


def listing_key(tenant: str, state: str, tag: str) -> str:
    """Sorted set of a selection's rows that are waiting or dead, by the time they were asked for."""
    return naming.in_tenant(tenant, state, tag)


def drop_row(transaction: Transaction, digest: str, row: Row) -> None:
    transaction.drop(row_key(digest))
    transaction.command("ZREM", due_key(row["kind"]), digest)
    transaction.command("DEL", followers_key(row))
    state = "dead" if row["dead"] else "waiting"
    for holding, _ in _listings(
        row["tenant"], naming.tags_of(Scope(row["tenant"], row["namespace"], row["user_id"])), state, state
    ):
        transaction.command("ZREM", holding, digest)
    for subject in _subjects(row["payload"]):
        transaction.discard(subject_key(row["tenant"], row["namespace"], row["user_id"], subject), digest)


def followers_key(row: Row) -> str:
    """Set of the tasks that follow this life of the row."""
    return naming.in_tenant(row["tenant"], "followers", str(row["id"]))
