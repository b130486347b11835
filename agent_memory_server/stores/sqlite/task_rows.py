"""How a task follows its intent: each function runs in the transaction that changes the intent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import TASK_LIFE, Task, TaskStatus, task_kind, task_type
from agent_memory_server.domain.operations import Intent, TaskRequest
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.scoping import interned_scope, interned_tenant
from agent_memory_server.stores.values import instant, instant_or_none, micros, to_json

_LIFE = TASK_LIFE // TASK_LIFE.resolution
_PURGED_AT_ONCE = 20
"""Each new task takes so many expired ones away, so that the table does not grow beyond a week's tasks."""

_OPEN = "status IN ('pending', 'running')"

TASK_COLUMNS = (
    "t.id, c.namespace, c.user_id, t.kind, t.status, t.created_at, t.view_id, t.started_at, t.completed_at, "
    "t.error_message, t.result"
)
"""What ``task_of`` reads, from ``tasks t JOIN scopes c``, after the tenant's name."""


def task_of(tenant: str, row: Row) -> Task:
    """The task of one row of ``TASK_COLUMNS``."""
    task_id, namespace, user_id, kind, status, created_at, view_id, started_at, completed_at, error_message, result = (
        row
    )
    return Task(
        id=task_id,
        scope=Scope(tenant, namespace, user_id),
        type=task_type(kind),
        status=TaskStatus(status),
        created_at=instant(created_at),
        view_id=view_id,
        started_at=instant_or_none(started_at),
        completed_at=instant_or_none(completed_at),
        error_message=error_message,
        result=None if result is None else from_json(result),
    )


def record_task(
    connected: Connected, request: TaskRequest, intent: Intent, *, outbox_id: int, generation: int, at: datetime
) -> None:
    """A pending task that follows the intent. An id that is taken stays with its first task."""
    owner = request.owner
    connected.execute(
        "DELETE FROM tasks WHERE number IN (SELECT number FROM tasks WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        (micros(at), _PURGED_AT_ONCE),
    )
    connected.execute(
        "INSERT INTO tasks (tenant_id, scope_id, id, kind, view_id, intent, generation, status, created_at, expires_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?) ON CONFLICT (tenant_id, id, scope_id) DO NOTHING",
        (
            interned_tenant(connected, owner.tenant),
            interned_scope(connected, owner.tenant, owner.namespace, owner.user_id),
            request.id,
            task_kind(intent.kind, intent.payload),
            intent.payload.get("view_id"),
            outbox_id,
            generation,
            micros(at),
            micros(at) + _LIFE,
        ),
    )


def tasks_claimed(connected: Connected, claimed: Iterable[tuple[int, int]], *, at: datetime) -> None:
    """The intents (row, generation) are being worked on."""
    for outbox_id, generation in claimed:
        connected.execute(
            "UPDATE tasks SET status = 'running', started_at = ifnull(started_at, ?1), expires_at = ?1 + ?2 "
            "WHERE intent = ?3 AND generation <= ?4 AND status = 'pending'",
            (micros(at), _LIFE, outbox_id, generation),
        )


def tasks_completed(
    connected: Connected, *, outbox_id: int, generation: int, result: Mapping[str, Any] | None, at: datetime
) -> None:
    """What was asked for up to this generation is done."""
    connected.execute(
        "UPDATE tasks SET status = 'success', started_at = ifnull(started_at, ?1), completed_at = ?1, "
        "error_message = NULL, expires_at = ?1 + ?2, result = ?5 "
        f"WHERE intent = ?3 AND generation <= ?4 AND {_OPEN}",
        (micros(at), _LIFE, outbox_id, generation, None if result is None else to_json(dict(result))),
    )


def tasks_failed(connected: Connected, *, outbox_id: int, reason: str, at: datetime) -> None:
    """An attempt failed. What follows a dead intent failed with it; the others keep the reason and wait for the next."""
    is_dead = connected.value("SELECT dead FROM outbox WHERE id = ?", (outbox_id,)) == 1
    if is_dead:
        fail_tasks(connected, outbox_id=outbox_id, reason=reason, at=at)
        return
    connected.execute(
        f"UPDATE tasks SET error_message = ?, expires_at = ? WHERE intent = ? AND {_OPEN}",
        (reason, micros(at) + _LIFE, outbox_id),
    )


def fail_tasks(connected: Connected, *, outbox_id: int, reason: str, at: datetime) -> None:
    """Nothing will be done about the intent any more."""
    connected.execute(
        "UPDATE tasks SET status = 'failed', completed_at = max(?1, ifnull(started_at, ?1)), error_message = ?2, "
        f"expires_at = ?1 + ?3 WHERE intent = ?4 AND {_OPEN}",
        (micros(at), reason, _LIFE, outbox_id),
    )


def tasks_replayed(connected: Connected, *, outbox_id: int, at: datetime) -> None:
    """The dead intent has all its attempts before it again."""
    connected.execute(
        "UPDATE tasks SET status = 'pending', started_at = NULL, completed_at = NULL, error_message = NULL, "
        "expires_at = ? WHERE intent = ? AND status = 'failed'",
        (micros(at) + _LIFE, outbox_id),
    )
