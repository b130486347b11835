"""How a task follows its intent: each function is part of the transaction that changes the intent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import TASK_LIFE, Task, TaskStatus, task_kind, task_type
from agent_memory_server.domain.operations import TaskRequest
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.scopes import register
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import instant, instant_or_none, micros

if TYPE_CHECKING:
    from agent_memory_server.domain.operations import Intent

TaskRow = dict[str, Any]
_LIFE = TASK_LIFE // TASK_LIFE.resolution
_PURGED_AT_ONCE = 20
"""Each new task takes so many expired ones away, so that no more than a week's tasks are kept."""
OPEN = ("pending", "running")


def task_digest(owner: Scope, task_id: str) -> str:
    return naming.digest(owner.namespace, owner.user_id, task_id)


def task_key(tenant: str, digest: str) -> str:
    return naming.in_tenant(tenant, "task", digest)


def named_key(tenant: str, task_id: str) -> str:
    """Set of the tasks with this id."""
    return naming.in_tenant(tenant, "tasks-named", naming.digest(task_id))


def listed_key(tenant: str, tag: str) -> str:
    """Sorted set of a selection's tasks by the time they were asked for."""
    return naming.in_tenant(tenant, "tasks", tag)


def expiring_key(tenant: str) -> str:
    return naming.in_tenant(tenant, "tasks-expiring")


def task_of(tenant: str, row: TaskRow) -> Task:
    return Task(
        id=row["id"],
        scope=Scope(tenant, row["namespace"], row["user_id"]),
        type=task_type(row["kind"]),
        status=TaskStatus(row["status"]),
        created_at=instant(row["created_at"]),
        view_id=row["view_id"],
        started_at=instant_or_none(row["started_at"]),
        completed_at=instant_or_none(row["completed_at"]),
        error_message=row["error_message"],
        result=row["result"],
    )


async def record_task(
    transaction: Transaction, request: TaskRequest, intent: Intent, *, digest: str, row: Mapping[str, Any], at: datetime
) -> None:
    """A pending task that follows the intent. An id that is taken stays with its first task."""
    owner = request.owner
    await purge_expired_tasks(transaction, owner.tenant, at=at)
    found = task_digest(owner, request.id)
    if await transaction.document(task_key(owner.tenant, found)) is not None:
        return
    register(transaction, owner)
    made: TaskRow = {
        "id": request.id,
        "namespace": owner.namespace,
        "user_id": owner.user_id,
        "kind": task_kind(intent.kind, intent.payload),
        "view_id": intent.payload.get("view_id"),
        "intent": digest,
        "intent_id": row["id"],
        "generation": row["generation"],
        "status": TaskStatus.PENDING.value,
        "created_at": micros(at),
        "started_at": None,
        "completed_at": None,
        "error_message": None,
        "result": None,
    }
    _put(transaction, owner.tenant, found, made, at=at)
    transaction.add(named_key(owner.tenant, request.id), found)
    transaction.add(naming.in_tenant(intent.tenant, "followers", str(row["id"])), f"{owner.tenant}\0{found}")
    for tag in naming.tags_of(owner):
        transaction.command("ZADD", listed_key(owner.tenant, tag), micros(at), found)


def _put(transaction: Transaction, tenant: str, digest: str, row: TaskRow, *, at: datetime) -> None:
    row["expires_at"] = micros(at) + _LIFE
    transaction.put(task_key(tenant, digest), row)
    transaction.command("ZADD", expiring_key(tenant), row["expires_at"], digest)


async def purge_expired_tasks(transaction: Transaction, tenant: str, *, at: datetime) -> None:
    old = await transaction.link.read(
        "ZRANGEBYSCORE", expiring_key(tenant), "-inf", micros(at), "LIMIT", 0, _PURGED_AT_ONCE
    )
    digests = [each.decode() for each in old]
    if not digests:
        return
    rows = await transaction.documents([task_key(tenant, digest) for digest in digests])
    for digest, row in zip(digests, rows, strict=True):
        if row is not None and row["expires_at"] <= micros(at):
            drop_task(transaction, tenant, digest, row)


def drop_task(transaction: Transaction, tenant: str, digest: str, row: TaskRow) -> None:
    transaction.drop(task_key(tenant, digest))
    transaction.command("ZREM", expiring_key(tenant), digest)
    transaction.discard(named_key(tenant, row["id"]), digest)
    for tag in naming.tags_of(Scope(tenant, row["namespace"], row["user_id"])):
        transaction.command("ZREM", listed_key(tenant, tag), digest)


async def change_followers(
    transaction: Transaction, row: Mapping[str, Any], change: Callable[[TaskRow], bool], *, at: datetime
) -> None:
    """Apply ``change`` to every task that follows the row; it answers whether it changed anything."""
    followers = await transaction.members(naming.in_tenant(row["tenant"], "followers", str(row["id"])))
    parted = [follower.split("\0", 1) for follower in sorted(followers)]
    tasks = await transaction.documents([task_key(tenant, digest) for tenant, digest in parted]) if parted else []
    for (tenant, digest), task in zip(parted, tasks, strict=True):
        if task is None:
            continue
        changed = dict(task)
        if change(changed):
            _put(transaction, tenant, digest, changed, at=at)


async def tasks_claimed(transaction: Transaction, row: Mapping[str, Any], *, at: datetime) -> None:
    """The intent is being worked on."""

    def change(task: TaskRow) -> bool:
        if task["generation"] > row["generation"] or task["status"] != "pending":
            return False
        task["status"] = "running"
        task["started_at"] = micros(at) if task["started_at"] is None else task["started_at"]
        return True

    await change_followers(transaction, row, change, at=at)


async def tasks_completed(
    transaction: Transaction,
    row: Mapping[str, Any],
    *,
    generation: int,
    result: Mapping[str, Any] | None,
    at: datetime,
) -> None:
    """What was asked for up to this generation is done."""

    def change(task: TaskRow) -> bool:
        if task["generation"] > generation or task["status"] not in OPEN:
            return False
        task["status"] = "success"
        task["started_at"] = micros(at) if task["started_at"] is None else task["started_at"]
        task["completed_at"] = micros(at)
        task["error_message"] = None
        task["result"] = None if result is None else dict(result)
        return True

    await change_followers(transaction, row, change, at=at)


async def tasks_failed(
    transaction: Transaction, row: Mapping[str, Any], *, reason: str, for_good: bool, at: datetime
) -> None:
    """An attempt failed. What follows a dead intent failed with it; the others keep the reason and wait for the next."""

    def change(task: TaskRow) -> bool:
        if task["status"] not in OPEN:
            return False
        task["error_message"] = reason
        if for_good:
            task["status"] = "failed"
            task["completed_at"] = max(micros(at), task["started_at"] or micros(at))
        return True

    await change_followers(transaction, row, change, at=at)


async def tasks_replayed(transaction: Transaction, row: Mapping[str, Any], *, at: datetime) -> None:
    """The dead intent has all its attempts before it again."""

    def change(task: TaskRow) -> bool:
        if task["status"] != "failed":
            return False
        task.update(status="pending", started_at=None, completed_at=None, error_message=None)
        return True

    await change_followers(transaction, row, change, at=at)
