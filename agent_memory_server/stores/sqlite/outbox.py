"""Pending work over SQLite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, PendingWork
from agent_memory_server.domain.operations import Intent
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.outbox_rows import request_work
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import selected
from agent_memory_server.stores.sqlite.task_rows import tasks_claimed, tasks_completed, tasks_failed
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import instant, micros, to_json

# A claim that ran out without an outcome was interrupted: it counts as an attempt, so that nothing is begun for ever.
_CLAIM = """
UPDATE outbox SET claimed_until = ?1, attempts = attempts + (claimed_until IS NOT NULL) WHERE id IN (
    SELECT id FROM outbox
    WHERE dead = 0 AND kind IN (SELECT value FROM json_each(?2)) AND not_before <= ?3
        AND (claimed_until IS NULL OR claimed_until <= ?3)
    ORDER BY created_at, id LIMIT ?4
)
RETURNING id, scope_id, kind, key, payload, attempts, generation, created_at, task_id, traceparent
"""

_DUE = "dead = 0 AND not_before <= ?1 AND (claimed_until IS NULL OR claimed_until <= ?1)"

_COUNTS = (
    "SELECT count(*) FILTER (WHERE dead = 0), min(created_at) FILTER (WHERE dead = 0), "
    "count(*) FILTER (WHERE dead = 1) FROM outbox AS o"
)

_ASKED_AGAIN = """
UPDATE outbox SET claimed_until = NULL, attempts = 0, reason = NULL, created_at = requested_at
WHERE id = ?1 AND generation > ?2 AND dead = 0
"""

_FAIL = """
UPDATE outbox SET attempts = attempts + 1, claimed_until = NULL, reason = ?3,
    dead = CASE WHEN ?4 IS NULL AND generation = ?2 THEN 1 ELSE 0 END,
    not_before = CASE WHEN ?4 IS NULL OR generation > ?2 THEN not_before ELSE ?4 END
WHERE id = ?1 AND dead = 0
"""


class SqliteOutbox:
    """``ports.outbox.Outbox`` over one file. Tasks move on in the same commits as the intents that they follow."""

    def __init__(self, readers: Readers, writer: Writer, *, now: Callable[[], datetime]) -> None:
        self._readers = readers
        self._writer = writer
        self._now = now

    async def request(self, intents: Sequence[Intent], /, *, at: datetime) -> None:
        await self._writer.run(lambda connected: request_work(connected, intents, at=at))

    async def claim(
        self, *, kinds: Sequence[str], now: datetime, lease_s: float, limit: int
    ) -> Sequence[ClaimedIntent]:
        wanted = to_json(list(kinds))
        until = micros(now + timedelta(seconds=lease_s))

        def is_due(connected: Connected) -> bool:
            found = connected.value(
                f"SELECT 1 FROM outbox WHERE {_DUE} AND kind IN (SELECT value FROM json_each(?2)) LIMIT 1",
                (micros(now), wanted),
            )
            return found is not None

        def work(connected: Connected) -> list[ClaimedIntent]:
            rows = connected.rows(_CLAIM, (until, wanted, micros(now), limit))
            claimed = [_claimed(connected, row) for row in rows]
            tasks_claimed(connected, [(intent.id, intent.generation) for intent in claimed], at=now)
            return sorted(claimed, key=lambda intent: (intent.created_at, intent.id))

        # Asking often costs a read; only work that is there costs a commit.
        return await self._writer.run(work) if await self._readers.run(is_due) else []

    async def complete(self, intent: ClaimedIntent, /, *, result: Mapping[str, Any] | None = None) -> None:
        at = self._now()

        def work(connected: Connected) -> None:
            tasks_completed(connected, outbox_id=intent.id, generation=intent.generation, result=result, at=at)
            if connected.changed(_ASKED_AGAIN, (intent.id, intent.generation)) == 0:
                connected.execute(
                    "DELETE FROM outbox WHERE id = ? AND generation = ? AND dead = 0", (intent.id, intent.generation)
                )

        await self._writer.run(work)

    async def fail(self, intent: ClaimedIntent, /, *, reason: str, retry_at: datetime | None) -> None:
        retry = None if retry_at is None else micros(retry_at)
        at = self._now()

        def work(connected: Connected) -> None:
            if connected.changed(_FAIL, (intent.id, intent.generation, reason, retry)):
                tasks_failed(connected, outbox_id=intent.id, reason=reason, at=at)

        await self._writer.run(work)

    async def renew(self, intent: ClaimedIntent, /, *, now: datetime, lease_s: float) -> None:
        until = micros(now + timedelta(seconds=lease_s))
        await self._writer.run(
            lambda connected: connected.execute(
                "UPDATE outbox SET claimed_until = ? WHERE id = ? AND claimed_until IS NOT NULL", (until, intent.id)
            )
        )

    async def release(self, intent: ClaimedIntent, /) -> None:
        await self._writer.run(
            lambda connected: connected.execute("UPDATE outbox SET claimed_until = NULL WHERE id = ?", (intent.id,))
        )

    async def next_due(self, *, now: datetime, kinds: Sequence[str] | None = None) -> datetime | None:
        wanted = None if kinds is None else to_json(list(kinds))
        due = await self._readers.run(
            lambda connected: connected.value(
                "SELECT min(max(not_before, CASE WHEN claimed_until > ?1 THEN claimed_until ELSE not_before END)) "
                "FROM outbox WHERE dead = 0 AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2)))",
                (micros(now), wanted),
            )
        )
        return None if due is None else instant(due)

    async def pending(self, selector: ScopeSelector, /, *, now: datetime) -> PendingWork:
        def work(connected: Connected) -> PendingWork:
            selection = selected(connected, selector)
            if selection is None:
                return PendingWork(pending=0, oldest_age_s=0.0, dead=0)
            where = selection.condition("o", has_tenant=False)
            return _counted(connected.sure(f"{_COUNTS} WHERE {where.sql}", where.values), now)

        return await self._readers.run(work)

    async def depth(self, *, now: datetime) -> PendingWork:
        return await self._readers.run(lambda connected: _counted(connected.sure(_COUNTS), now))


def _counted(row: Row, now: datetime) -> PendingWork:
    waiting, oldest, dead = row
    age_s = 0.0 if oldest is None else max(0.0, (micros(now) - oldest) / 1_000_000)
    return PendingWork(pending=waiting, oldest_age_s=age_s, dead=dead)


def _claimed(connected: Connected, row: Row) -> ClaimedIntent:
    intent_id, scope_id, kind, key, payload, attempts, generation, created_at, task_id, traceparent = row
    owner = connected.sure(
        "SELECT t.name, s.namespace, s.user_id FROM scopes AS s JOIN tenants AS t ON t.id = s.tenant_id WHERE s.id = ?",
        (scope_id,),
    )
    return ClaimedIntent(
        id=intent_id,
        kind=str(kind),
        key=str(key),
        tenant=owner[0],
        namespace=owner[1],
        user_id=owner[2],
        payload=from_json(str(payload)),
        attempts=attempts,
        generation=generation,
        created_at=instant(created_at),
        task_id=str(task_id),
        traceparent=None if traceparent is None else str(traceparent),
    )
