"""Pending work and tasks whole, as a transfer reads and writes them: each function runs within its caller's transaction."""

from __future__ import annotations

from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.transfer import Key, TaskRecord, WorkRecord
from agent_memory_server.ports.transfer import Portion
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.scoping import interned_scope, interned_tenant, known_scope
from agent_memory_server.stores.sqlite.task_rows import TASK_COLUMNS, task_of
from agent_memory_server.stores.values import instant, micros, micros_or_none, to_json

_WORK = (
    "SELECT o.id, n.name, c.namespace, c.user_id, o.kind, o.key, o.payload, o.created_at, o.requested_at, o.not_before, "
    "o.attempts, o.generation, o.dead, o.reason, o.task_id FROM outbox AS o JOIN scopes AS c ON c.id = o.scope_id "
    "JOIN tenants AS n ON n.id = c.tenant_id "
)
_TASKS = (
    f"SELECT t.number, n.name, t.kind, t.expires_at, t.generation, o.kind, o.key, w.namespace, w.user_id, v.name, {TASK_COLUMNS} "
    "FROM tasks AS t JOIN scopes AS c ON c.id = t.scope_id JOIN tenants AS n ON n.id = t.tenant_id "
    "LEFT JOIN outbox AS o ON o.id = t.intent LEFT JOIN scopes AS w ON w.id = o.scope_id "
    "LEFT JOIN tenants AS v ON v.id = w.tenant_id "
)
_GONE = 0
"""Stands for work that is not there: no row has this number."""


def walk_work(connected: Connected, *, after: str | None, limit: int) -> Portion[WorkRecord]:
    rows = connected.rows(_WORK + "WHERE o.id > ? ORDER BY o.id LIMIT ?", (int(after or 0), limit + 1))
    shown = rows[:limit]
    return Portion([_work_of(row) for row in shown], str(shown[-1][0]) if len(rows) > limit else None)


def work(connected: Connected, key: Key) -> WorkRecord | None:
    row = connected.one(_WORK + "WHERE o.scope_id = ? AND o.kind = ? AND o.key = ?", _place(connected, key))
    return None if row is None else _work_of(row)


def _place(connected: Connected, key: Key) -> tuple[int | None, str | None, str | None]:
    tenant, namespace, user_id, kind, name = key
    return known_scope(connected, tenant or "", namespace, user_id), kind, name


def _work_of(row: Row) -> WorkRecord:
    _, tenant, namespace, user_id, kind, name, payload, created, requested, not_before, *rest = row
    attempts, generation, dead, reason, task_id = rest
    return WorkRecord(
        owner=Scope(tenant, namespace, user_id),
        kind=kind,
        name=name,
        payload=from_json(payload),
        created_at=instant(created),
        requested_at=instant(requested),
        not_before=instant(not_before),
        attempts=attempts,
        generation=generation,
        dead=bool(dead),
        reason=reason,
        task_id=task_id,
    )


def put_work(connected: Connected, record: WorkRecord) -> None:
    owner = record.owner
    connected.execute(
        "INSERT INTO outbox (scope_id, kind, key, payload, created_at, requested_at, not_before, attempts, generation, dead, "
        "reason, task_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (scope_id, kind, key) DO NOTHING",
        (
            interned_scope(connected, owner.tenant, owner.namespace, owner.user_id),
            record.kind,
            record.name,
            to_json(dict(record.payload)),
            micros(record.created_at),
            micros(record.requested_at),
            micros(record.not_before),
            record.attempts,
            record.generation,
            int(record.dead),
            record.reason,
            record.task_id,
        ),
    )


def walk_tasks(connected: Connected, *, after: str | None, limit: int, now: datetime) -> Portion[TaskRecord]:
    rows = connected.rows(
        _TASKS + "WHERE t.number > ? AND t.expires_at > ? ORDER BY t.number LIMIT ?",
        (int(after or 0), micros(now), limit + 1),
    )
    shown = rows[:limit]
    return Portion([_task_of(row) for row in shown], str(shown[-1][0]) if len(rows) > limit else None)


def task(connected: Connected, key: Key, *, now: datetime) -> TaskRecord | None:
    tenant, namespace, user_id, task_id = key
    row = connected.one(
        _TASKS + "WHERE n.name = ? AND t.id = ? AND t.scope_id = ? AND t.expires_at > ?",
        (tenant, task_id, known_scope(connected, tenant or "", namespace, user_id), micros(now)),
    )
    return None if row is None else _task_of(row)


def _task_of(row: Row) -> TaskRecord:
    _, tenant, kind, expires_at, generation, work_kind, work_name, namespace, user_id, work_tenant, *columns = row
    return TaskRecord(
        task=task_of(tenant, tuple(columns)),
        kind=kind,
        expires_at=instant(expires_at),
        follows=None if work_kind is None else (work_tenant, namespace, user_id, work_kind, work_name),
        generation=generation,
    )


def put_task(connected: Connected, record: TaskRecord) -> None:
    task, scope = record.task, record.task.scope
    followed = None
    if record.follows is not None:
        followed = connected.value(
            "SELECT id FROM outbox WHERE scope_id = ? AND kind = ? AND key = ?", _place(connected, record.follows)
        )
    connected.execute(
        "INSERT OR REPLACE INTO tasks (tenant_id, scope_id, id, kind, view_id, intent, generation, status, created_at, "
        "started_at, completed_at, error_message, expires_at, result) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            interned_tenant(connected, scope.tenant),
            interned_scope(connected, scope.tenant, scope.namespace, scope.user_id),
            task.id,
            record.kind,
            task.view_id,
            followed or _GONE,
            record.generation,
            task.status.value,
            micros(task.created_at),
            micros_or_none(task.started_at),
            micros_or_none(task.completed_at),
            task.error_message,
            micros(record.expires_at),
            None if task.result is None else to_json(dict(task.result)),
        ),
    )
