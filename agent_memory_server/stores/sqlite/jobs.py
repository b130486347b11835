"""Tasks over SQLite: the rows that follow an intent, and the intents that no task follows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.jobs import ERASED, Task, TaskStatus
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.jobs import TaskPage
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.filtering import Condition
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import Selection, known_scope, selected
from agent_memory_server.stores.sqlite.task_rows import TASK_COLUMNS, fail_tasks, task_of, tasks_replayed
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import micros, to_json

_TASKS = f"SELECT {TASK_COLUMNS}, t.scope_id FROM tasks AS t JOIN scopes AS c ON c.id = t.scope_id"

_DEAD_TASKS = (
    "SELECT t.id, c.namespace, c.user_id, t.kind, 'dead', t.created_at, t.view_id, t.started_at, t.completed_at, "
    "t.error_message, NULL, t.scope_id FROM tasks AS t JOIN scopes AS c ON c.id = t.scope_id "
    "JOIN outbox AS d ON d.id = t.intent AND d.dead = 1"
)

# ?-placeholder: now.
_INTENTS = (
    "SELECT o.task_id, c.namespace, c.user_id, "
    "CASE o.kind WHEN 'run_task' THEN o.payload ->> 'task' ELSE o.kind END, "
    "CASE WHEN o.dead = 1 THEN 'dead' WHEN o.claimed_until > ? THEN 'running' ELSE 'pending' END AS status, "
    "o.created_at, o.payload ->> 'view_id', NULL, NULL, o.reason, NULL, o.scope_id "
    "FROM outbox AS o JOIN scopes AS c ON c.id = o.scope_id"
)

# A task stands for its intent while it says the same: a failed one for a dead intent, an open one for one that waits.
_UNFOLLOWED = Condition(
    "NOT EXISTS (SELECT 1 FROM tasks AS f WHERE f.intent = o.id AND f.status <> 'success' "
    "AND (f.status = 'failed') = (o.dead = 1))"
)

_REPLAY = """
UPDATE outbox SET dead = 0, attempts = 0, reason = NULL, claimed_until = NULL, not_before = ?1, created_at = ?1
WHERE dead = 1 AND (
    (scope_id = ?2 AND task_id = ?3)
    OR id = (SELECT intent FROM tasks WHERE scope_id = ?2 AND id = ?3 AND status = 'failed')
)
RETURNING id
"""


class SqliteJobs:
    """``ports.jobs.JobStore`` over one file."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    async def find(self, selector: ScopeSelector, /, *, task_id: str, now: datetime, limit: int = 2) -> Sequence[Task]:
        return await self._readers.run(
            lambda connected: _found(connected, selector, task_id=task_id, now=now, limit=limit)
        )

    async def list(
        self,
        selector: ScopeSelector,
        /,
        *,
        now: datetime,
        limit: int,
        status: TaskStatus | None = None,
        cursor: str | None = None,
    ) -> TaskPage:
        after = None if cursor is None else _position(cursor)

        def work(connected: Connected) -> TaskPage:
            selection = selected(connected, selector)
            if selection is None:
                return TaskPage(tasks=(), total=0, next_cursor=None)
            listed, values = _listed(selection, status, now)
            total: int = connected.value(f"SELECT count(*) FROM ({listed})", values)
            condition = Condition("1")
            if after is not None:
                created_at, task_id, scope_id = after
                condition = Condition(
                    "created_at <= ? AND (created_at < ? OR id > ? OR (id = ? AND scope_id > ?))",
                    (created_at, created_at, task_id, task_id, scope_id),
                )
            rows = connected.rows(
                f"SELECT * FROM ({listed}) WHERE {condition.sql} ORDER BY created_at DESC, id, scope_id LIMIT ?",
                (*values, *condition.values, limit + 1),
            )
            shown = rows[:limit]
            return TaskPage(
                tasks=tuple(task_of(selector.tenant, row[:-1]) for row in shown),
                total=total,
                next_cursor=_cursor(shown[-1]) if len(rows) > limit and shown else None,
            )

        return await self._readers.run(work)

    async def erase(self, selector: ScopeSelector, /, *, kept_kinds: Sequence[str], at: datetime) -> int:
        kept = to_json(list(kept_kinds))

        def work(connected: Connected) -> int:
            selection = selected(connected, selector)
            if selection is None:
                return 0
            of_tasks, of_work = selection.condition("t"), selection.condition("o", has_tenant=False)
            tasks = connected.rows(
                f"DELETE FROM tasks AS t WHERE {of_tasks.sql} AND t.kind NOT IN (SELECT value FROM json_each(?)) "
                "RETURNING 1",
                (*of_tasks.values, kept),
            )
            intents = connected.rows(
                f"DELETE FROM outbox AS o WHERE {of_work.sql} AND o.kind NOT IN (SELECT value FROM json_each(?)) "
                "RETURNING id",
                (*of_work.values, kept),
            )
            for (outbox_id,) in intents:
                fail_tasks(connected, outbox_id=outbox_id, reason=ERASED, at=at)
            return len(tasks) + len(intents)

        return await self._writer.run(work)

    async def replay(self, task: Task, /, *, at: datetime) -> Task | None:
        scope = task.scope

        def work(connected: Connected) -> Task | None:
            scope_id = known_scope(connected, scope.tenant, scope.namespace, scope.user_id)
            outbox_id = connected.value(_REPLAY, (micros(at), scope_id, task.id))
            if outbox_id is None:
                return None
            tasks_replayed(connected, outbox_id=outbox_id, at=at)
            selector = ScopeSelector(scope.tenant, scope.namespace, scope.user_id)
            found = _found(connected, selector, task_id=task.id, now=at, limit=2)
            return next((each for each in found if each.scope == scope), None)

        return await self._writer.run(work)


def _found(connected: Connected, selector: ScopeSelector, *, task_id: str, now: datetime, limit: int) -> list[Task]:
    selection = selected(connected, selector)
    if selection is None:
        return []
    within = selection.condition("t")
    rows = connected.rows(
        f"{_TASKS} WHERE {within.sql} AND t.id = ? AND t.expires_at > ? LIMIT ?",
        (*within.values, task_id, micros(now), limit),
    )
    if not rows:
        within = selection.condition("o", has_tenant=False)
        rows = connected.rows(
            f"{_INTENTS} WHERE {within.sql} AND o.task_id = ? LIMIT ?", (micros(now), *within.values, task_id, limit)
        )
    return [task_of(selector.tenant, row[:-1]) for row in rows]


def _listed(selection: Selection, status: TaskStatus | None, now: datetime) -> tuple[str, tuple[object, ...]]:
    """A query for everything that a listing by this status shows, and its values."""
    at = micros(now)
    tasks = Condition.all_of(selection.condition("t"), Condition("t.expires_at > ?", (at,)))
    intents = Condition.all_of(selection.condition("o", has_tenant=False), _UNFOLLOWED)
    if status is TaskStatus.DEAD:
        tasks = Condition.all_of(tasks, Condition("t.status = 'failed'"))
        intents = Condition.all_of(intents, Condition("o.dead = 1"))
        source = _DEAD_TASKS
    else:
        source = _TASKS
        if status is not None:
            tasks = Condition.all_of(tasks, Condition("t.status = ?", (status.value,)))
            intents = Condition.all_of(intents, Condition("status = ?", (status.value,)))
    listed = f"{source} WHERE {tasks.sql} UNION ALL {_INTENTS} WHERE {intents.sql}"
    return listed, (*tasks.values, at, *intents.values)


def _cursor(row: Row) -> str:
    packed = to_json([row[5], row[0], row[11]]).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str, int]:
    refusal = InvalidInput("This cursor was not made by this server for this listing.", field=("query", "cursor"))
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        values = from_json(base64.b64decode(padded, altchars=b"-_", validate=True).decode())
    except (ValueError, binascii.Error, RecursionError) as error:
        raise refusal from error
    match values:
        case [int(created_at), str(task_id), int(scope_id)] if abs(created_at) < 2**62 and 0 <= scope_id < 2**62:
            return created_at, task_id, scope_id
        case _:
            raise refusal
