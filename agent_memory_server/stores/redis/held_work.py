"""Pending work and tasks whole, as a transfer reads and writes them over Redis."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.transfer import Key, TaskRecord, WorkRecord
from agent_memory_server.ports.transfer import Portion
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.held_sessions import following, place_in, text_of
from agent_memory_server.stores.redis.intents import Row, put_row, row_digest, row_key
from agent_memory_server.stores.redis.scopes import register
from agent_memory_server.stores.redis.task_rows import (
    TaskRow,
    drop_task,
    expiring_key,
    listed_key,
    named_key,
    task_digest,
    task_key,
    task_of,
)
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import instant, micros, micros_or_none

_LISTS = (naming.WAITING, naming.DEAD)


async def walk_work(link: Link, *, after: str | None, limit: int) -> Portion[WorkRecord]:
    """What waits, then what is dead."""
    number, _, place = (after or "0:0").partition(":")
    cursor, members = await link.read("ZSCAN", _LISTS[int(number)], place, "COUNT", limit)
    keys = [row_key(digest.decode()) for digest in dict.fromkeys(members[::2])]
    held = await link.read("MGET", *keys) if keys else ()
    records = [_work_of(from_json(row)) for row in held if row is not None]
    if text_of(cursor) != "0":
        return Portion(records, f"{number}:{text_of(cursor)}")
    is_last = int(number) + 1 == len(_LISTS)
    return Portion(records, None if is_last else f"{int(number) + 1}:0")


async def work(link: Link, keys: Sequence[Key]) -> list[WorkRecord | None]:
    if not keys:
        return []
    held = await link.read("MGET", *(row_key(digest_of(key)) for key in keys))
    return [None if row is None else _work_of(from_json(row)) for row in held]


def digest_of(key: Key) -> str:
    tenant, namespace, user_id, kind, name = key
    return row_digest(tenant or "", namespace, user_id, kind or "", name or "")


def _work_of(row: Row) -> WorkRecord:
    return WorkRecord(
        owner=Scope(row["tenant"], row["namespace"], row["user_id"]),
        kind=row["kind"],
        name=row["key"],
        payload=row["payload"],
        created_at=instant(row["created_at"]),
        requested_at=instant(row["requested_at"]),
        not_before=instant(row["not_before"]),
        attempts=row["attempts"],
        generation=row["generation"],
        dead=row["dead"],
        reason=row["reason"],
        task_id=row["task_id"],
    )


async def put_work(transaction: Transaction, records: Sequence[WorkRecord]) -> None:
    digests = [digest_of(record.key) for record in records]
    held = await transaction.documents([row_key(digest) for digest in digests]) if digests else []
    for record, digest, before in zip(records, digests, held, strict=True):
        if before is not None:
            continue
        owner = record.owner
        register(transaction, owner)
        transaction.command("SADD", naming.KINDS, record.kind)
        row: Row = {
            "id": (micros(record.created_at) << 40) | secrets.randbits(40),
            "tenant": owner.tenant,
            "namespace": owner.namespace,
            "user_id": owner.user_id,
            "kind": record.kind,
            "key": record.name,
            "payload": dict(record.payload),
            "created_at": micros(record.created_at),
            "requested_at": micros(record.requested_at),
            "not_before": micros(record.not_before),
            "attempts": record.attempts,
            "generation": record.generation,
            "claimed_until": None,
            "reason": record.reason,
            "dead": record.dead,
            "task_id": record.task_id,
        }
        put_row(transaction, digest, row, before=None)


async def walk_tasks(link: Link, *, after: str | None, limit: int, now: datetime) -> Portion[TaskRecord]:
    """Over the tasks of all tenants, one after another."""
    place, tenant = await place_in(link, after)
    if tenant is None:
        return Portion((), None)
    cursor, members = await link.read("ZSCAN", expiring_key(tenant), place[1], "COUNT", limit)
    digests = [digest.decode() for digest in dict.fromkeys(members[::2])]
    found = await _task_records(link, [(tenant, digest) for digest in digests], now=now)
    return Portion([record for record in found if record is not None], await following(link, place[0], text_of(cursor)))


async def tasks(link: Link, keys: Sequence[Key], *, now: datetime) -> list[TaskRecord | None]:
    places = [
        (tenant or "", task_digest(Scope(tenant or "", namespace, user_id), task_id or ""))
        for tenant, namespace, user_id, task_id in keys
    ]
    return await _task_records(link, places, now=now)


async def _task_records(link: Link, places: Sequence[tuple[str, str]], *, now: datetime) -> list[TaskRecord | None]:
    if not places:
        return []
    rows = await link.read("MGET", *(task_key(*place) for place in places))
    found: list[TaskRow | None] = [None if row is None else from_json(row) for row in rows]
    followed = [row_key("") if row is None else row_key(row["intent"]) for row in found]
    intents: list[Row | None] = [
        None if held is None else from_json(held) for held in await link.read("MGET", *followed)
    ]
    records: list[TaskRecord | None] = []
    for (tenant, _), row, intent in zip(places, found, intents, strict=True):
        if row is None or row["expires_at"] <= micros(now):
            records.append(None)
            continue
        follows: Key | None = None
        if intent is not None and intent["id"] == row["intent_id"]:
            follows = (intent["tenant"], intent["namespace"], intent["user_id"], intent["kind"], intent["key"])
        records.append(
            TaskRecord(
                task=task_of(tenant, row),
                kind=row["kind"],
                expires_at=instant(row["expires_at"]),
                follows=follows,
                generation=row["generation"],
            )
        )
    return records


async def put_tasks(transaction: Transaction, records: Sequence[TaskRecord]) -> None:
    for record in records:
        await _put_task(transaction, record)


async def _put_task(transaction: Transaction, record: TaskRecord) -> None:
    task, owner = record.task, record.task.scope
    digest = task_digest(owner, task.id)
    before = await transaction.document(task_key(owner.tenant, digest))
    if before is not None:
        drop_task(transaction, owner.tenant, digest, before)
    followed = digest_of(record.follows) if record.follows is not None else ""
    intent: Row | None = await transaction.document(row_key(followed)) if followed else None
    register(transaction, owner)
    made: TaskRow = {
        "id": task.id,
        "namespace": owner.namespace,
        "user_id": owner.user_id,
        "kind": record.kind,
        "view_id": task.view_id,
        "intent": followed,
        "intent_id": None if intent is None else intent["id"],
        "generation": record.generation,
        "status": task.status.value,
        "created_at": micros(task.created_at),
        "started_at": micros_or_none(task.started_at),
        "completed_at": micros_or_none(task.completed_at),
        "error_message": task.error_message,
        "result": None if task.result is None else dict(task.result),
        "expires_at": micros(record.expires_at),
    }
    transaction.put(task_key(owner.tenant, digest), made)
    transaction.command("ZADD", expiring_key(owner.tenant), made["expires_at"], digest)
    transaction.add(named_key(owner.tenant, task.id), digest)
    if intent is not None:
        followers = naming.in_tenant(intent["tenant"], "followers", str(intent["id"]))
        transaction.add(followers, f"{owner.tenant}\0{digest}")
    for tag in naming.tags_of(owner):
        transaction.command("ZADD", listed_key(owner.tenant, tag), made["created_at"], digest)
