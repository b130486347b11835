"""Pending work over Redis. Tasks move on in the same transactions as the intents that they follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, PendingWork
from agent_memory_server.domain.operations import Intent
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Command, Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.intents import (
    Row,
    drop_row,
    due_key,
    listing_key,
    put_row,
    request_work,
    row_digest,
    row_key,
)
from agent_memory_server.stores.redis.scopes import scored
from agent_memory_server.stores.redis.task_rows import tasks_claimed, tasks_completed, tasks_failed
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import instant, micros

_LOOKED_AT = 1_000
"""Due rows of a kind among which the oldest are taken."""


class RedisOutbox:
    """``ports.outbox.Outbox`` over one Redis."""

    def __init__(self, link: Link, *, now: Callable[[], datetime]) -> None:
        self._link = link
        self._now = now

    async def request(self, intents: Sequence[Intent], /, *, at: datetime) -> None:
        await transact(self._link, lambda transaction: request_work(transaction, intents, at=at))

    async def claim(
        self, *, kinds: Sequence[str], now: datetime, lease_s: float, limit: int
    ) -> Sequence[ClaimedIntent]:
        candidates = await self._due(kinds, now=now)
        claimed: list[ClaimedIntent] = []
        while candidates and len(claimed) < limit:
            wanted, candidates = candidates[: limit - len(claimed)], candidates[limit - len(claimed) :]
            found = await asyncio.gather(*(self._claimed(digest, now=now, lease_s=lease_s) for digest in wanted))
            claimed += [each for each in found if each is not None]
        return claimed

    async def _claimed(self, digest: str, *, now: datetime, lease_s: float) -> ClaimedIntent | None:
        until = now + timedelta(seconds=lease_s)
        return await transact(
            self._link,
            lambda transaction: _claim(transaction, digest, now=now, until=until),
            alone=row_key(digest),
            looks_later=True,
        )

    async def _due(self, kinds: Sequence[str], *, now: datetime) -> list[str]:
        """Due rows, oldest first."""
        commands: list[Command] = [
            ("ZRANGEBYSCORE", due_key(kind), "-inf", micros(now), "LIMIT", 0, _LOOKED_AT)
            for kind in dict.fromkeys(kinds)
        ]
        digests = [each.decode() for found in (await self._link.reads(*commands) if commands else ()) for each in found]
        if not digests:
            return []
        rows = await self._link.read("MGET", *(row_key(digest) for digest in digests))
        for digest, row in zip(digests, rows, strict=True):
            if row is not None:
                self._link.remembered.keep(row_key(digest), row, size_bytes=len(row))
        held = [(digest, from_json(row)) for digest, row in zip(digests, rows, strict=True) if row is not None]
        held.sort(key=lambda pair: (pair[1]["created_at"], pair[1]["id"]))
        return [digest for digest, _ in held]

    async def complete(self, intent: ClaimedIntent, /, *, result: Mapping[str, Any] | None = None) -> None:
        at = self._now()

        async def work(transaction: Transaction, row: Row, digest: str) -> None:
            await tasks_completed(transaction, row, generation=intent.generation, result=result, at=at)
            if row["dead"]:
                return
            if row["generation"] > intent.generation:
                anew = {"claimed_until": None, "attempts": 0, "reason": None, "created_at": row["requested_at"]}
                put_row(transaction, digest, {**row, **anew}, before=row)
            else:
                drop_row(transaction, digest, row)

        await self._changed(intent, work)

    async def fail(self, intent: ClaimedIntent, /, *, reason: str, retry_at: datetime | None) -> None:
        retry = None if retry_at is None else micros(retry_at)
        at = self._now()

        async def work(transaction: Transaction, row: Row, digest: str) -> None:
            if row["dead"]:
                return
            asked_again = row["generation"] > intent.generation
            for_good = retry is None and not asked_again
            failed: Row = {
                **row,
                "attempts": row["attempts"] + 1,
                "claimed_until": None,
                "reason": reason,
                "dead": for_good,
                "not_before": row["not_before"] if retry is None or asked_again else retry,
            }
            put_row(transaction, digest, failed, before=row)
            await tasks_failed(transaction, row, reason=reason, for_good=for_good, at=at)

        await self._changed(intent, work)

    async def renew(self, intent: ClaimedIntent, /, *, now: datetime, lease_s: float) -> None:
        until = micros(now + timedelta(seconds=lease_s))

        async def work(transaction: Transaction, row: Row, digest: str) -> None:
            if row["claimed_until"] is not None:
                put_row(transaction, digest, {**row, "claimed_until": until}, before=row)

        await self._changed(intent, work)

    async def release(self, intent: ClaimedIntent, /) -> None:
        async def work(transaction: Transaction, row: Row, digest: str) -> None:
            put_row(transaction, digest, {**row, "claimed_until": None}, before=row)

        await self._changed(intent, work)

    async def _changed(self, intent: ClaimedIntent, change: Callable[[Transaction, Row, str], Any]) -> None:
        """Apply a change to the intent's row, if it still is the one that was claimed."""
        digest = row_digest(intent.tenant, intent.namespace, intent.user_id, intent.kind, intent.key)

        async def work(transaction: Transaction) -> None:
            transaction.releases = True
            row = await transaction.document(row_key(digest))
            if row is not None and row["id"] == intent.id:
                await change(transaction, row, digest)

        await transact(self._link, work, alone=row_key(digest), looks_later=True)

    async def next_due(self, *, now: datetime, kinds: Sequence[str] | None = None) -> datetime | None:
        del now  # a claim that ran out is due since then: earlier than now, so at once
        if kinds is None:
            kinds = [kind.decode() for kind in await self._link.read("SMEMBERS", naming.KINDS)]
        commands: list[Command] = [("ZRANGE", due_key(kind), 0, 0, "WITHSCORES") for kind in dict.fromkeys(kinds)]
        if not commands:
            return None
        firsts = [scored(found)[0][1] for found in await self._link.reads(*commands) if found]
        return instant(min(firsts)) if firsts else None

    async def pending(self, selector: ScopeSelector, /, *, now: datetime) -> PendingWork:
        tag = naming.tag_of(selector)
        waiting, dead = (listing_key(selector.tenant, state, tag) for state in ("waiting", "dead"))
        return await self._counted(waiting, dead, now=now)

    async def depth(self, *, now: datetime) -> PendingWork:
        return await self._counted(naming.WAITING, naming.DEAD, now=now)

    async def _counted(self, waiting: str, dead: str, *, now: datetime) -> PendingWork:
        pending, oldest, failed = await self._link.reads(
            ("ZCARD", waiting), ("ZRANGE", waiting, 0, 0, "WITHSCORES"), ("ZCARD", dead)
        )
        age_s = max(0.0, (micros(now) - scored(oldest)[0][1]) / 1_000_000) if oldest else 0.0
        return PendingWork(pending=pending, oldest_age_s=age_s, dead=failed)


async def _claim(transaction: Transaction, digest: str, *, now: datetime, until: datetime) -> ClaimedIntent | None:
    row: Row | None = await transaction.document(row_key(digest))
    if row is None or row["dead"] or max(row["not_before"], row["claimed_until"] or 0) > micros(now):
        return None
    transaction.releases = True
    # A claim that ran out without an outcome was interrupted: it counts as an attempt, so that nothing is begun for ever.
    attempts = row["attempts"] + (row["claimed_until"] is not None)
    claimed = {**row, "claimed_until": micros(until), "attempts": attempts}
    put_row(transaction, digest, claimed, before=row)
    await tasks_claimed(transaction, claimed, at=now)
    return ClaimedIntent(
        id=row["id"],
        kind=row["kind"],
        key=row["key"],
        tenant=row["tenant"],
        namespace=row["namespace"],
        user_id=row["user_id"],
        payload=row["payload"],
        attempts=attempts,
        generation=row["generation"],
        created_at=instant(row["created_at"]),
        task_id=row["task_id"],
        traceparent=row.get("traceparent"),
    )
