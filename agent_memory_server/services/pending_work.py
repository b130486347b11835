"""Working through what is pending: claim, do, complete; retry with back-off; a dead letter after the last attempt.

The store is the source of truth. ``wake`` only shortens the wait; a sweep finds whatever a crash left behind. What is
worked on stays claimed however long it takes, is given back when the process stops, and counts as a failed attempt when it
dies: nothing is "running" for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from agent_memory_server.domain.identity import OutsideReach, Principal
from agent_memory_server.domain.jobs import ClaimedIntent, PendingWork
from agent_memory_server.domain.traceparent import trace_id_of, within_trace
from agent_memory_server.errors import MemoryServerError, ModelAnswerUnusable, TooManyRequests
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.services.quotas import on_account_of

Handler = Callable[[ClaimedIntent], Awaitable[Mapping[str, Any] | None]]
"""Does what one intent asks for; may return a report, which is kept with the tasks that follow it."""

LEASE_S = 10.0
"""Renewed while the work goes on; after a crash another begins with it this much later."""
ATTEMPTS_MAX = 24
"""Before what fails becomes a dead letter: with the waits in between about an hour and a half, as long as outages last."""
UNUSABLE_ATTEMPTS_MAX = 8
"""The same for a model's unusable answers: each attempt costs questions to the model, and time alone changes little."""
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 300.0
SWEEP_S = 2.0
_BACKGROUND = "background"
"""On whose account models are asked for what no credential has caused: upkeep of a tenant."""
"""Longest wait before looking again: what another process left is found within this time."""
INTERRUPTED = "every attempt was interrupted: the process died, or was stopped, while it worked on this"
TOGETHER_S = 0.02
"""After a wake: what is asked for meanwhile is claimed together, which costs one commit instead of many."""
_BATCH = 16

_log = structlog.stdlib.get_logger(__name__)


class PendingWorkService:
    """One lane of work: kinds of intents, ``parallel`` of them at a time. Slow kinds get a lane of their own.

    ``timeout_s``: what takes longer counts as a failed attempt. ``permanent``: failures that no other attempt can change.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        handlers: Mapping[str, Handler],
        now: Callable[[], datetime],
        wake: asyncio.Event,
        lease_s: float = LEASE_S,
        batch: int = _BATCH,
        parallel: int = 1,
        timeout_s: float | None = None,
        permanent: tuple[type[Exception], ...] = (),
    ) -> None:
        self._parallel = parallel
        self._timeout_s = timeout_s
        self._permanent = permanent
        self._lease_s = lease_s
        self._batch = batch
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
                kinds=tuple(self._handlers), now=self._now(), lease_s=self._lease_s, limit=self._batch
            )
            if not claimed:
                return done
            done += await self._do_all(list(claimed))

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
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the wake, and never ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
                    await asyncio.sleep(TOGETHER_S)

    async def _wait_s(self) -> float:
        now = self._now()
        due = await self._outbox.next_due(now=now, kinds=tuple(self._handlers))
        if due is None:
            return SWEEP_S
        return min(SWEEP_S, max(0.01, (due - now).total_seconds()))

    async def _do_all(self, left: list[ClaimedIntent]) -> int:
        """Do what was claimed, first to last; returns how many succeeded. ``left`` shrinks as they are done."""
        waiting = deque(left)
        keeper = asyncio.create_task(self._keep(left), name="keeping claims")
        workers = [
            asyncio.create_task(self._do_waiting(waiting, left), name="pending work")
            for _ in range(min(self._parallel, len(left)))
        ]
        try:
            return sum(await asyncio.gather(*workers))
        except asyncio.CancelledError:
            await _cancelled(workers)
            await self._give_back(left)
            raise
        finally:
            await _cancelled([keeper, *workers])

    async def _do_waiting(self, waiting: deque[ClaimedIntent], left: list[ClaimedIntent]) -> int:
        done = 0
        while waiting:
            intent = waiting.popleft()
            done += await self._do(intent)
            left.remove(intent)
        return done

    async def _keep(self, left: Sequence[ClaimedIntent]) -> None:
        """Renew the claims of what is not done yet, so that no other process begins with it."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            for intent in tuple(left):
                try:
                    await self._outbox.renew(intent, now=self._now(), lease_s=self._lease_s)
                except MemoryServerError as error:
                    _log.warning("a claim could not be renewed", kind=intent.kind, reason=error.detail)

    async def _give_back(self, left: Sequence[ClaimedIntent]) -> None:
        """The process stops: another may go on at once, and this does not count as an attempt."""
        for intent in left:
            with contextlib.suppress(MemoryServerError):
                await self._outbox.release(intent)

    async def _do(self, intent: ClaimedIntent) -> int:
        if intent.attempts >= ATTEMPTS_MAX:
            await self._outbox.fail(intent, reason=INTERRUPTED, retry_at=None)
            return 0
        on_account_of(intent.tenant, str(intent.payload.get("author") or _BACKGROUND))
        # What it logs, and what it asks for in turn, belongs to the request behind it.
        named = {} if intent.traceparent is None else {"trace_id": trace_id_of(intent.traceparent)}
        with within_trace(intent.traceparent), structlog.contextvars.bound_contextvars(**named):
            try:
                async with asyncio.timeout(self._timeout_s):
                    result = await self._handlers[intent.kind](intent)
            except Exception as error:  # noqa: BLE001 - whatever failed is recorded with its reason and retried
                await self._failed(intent, error)
                return 0
            await self._outbox.complete(intent, result=result)
        return 1

    async def _failed(self, intent: ClaimedIntent, error: Exception) -> None:
        attempts = intent.attempts + 1
        retry_at: datetime | None = None
        reason = _reason(error)
        attempts_max = UNUSABLE_ATTEMPTS_MAX if isinstance(error, ModelAnswerUnusable) else ATTEMPTS_MAX
        if attempts < attempts_max and not isinstance(error, self._permanent):
            wait_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** (attempts - 1))
            if isinstance(error, TooManyRequests):
                wait_s = max(wait_s, error.retry_after_s)
            retry_at = self._now() + timedelta(seconds=wait_s)
        _log.warning(
            "pending work failed",
            kind=intent.kind,
            attempts=attempts,
            dead=retry_at is None,
            reason=reason,
            exc_info=None if isinstance(error, MemoryServerError | TimeoutError) else error,
        )
        await self._outbox.fail(intent, reason=reason, retry_at=retry_at)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryServerError):
        return error.detail
    if isinstance(error, TimeoutError) and not str(error):
        return "it took longer than the time that a task may take"
    # Clients read this: what an unforeseen error says may hold paths or other people's text. The log has it.
    return f"an unexpected failure ({type(error).__name__}); the server's log says more"


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel what is not done, and wait until it ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
