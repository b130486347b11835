"""Summary views and their partitions over Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
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
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.intents import drop_row, request_work, row_key, subject_key, view_subject
from agent_memory_server.stores.redis.listing import RedisMembers, member_page
from agent_memory_server.stores.redis.memory_keys import (
    summaries_key,
)
from agent_memory_server.stores.redis.rows import (
    FIELDS,
)
from agent_memory_server.stores.redis.scopes import register
from agent_memory_server.stores.redis.summary_rows import PartitionRow, untie
from agent_memory_server.stores.redis.task_rows import drop_task, task_digest, task_key, task_of, tasks_failed
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import instant, micros

_VIEW_DELETED = "the summary view was deleted"


def _view_key(tenant: str, view_id: str) -> str:
    return naming.in_tenant(tenant, "view", naming.digest(view_id))


def _views_key(tenant: str) -> str:
    """Sorted set of the tenant's views in the order they were made."""
    return naming.in_tenant(tenant, "views")


def _owned_key(owner: ScopeSelector) -> str:
    return naming.in_tenant(owner.tenant, "views-of", naming.owner_digest(owner.namespace, owner.user_id))


def _place(view: SummaryView, key: str) -> str:
    return f"{naming.digest(view.id)}:{naming.digest(key)}"


def partition_key(view: SummaryView, key: str) -> str:
    return naming.in_tenant(view.owner.tenant, "partition", _place(view, key))


def partitions_key(view: SummaryView) -> str:
    """Sorted set (by its members alone) of the view's groups."""
    return naming.in_tenant(view.owner.tenant, "partitions", naming.digest(view.id))


def _continuous_member(view: SummaryView) -> bytes:
    return naming.ordered_member(view.id, _view_key(view.owner.tenant, view.id))


class RedisSummaryViews:
    """``ports.summary_views.SummaryViewStore`` over one Redis."""

    def __init__(self, link: Link, index: Index) -> None:
        self._link = link
        self._index = index

    # -- views

    async def add(self, view: SummaryView, /, *, views_max: int) -> bool:
        owner = view.owner

        async def work(transaction: Transaction) -> bool:
            held = await transaction.members(_owned_key(owner))
            if len(held) >= views_max:
                return False
            register(transaction, view.owner_scope)
            transaction.put(_view_key(owner.tenant, view.id), _row_of(view))
            found = naming.digest(view.id)
            transaction.add(_owned_key(owner), found)
            transaction.command("ZADD", _views_key(owner.tenant), transaction.token, found, sequenced=True)
            if view.draft.continuous:
                transaction.command("ZADD", naming.CONTINUOUS_VIEWS, 0, _continuous_member(view))
            return True

        return await transact(self._link, work, alone=_owned_key(owner))

    async def get(self, selector: ScopeSelector, /, *, view_id: str) -> SummaryView | None:
        held = await self._link.read("GET", _view_key(selector.tenant, view_id))
        return None if held is None else _within(selector, from_json(held))

    async def list(self, selector: ScopeSelector, /) -> Sequence[SummaryView]:
        views = await views_of(self._link, selector.tenant)
        return [view for view in views if selector.admits(view.owner_scope)]

    async def continuous(self, *, limit: int, after: str | None = None) -> Sequence[SummaryView]:
        start: bytes = b"-" if after is None else b"(" + naming.ordered_member(after, "") + b"\xff"
        members = await self._link.read("ZRANGEBYLEX", naming.CONTINUOUS_VIEWS, start, "+", "LIMIT", 0, limit)
        if not members:
            return []
        held = await self._link.read("MGET", *(naming.suffix_of_member(member) for member in members))
        return [_view_of(from_json(row)) for row in held if row is not None]

    async def delete(self, selector: ScopeSelector, /, *, view_id: str, at: datetime) -> bool:
        async def work(transaction: Transaction) -> bool:
            transaction.releases = True
            held = await transaction.document(_view_key(selector.tenant, view_id))
            view = None if held is None else _within(selector, held)
            if view is None:
                return False
            await self._removed_partitions(transaction, view)
            found = naming.digest(view.id)
            transaction.drop(_view_key(selector.tenant, view_id))
            transaction.discard(_owned_key(view.owner), found)
            transaction.command("ZREM", _views_key(selector.tenant), found)
            transaction.command("ZREM", naming.CONTINUOUS_VIEWS, _continuous_member(view))
            owner = view.owner
            about = subject_key(owner.tenant, owner.namespace, owner.user_id, view_subject(view_id))
            for digest in sorted(await transaction.members(about)):
                row = await transaction.document(row_key(digest))
                if row is not None and row["kind"] == IntentKind.REFRESH_SUMMARY_VIEW.value:
                    await tasks_failed(transaction, row, reason=_VIEW_DELETED, for_good=True, at=at)
                    drop_row(transaction, digest, row)
            return True

        return await transact(self._link, work)

    async def _removed_partitions(self, transaction: Transaction, view: SummaryView) -> None:
        members = await self._link.read("ZRANGE", partitions_key(view), 0, -1)
        await _dropped(transaction, view, [naming.text_of_member(member) for member in members])
        transaction.command("DEL", partitions_key(view))

    # -- runs

    async def start(self, view: SummaryView, intent: Intent, /, *, at: datetime) -> Started | None:
        request = intent.task
        if request is None:
            raise InvalidInput("a run that a client starts needs a task")
        owner = request.owner
        found = task_digest(owner, request.id)

        async def work(transaction: Transaction) -> Started | None:
            if await transaction.document(_view_key(view.owner.tenant, view.id)) is None:
                return None
            held = await transaction.document(task_key(owner.tenant, found))
            if held is not None and held["expires_at"] <= micros(at):
                drop_task(transaction, owner.tenant, found, held)
                held = None
            created = held is None
            if created:
                await request_work(transaction, (intent,), at=at)
                held = await transaction.document(task_key(owner.tenant, found))
            return None if held is None else Started(task=task_of(owner.tenant, held), created=created)

        return await transact(self._link, work)

    # -- partitions

    async def members(
        self, criteria: MemoryFilter, /, *, now: datetime, limit: int, cursor: str | None = None
    ) -> RedisMembers:
        return await member_page(self._index, criteria, now=now, limit=limit, cursor=cursor)

    async def put_partition(self, view: SummaryView, partition: Partition, /, *, sources: Sequence[MemoryKey]) -> bool:
        key = group_key(partition.group)
        handles = [naming.handle_of(*source) for source in sources]

        async def work(transaction: Transaction) -> bool:
            if await transaction.document(_view_key(view.owner.tenant, view.id)) is None:
                return False
            rows = await transaction.rows([naming.memory_key(handle) for handle in handles], FIELDS)
            if any(row is None for row in rows):
                return False
            before = await transaction.document(partition_key(view, key))
            if before is not None:
                untie(transaction, _place(view, key), before)
            for handle in handles:
                transaction.add(summaries_key(handle), _place(view, key))
            self._put(transaction, view, key, _partition_row(partition, handles))
            return True

        return await transact(self._link, work)

    @staticmethod
    def _put(transaction: Transaction, view: SummaryView, key: str, row: PartitionRow) -> None:
        transaction.put(partition_key(view, key), row)
        transaction.command("ZADD", partitions_key(view), 0, naming.ordered_member(key, ""))

    async def partition(self, view: SummaryView, /, *, group: Group) -> Partition | None:
        held = await self._link.read("GET", partition_key(view, group_key(group)))
        return None if held is None else _partition_of(view, from_json(held))

    async def partitions(self, view: SummaryView, /, *, where: Group, limit: int, offset: int = 0) -> PartitionPage:
        rows = await self._rows(view)
        wanted = {name: where[name] for name in GROUP_FIELDS if name in where}
        matching = [row for _, row in rows if all(row["group"].get(name) == value for name, value in wanted.items())]
        shown = matching[offset : offset + limit]
        return PartitionPage(partitions=tuple(_partition_of(view, row) for row in shown), total=len(matching))

    async def fingerprints(self, view: SummaryView, /) -> dict[str, str | None]:
        return {key: row["fingerprint"] for key, row in await self._rows(view)}

    async def _rows(self, view: SummaryView) -> list[tuple[str, PartitionRow]]:
        """Every partition in the order of the group keys."""
        keys = [
            naming.text_of_member(member) for member in await self._link.read("ZRANGE", partitions_key(view), 0, -1)
        ]
        held = await self._link.read("MGET", *(partition_key(view, key) for key in keys)) if keys else ()
        return [(key, from_json(row)) for key, row in zip(keys, held, strict=True) if row is not None]

    async def drop_partitions(self, view: SummaryView, /, *, groups: Sequence[Group]) -> int:
        keys = [group_key(group) for group in groups]

        async def work(transaction: Transaction) -> int:
            transaction.releases = True
            return await _dropped(transaction, view, keys)

        return await transact(self._link, work) if keys else 0

    async def empty_partitions(
        self, view: SummaryView, /, *, group_keys: Sequence[str], fingerprint: str, at: datetime
    ) -> int:
        async def work(transaction: Transaction) -> int:
            rows = await transaction.documents([partition_key(view, key) for key in group_keys])
            emptied = 0
            for key, row in zip(group_keys, rows, strict=True):
                if row is None or (row["empty_reason"], row["fingerprint"]) == (NO_MATCHING_MEMORIES, fingerprint):
                    continue
                untie(transaction, _place(view, key), row)
                changed: PartitionRow = {
                    "summary": "",
                    "memory_count": 0,
                    "computed_at": micros(at),
                    "fingerprint": fingerprint,
                    "empty_reason": NO_MATCHING_MEMORIES,
                    "sources": [],
                }
                self._put(transaction, view, key, {**row, **changed})
                emptied += 1
            return emptied

        return await transact(self._link, work) if group_keys else 0


async def _dropped(transaction: Transaction, view: SummaryView, keys: Sequence[str]) -> int:
    """How many of these partitions there were."""
    rows = await transaction.documents([partition_key(view, key) for key in keys]) if keys else []
    found = [(key, row) for key, row in zip(keys, rows, strict=True) if row is not None]
    for key, row in found:
        untie(transaction, _place(view, key), row)
        transaction.drop(partition_key(view, key))
        transaction.command("ZREM", partitions_key(view), naming.ordered_member(key, ""))
    return len(found)


async def views_of(link: Link, tenant: str) -> list[SummaryView]:
    """Every view of the tenant, oldest first."""
    found = await link.read("ZRANGE", _views_key(tenant), 0, -1)
    keys = [naming.in_tenant(tenant, "view", each.decode()) for each in found]
    held = await link.read("MGET", *keys) if keys else ()
    return [_view_of(from_json(row)) for row in held if row is not None]


def _row_of(view: SummaryView) -> dict[str, Any]:
    draft = view.draft
    return {
        "id": view.id,
        "owner": [view.owner.tenant, view.owner.namespace, view.owner.user_id],
        "created_at": micros(view.created_at),
        "created_by": view.created_by,
        "definition": {
            "source": draft.source.value,
            "name": draft.name,
            "group_by": list(draft.group_by),
            "filters": dict(draft.filters),
            "time_window_days": draft.time_window_days,
            "continuous": draft.continuous,
            "prompt": draft.prompt,
            "model_name": draft.model_name,
        },
    }


def _view_of(row: dict[str, Any]) -> SummaryView:
    given: dict[str, Any] = dict(row["definition"])
    source, group_by = ViewSource(given.pop("source")), tuple(given.pop("group_by"))
    return SummaryView(
        id=row["id"],
        owner=ScopeSelector(*row["owner"]),
        created_at=instant(row["created_at"]),
        created_by=row["created_by"],
        draft=ViewDraft(source=source, group_by=group_by, **given),
    )


def _within(selector: ScopeSelector, row: dict[str, Any]) -> SummaryView | None:
    return _view_of(row) if selector.admits(Scope(*row["owner"])) else None


def _partition_row(partition: Partition, handles: Sequence[str]) -> PartitionRow:
    return {
        "group": dict(partition.group),
        "summary": partition.summary,
        "memory_count": partition.memory_count,
        "computed_at": micros(partition.computed_at),
        "fingerprint": partition.fingerprint,
        "empty_reason": partition.empty_reason,
        "sources": list(handles),
    }


def _partition_of(view: SummaryView, row: PartitionRow) -> Partition:
    return Partition(
        view_id=view.id,
        group={name: row["group"][name] for name in view.draft.group_by},
        summary=row["summary"],
        memory_count=row["memory_count"],
        computed_at=instant(row["computed_at"]),
        fingerprint=row["fingerprint"],
        empty_reason=row["empty_reason"],
    )
