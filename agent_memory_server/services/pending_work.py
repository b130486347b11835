"""Working through what is pending: claim, do, complete; retry with back-off; a dead letter after the last attempt.

The store is the source of truth. ``wake`` only shortens the wait; a sweep finds whatever a crash left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import structlog

from agent_memory_server.domain.identity import OutsideReach, Principal
from agent_memory_server.domain.jobs import ClaimedIntent, PendingWork
from agent_memory_server.errors import MemoryServerError
from agent_memory_server.ports.outbox import Outbox

Handler = Callable[[ClaimedIntent], Awaitable[None]]

LEASE_S = 60.0
ATTEMPTS_MAX = 8
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 300.0
SWEEP_S = 2.0
"""Longest wait before looking again: what another process left is found within this time."""
_BATCH = 16

_log = structlog.stdlib.get_logger(__name__)


class PendingWorkService:
    def __init__(
        self, *, outbox: Outbox, handlers: Mapping[str, Handler], now: Callable[[], datetime], wake: asyncio.Event
    ) -> None:
        self._outbox = outbox
        self._handlers = handlers
        self._now = now
        self._woken = wake

    async def pending(
        self, caller: Principal, *, namespace: str | None = None, user_id: str | None = None
    ) -> PendingWork:
        """What is still to be done within the caller's scope: what a test awaits instead of sleeping."""
        try:
            selector = caller.selector(namespace, user_id)
        except OutsideReach:
            return PendingWork(pending=0, oldest_age_s=0.0, dead=0)
        return await self._outbox.pending(selector, now=self._now())

    async def run_due(self) -> int:
        """Do everything that is due now; returns how many intents were completed. Failures are recorded, not raised."""
        done = 0
        while True:
            claimed = await self._outbox.claim(
                kinds=tuple(self._handlers), now=self._now(), lease_s=LEASE_S, limit=_BATCH
            )
            if not claimed:
                return done
            for intent in claimed:
                done += await self._do(intent)

    async def run_for_ever(self) -> None:
        """Work until cancelled. A store that is down is waited for; nothing is given up because of it."""
        while True:
            self._woken.clear()
            try:
                await self.run_due()
                wait_s = await self._wait_s()
            except MemoryServerError as error:
                _log.warning("pending work is waiting for the store", reason=error.detail)
                wait_s = SWEEP_S
            try:
                await asyncio.wait_for(self._woken.wait(), timeout=wait_s)
            except TimeoutError:
                pass

    async def _wait_s(self) -> float:
        now = self._now()
        due = await self._outbox.next_due(now=now)
        if due is None:
            return SWEEP_S
        return min(SWEEP_S, max(0.01, (due - now).total_seconds()))

    async def _do(self, intent: ClaimedIntent) -> int:
        try:
            await self._handlers[intent.kind](intent)
        except Exception as error:  # noqa: BLE001 - whatever failed is recorded with its reason and retried
            await self._failed(intent, error)
            return 0
        await self._outbox.complete(intent)
        return 1

    async def _failed(self, intent: ClaimedIntent, error: Exception) -> None:
        attempts = intent.attempts + 1
        reason = error.detail if isinstance(error, MemoryServerError) else f"{type(error).__name__}: {error}"
        retry_at: datetime | None = None
        if attempts < ATTEMPTS_MAX:
            retry_at = self._now() + timedelta(seconds=min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** (attempts - 1)))
        _log.warning("pending work failed", kind=intent.kind, attempts=attempts, dead=retry_at is None, reason=reason)
        await self._outbox.fail(intent, reason=reason, retry_at=retry_at)
