"""Tasks over Redis: the rows that follow an intent, and the intents that no task follows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.jobs import ERASED, Task, TaskStatus, task_kind
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.jobs import TaskPage
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.intents import Row, drop_row, followers_key, listing_key, put_row, row_key
from agent_memory_server.stores.redis.task_rows import (
    TaskRow,
    drop_task,
    listed_key,
    named_key,
    task_digest,
    task_key,
    task_of,
    tasks_failed,
    tasks_replayed,
)
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import micros, to_json

_ERASED_AT_ONCE = 100
_Listed = tuple[int, str, str, TaskRow]
"""(minus the time, id, owner, row): sorts newest first, then by id."""


class RedisJobs:
    """``ports.jobs.JobStore`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def find(self, selector: ScopeSelector, /, *, task_id: str, now: datetime, limit: int = 2) -> Sequence[Task]:
        digests = sorted(
            each.decode() for each in await self._link.read("SMEMBERS", named_key(selector.tenant, task_id))
        )
        rows = await self._documents([task_key(selector.tenant, digest) for digest in digests])
        found = [row for row in rows if row["expires_at"] > micros(now) and _admits(selector, row)]
        if not found:
            intents = [*await self._intents(selector, "waiting"), *await self._intents(selector, "dead")]
            found = [_as_task(row, now) for row in intents if row["task_id"] == task_id]
        return [task_of(selector.tenant, row) for row in found[:limit]]

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
        found = sorted((_placed(row) for row in await self._listed(selector, status, now)), key=lambda each: each[:3])
        rest = found if after is None else [each for each in found if each[:3] > after]
        shown = rest[:limit]
        return TaskPage(
            tasks=tuple(task_of(selector.tenant, row) for *_, row in shown),
            total=len(found),
            next_cursor=_cursor(shown[-1]) if len(rest) > limit and shown else None,
        )

    async def _listed(self, selector: ScopeSelector, status: TaskStatus | None, now: datetime) -> list[TaskRow]:
        """Everything that a listing by this status shows."""
        digests = await self._link.read("ZRANGE", listed_key(selector.tenant, naming.tag_of(selector)), 0, -1)
        tasks = await self._documents([task_key(selector.tenant, digest.decode()) for digest in digests])
        tasks = [row for row in tasks if row["expires_at"] > micros(now)]
        dead = await self._intents(selector, "dead")
        if status is TaskStatus.DEAD:
            dead_ids = {row["id"] for row in dead}
            shown = [
                {**row, "status": "dead", "result": None}
                for row in tasks
                if row["status"] == "failed" and row["intent_id"] in dead_ids
            ]
        else:
            shown = [row for row in tasks if status is None or row["status"] == status.value]
        bare = await self._unfollowed([*await self._intents(selector, "waiting"), *dead])
        intents = [_as_task(row, now) for row in bare]
        return [*shown, *(row for row in intents if status is None or row["status"] == status.value)]

    async def _intents(self, selector: ScopeSelector, state: str) -> list[Row]:
        key = listing_key(selector.tenant, state, naming.tag_of(selector))
        digests = await self._link.read("ZRANGE", key, 0, -1)
        return await self._documents([row_key(digest.decode()) for digest in digests])

    async def _unfollowed(self, rows: Sequence[Row]) -> list[Row]:
        """Those that no task stands for: one does while it says the same, a failed one for a dead intent, an open one
        for one that waits."""
        if not rows:
            return []
        followers = await self._link.reads(*(("SMEMBERS", followers_key(row)) for row in rows))
        keys = [[task_key(*follower.decode().split("\0", 1)) for follower in sorted(found)] for found in followers]
        wanted = [key for each in keys for key in each]
        held = dict(zip(wanted, await self._link.read("MGET", *wanted), strict=True)) if wanted else {}
        bare: list[Row] = []
        for row, each in zip(rows, keys, strict=True):
            tasks = [from_json(held[key]) for key in each if held[key] is not None]
            if not any(task["status"] != "success" and (task["status"] == "failed") == row["dead"] for task in tasks):
                bare.append(row)
        return bare

    async def _documents(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        if not keys:
            return []
        return [from_json(held) for held in await self._link.read("MGET", *keys) if held is not None]

    async def erase(self, selector: ScopeSelector, /, *, kept_kinds: Sequence[str], at: datetime) -> int:
        tenant, tag = selector.tenant, naming.tag_of(selector)
        places = [listing_key(tenant, state, tag) for state in ("waiting", "dead")]
        listed, *listings = await self._link.reads(
            ("ZRANGE", listed_key(tenant, tag), 0, -1), *(("ZRANGE", place, 0, -1) for place in places)
        )
        tasks = [each.decode() for each in listed]
        intents = [each.decode() for listing in listings for each in listing]

        async def work(transaction: Transaction, some_tasks: Sequence[str], some_intents: Sequence[str]) -> int:
            transaction.releases = True
            erased = 0
            rows = await transaction.documents([row_key(digest) for digest in some_intents])
            for digest, row in zip(some_intents, rows, strict=True):
                if row is not None and row["kind"] not in kept_kinds:
                    await tasks_failed(transaction, row, reason=ERASED, for_good=True, at=at)
                    drop_row(transaction, digest, row)
                    erased += 1
            held = await transaction.documents([task_key(tenant, digest) for digest in some_tasks])
            for digest, row in zip(some_tasks, held, strict=True):
                if row is not None and row["kind"] not in kept_kinds:
                    drop_task(transaction, tenant, digest, row)
                    erased += 1
            return erased

        count = 0
        for first in range(0, max(len(tasks), len(intents)), _ERASED_AT_ONCE):
            portion = slice(first, first + _ERASED_AT_ONCE)
            count += await transact(self._link, partial(work, some_tasks=tasks[portion], some_intents=intents[portion]))
        return count

    async def replay(self, task: Task, /, *, at: datetime) -> Task | None:
        scope = task.scope
        selector = ScopeSelector(scope.tenant, scope.namespace, scope.user_id)
        dead = [row for row in await self._intents(selector, "dead") if _is_owner(scope, row)]
        by_id = [row for row in dead if row["task_id"] == task.id]

        async def work(transaction: Transaction) -> bool:
            row: Row | None = None
            digest = ""
            held = await transaction.document(task_key(scope.tenant, task_digest(scope, task.id)))
            if held is not None and held["status"] == "failed":
                digest = held["intent"]
                row = await transaction.document(row_key(digest))
                if row is not None and row["id"] != held["intent_id"]:
                    row = None
            elif by_id:
                first = by_id[0]
                digest = naming.digest(
                    first["tenant"], first["namespace"], first["user_id"], first["kind"], first["key"]
                )
                row = await transaction.document(row_key(digest))
            if row is None or not row["dead"]:
                return False
            revived = {
                "dead": False,
                "attempts": 0,
                "reason": None,
                "claimed_until": None,
                "not_before": micros(at),
                "created_at": micros(at),
            }
            put_row(transaction, digest, {**row, **revived}, before=row)
            await tasks_replayed(transaction, row, at=at)
            return True

        if not await transact(self._link, work):
            return None
        found = await self.find(selector, task_id=task.id, now=at)
        return next((each for each in found if each.scope == scope), None)


def _admits(selector: ScopeSelector, row: TaskRow) -> bool:
    return selector.admits(Scope(selector.tenant, row["namespace"], row["user_id"]))


def _is_owner(scope: Scope, row: Row) -> bool:
    return (row["namespace"], row["user_id"]) == (scope.namespace, scope.user_id)


def _as_task(row: Row, now: datetime) -> TaskRow:
    claimed = row["claimed_until"] is not None and row["claimed_until"] > micros(now)
    return {
        "id": row["task_id"],
        "namespace": row["namespace"],
        "user_id": row["user_id"],
        "kind": task_kind(row["kind"], row["payload"]),
        "status": "dead" if row["dead"] else "running" if claimed else "pending",
        "created_at": row["created_at"],
        "view_id": row["payload"].get("view_id"),
        "started_at": None,
        "completed_at": None,
        "error_message": row["reason"],
        "result": None,
    }


def _placed(row: TaskRow) -> _Listed:
    return -row["created_at"], row["id"], naming.owner_digest(row["namespace"], row["user_id"]), row


def _cursor(placed: _Listed) -> str:
    return base64.urlsafe_b64encode(to_json(placed[:3]).encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str, str]:
    refusal = InvalidInput("This cursor was not made by this server for this listing.", field=("query", "cursor"))
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        values = from_json(base64.b64decode(padded, altchars=b"-_", validate=True).decode())
    except (ValueError, binascii.Error, RecursionError) as error:
        raise refusal from error
    match values:
        case [int(created_at), str(task_id), str(owner)] if abs(created_at) < 2**62:
            return created_at, task_id, owner
        case _:
            raise refusal
