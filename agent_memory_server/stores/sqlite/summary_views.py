"""Summary views and their partitions over SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.summary_views import (
    GROUP_FIELDS,
    NO_MATCHING_MEMORIES,
    Group,
    Partition,
    SummaryView,
    ViewDraft,
    ViewSource,
    group_key,
)
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.summary_views import PartitionPage, Started
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.outbox_rows import request_work
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import interned_scope, interned_tenant, known_tenant, selected
from agent_memory_server.stores.sqlite.summary_rows import SqliteMembers, member_page
from agent_memory_server.stores.sqlite.task_rows import TASK_COLUMNS, fail_tasks, task_of
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import instant, micros, to_json

_VIEW_DELETED = "the summary view was deleted"

_VIEW_COLUMNS = "v.id, n.name, c.namespace, c.user_id, v.created_at, v.created_by, v.definition"
_VIEW_TABLES = "summary_views AS v JOIN scopes AS c ON c.id = v.scope_id JOIN tenants AS n ON n.id = v.tenant_id"
_PARTITION_COLUMNS = (
    "p.user_id, p.namespace, p.session_id, p.memory_type, p.summary, p.memory_count, p.computed_at, p.fingerprint, "
    "p.empty_reason"
)

_PUT_PARTITION = """
INSERT INTO partitions (view, group_key, user_id, namespace, session_id, memory_type, summary, memory_count, computed_at,
    fingerprint, empty_reason)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (view, group_key) DO UPDATE SET
    summary = excluded.summary,
    memory_count = excluded.memory_count,
    computed_at = excluded.computed_at,
    fingerprint = excluded.fingerprint,
    empty_reason = excluded.empty_reason
RETURNING number
"""

# A JSON list of [namespace, user, id] of one tenant; a blob stands for "none" in the identity of scopes.
_FOUND_SOURCES = """
SELECT m.scope_id, m.id FROM json_each(?1) AS s
JOIN scopes AS c ON c.tenant_id = ?2
    AND ifnull(c.namespace, x'') = ifnull(s.value ->> 0, x'') AND ifnull(c.user_id, x'') = ifnull(s.value ->> 1, x'')
JOIN memories AS m ON m.tenant_id = ?2 AND m.id = s.value ->> 2 AND m.scope_id = c.id
"""

_EMPTY = """
UPDATE partitions SET summary = '', memory_count = 0, computed_at = ?3, fingerprint = ?4, empty_reason = ?5
WHERE view = ?1 AND group_key IN (SELECT value FROM json_each(?2)) AND (empty_reason IS NOT ?5 OR fingerprint IS NOT ?4)
RETURNING number
"""


class SqliteSummaryViews:
    """``ports.summary_views.SummaryViewStore`` over one file."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    # -- views

    async def add(self, view: SummaryView, /, *, views_max: int) -> bool:
        owner = view.owner

        def work(connected: Connected) -> bool:
            scope_id = interned_scope(connected, owner.tenant, owner.namespace, owner.user_id)
            if connected.value("SELECT count(*) FROM summary_views WHERE scope_id = ?", (scope_id,)) >= views_max:
                return False
            connected.execute(
                "INSERT INTO summary_views (tenant_id, scope_id, id, created_at, created_by, continuous, definition) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    interned_tenant(connected, owner.tenant),
                    scope_id,
                    view.id,
                    micros(view.created_at),
                    view.created_by,
                    int(view.draft.continuous),
                    to_json(_definition_of(view.draft)),
                ),
            )
            return True

        return await self._writer.run(work)

    async def get(self, selector: ScopeSelector, /, *, view_id: str) -> SummaryView | None:
        def work(connected: Connected) -> SummaryView | None:
            selection = selected(connected, selector)
            if selection is None:
                return None
            within = selection.condition("v")
            row = connected.one(
                f"SELECT {_VIEW_COLUMNS} FROM {_VIEW_TABLES} WHERE {within.sql} AND v.id = ?", (*within.values, view_id)
            )
            return None if row is None else _view_of(row)

        return await self._readers.run(work)

    async def list(self, selector: ScopeSelector, /) -> Sequence[SummaryView]:
        def work(connected: Connected) -> list[SummaryView]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            within = selection.condition("v")
            rows = connected.rows(
                f"SELECT {_VIEW_COLUMNS} FROM {_VIEW_TABLES} WHERE {within.sql} ORDER BY v.number", within.values
            )
            return [_view_of(row) for row in rows]

        return await self._readers.run(work)

    async def continuous(self, *, limit: int, after: str | None = None) -> Sequence[SummaryView]:
        rows = await self._readers.run(
            lambda connected: connected.rows(
                f"SELECT {_VIEW_COLUMNS} FROM {_VIEW_TABLES} WHERE v.continuous = 1 AND v.id > ? ORDER BY v.id LIMIT ?",
                (after or "", limit),
            )
        )
        return [_view_of(row) for row in rows]

    async def delete(self, selector: ScopeSelector, /, *, view_id: str, at: datetime) -> bool:
        def work(connected: Connected) -> bool:
            selection = selected(connected, selector)
            if selection is None:
                return False
            within = selection.condition("v")
            row = connected.one(
                f"SELECT v.number, v.scope_id FROM summary_views AS v WHERE {within.sql} AND v.id = ?",
                (*within.values, view_id),
            )
            if row is None:
                return False
            number, scope_id = row
            connected.execute(
                "DELETE FROM partition_sources WHERE partition IN (SELECT number FROM partitions WHERE view = ?)",
                (number,),
            )
            connected.execute("DELETE FROM partitions WHERE view = ?", (number,))
            connected.execute("DELETE FROM summary_views WHERE number = ?", (number,))
            pending = connected.rows(
                "DELETE FROM outbox WHERE scope_id = ? AND kind = ? AND payload ->> 'view_id' = ? RETURNING id",
                (scope_id, IntentKind.REFRESH_SUMMARY_VIEW.value, view_id),
            )
            for (outbox_id,) in pending:
                fail_tasks(connected, outbox_id=outbox_id, reason=_VIEW_DELETED, at=at)
            return True

        return await self._writer.run(work)

    # -- runs

    async def start(self, view: SummaryView, intent: Intent, /, *, at: datetime) -> Started | None:
        request = intent.task
        if request is None:
            raise InvalidInput("a run that a client starts needs a task")

        def work(connected: Connected) -> Started | None:
            if _number_of(connected, view) is None:
                return None
            owner = request.owner
            scope_id = interned_scope(connected, owner.tenant, owner.namespace, owner.user_id)
            known = (interned_tenant(connected, owner.tenant), request.id, scope_id)
            connected.execute(
                "DELETE FROM tasks WHERE tenant_id = ? AND id = ? AND scope_id = ? AND expires_at <= ?",
                (*known, micros(at)),
            )
            existing = connected.value(
                "SELECT number FROM tasks WHERE tenant_id = ? AND id = ? AND scope_id = ?", known
            )
            if existing is None:
                request_work(connected, (intent,), at=at)
            row = connected.one(
                f"SELECT {TASK_COLUMNS} FROM tasks AS t JOIN scopes AS c ON c.id = t.scope_id "
                "WHERE t.tenant_id = ? AND t.id = ? AND t.scope_id = ?",
                known,
            )
            if row is None:
                return None
            return Started(task=task_of(owner.tenant, row), created=existing is None)

        return await self._writer.run(work)

    # -- partitions

    async def members(
        self, criteria: MemoryFilter, /, *, now: datetime, limit: int, cursor: str | None = None
    ) -> SqliteMembers:
        return await self._readers.run(
            lambda connected: member_page(connected, criteria, now=now, limit=limit, cursor=cursor)
        )

    async def put_partition(self, view: SummaryView, partition: Partition, /, *, sources: Sequence[MemoryKey]) -> bool:
        wanted = to_json([[key.namespace, key.user_id, key.id] for key in sources])

        def work(connected: Connected) -> bool:
            view_number = _number_of(connected, view)
            if view_number is None:
                return False
            found = connected.rows(_FOUND_SOURCES, (wanted, known_tenant(connected, view.owner.tenant)))
            if len(found) != len(sources):
                return False
            group = partition.group
            number: int = connected.value(
                _PUT_PARTITION,
                (
                    view_number,
                    group_key(group),
                    *(group.get(name) for name in GROUP_FIELDS),
                    partition.summary,
                    partition.memory_count,
                    micros(partition.computed_at),
                    partition.fingerprint,
                    partition.empty_reason,
                ),
            )
            connected.execute("DELETE FROM partition_sources WHERE partition = ?", (number,))
            connected.execute(
                "INSERT INTO partition_sources (scope_id, memory_id, partition) "
                "SELECT value ->> 0, value ->> 1, ? FROM json_each(?)",
                (number, to_json(found)),
            )
            return True

        return await self._writer.run(work)

    async def partition(self, view: SummaryView, /, *, group: Group) -> Partition | None:
        def work(connected: Connected) -> Partition | None:
            row = connected.one(
                f"SELECT {_PARTITION_COLUMNS} FROM partitions AS p WHERE p.view = ? AND p.group_key = ?",
                (_number_of(connected, view), group_key(group)),
            )
            return None if row is None else _partition_of(view, row)

        return await self._readers.run(work)

    async def partitions(self, view: SummaryView, /, *, where: Group, limit: int, offset: int = 0) -> PartitionPage:
        fields = [name for name in GROUP_FIELDS if name in where]
        condition = "".join(f" AND p.{name} = ?" for name in fields)

        def work(connected: Connected) -> PartitionPage:
            values = (_number_of(connected, view), *(where[name] for name in fields))
            total: int = connected.value(f"SELECT count(*) FROM partitions AS p WHERE p.view = ?{condition}", values)
            rows = connected.rows(
                f"SELECT {_PARTITION_COLUMNS} FROM partitions AS p WHERE p.view = ?{condition} "
                "ORDER BY p.group_key LIMIT ? OFFSET ?",
                (*values, limit, offset),
            )
            return PartitionPage(partitions=tuple(_partition_of(view, row) for row in rows), total=total)

        return await self._readers.run(work)

    async def fingerprints(self, view: SummaryView, /) -> dict[str, str | None]:
        rows = await self._readers.run(
            lambda connected: connected.rows(
                "SELECT group_key, fingerprint FROM partitions WHERE view = ?", (_number_of(connected, view),)
            )
        )
        return dict(rows)

    async def drop_partitions(self, view: SummaryView, /, *, groups: Sequence[Group]) -> int:
        keys = to_json([group_key(group) for group in groups])

        def work(connected: Connected) -> int:
            found = connected.rows(
                "DELETE FROM partitions WHERE view = ? AND group_key IN (SELECT value FROM json_each(?)) RETURNING number",
                (_number_of(connected, view), keys),
            )
            connected.many("DELETE FROM partition_sources WHERE partition = ?", found)
            return len(found)

        return await self._writer.run(work)

    async def empty_partitions(
        self, view: SummaryView, /, *, group_keys: Sequence[str], fingerprint: str, at: datetime
    ) -> int:
        if not group_keys:
            return 0
        keys = to_json(list(group_keys))

        def work(connected: Connected) -> int:
            values = (_number_of(connected, view), keys, micros(at), fingerprint, NO_MATCHING_MEMORIES)
            emptied = connected.rows(_EMPTY, values)
            for (number,) in emptied:
                connected.execute("DELETE FROM partition_sources WHERE partition = ?", (number,))
            return len(emptied)

        return await self._writer.run(work)


def _number_of(connected: Connected, view: SummaryView) -> int | None:
    return connected.value(
        "SELECT number FROM summary_views WHERE tenant_id = ? AND id = ?",
        (known_tenant(connected, view.owner.tenant), view.id),
    )


def _definition_of(draft: ViewDraft) -> dict[str, Any]:
    return {
        "source": draft.source.value,
        "name": draft.name,
        "group_by": list(draft.group_by),
        "filters": dict(draft.filters),
        "time_window_days": draft.time_window_days,
        "continuous": draft.continuous,
        "prompt": draft.prompt,
        "model_name": draft.model_name,
    }


def _view_of(row: Row) -> SummaryView:
    view_id, tenant, namespace, user_id, created_at, created_by, definition = row
    given: dict[str, Any] = from_json(definition)
    source, group_by = ViewSource(given.pop("source")), tuple(given.pop("group_by"))
    return SummaryView(
        id=view_id,
        owner=ScopeSelector(tenant, namespace, user_id),
        created_at=instant(created_at),
        created_by=created_by,
        draft=ViewDraft(source=source, group_by=group_by, **given),
    )


def _partition_of(view: SummaryView, row: Row) -> Partition:
    *values, summary, memory_count, computed_at, fingerprint, empty_reason = row
    held: dict[str, str] = dict(zip(GROUP_FIELDS, values, strict=True))
    return Partition(
        view_id=view.id,
        group={name: held[name] for name in view.draft.group_by},
        summary=summary,
        memory_count=memory_count,
        computed_at=instant(computed_at),
        fingerprint=fingerprint,
        empty_reason=empty_reason,
    )
