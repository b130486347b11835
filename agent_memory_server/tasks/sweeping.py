"""Working through everything that is pending, for as long as a worker lives.

Every worker does this by itself, and not one of them as a Docket task of its own: after kill -9 a Docket task comes back when
its redelivery time is over (ten minutes by default), while the claims of the store are free again within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.jobs import PendingWork
from agent_memory_server.errors import MemoryServerError
from agent_memory_server.services.presence import RENEW_S

RESTART_S = 1.0
REPORT_S = 60.0
"""How often an operator reads what is pending, while there is something."""

_log = structlog.stdlib.get_logger(__name__)


async def sweep_for_ever(app: MemoryApp) -> None:
    """Work through every lane and ask for what schedules ask for, until cancelled. What is under way is given back then."""
    _log.info("working through pending work", storage=app.storage)
    async with asyncio.TaskGroup() as group:
        for lane, work in app.lanes.items():
            group.create_task(_kept_going(work.run_for_ever), name=f"pending work: {lane.value}")
        group.create_task(_kept_going(app.schedules.run_for_ever), name="schedules")
        group.create_task(_kept_going(lambda: _watched(app)), name="changes for webhooks")
        group.create_task(_kept_going(lambda: _announced(app)), name="presence")
        group.create_task(_kept_going(lambda: _reported(app)), name="report of pending work")


async def _kept_going(run: Callable[[], Awaitable[None]]) -> None:
    """Begin anew whatever ends by an error that nobody expected: one lane's fault stops neither it nor the others."""
    while True:
        try:
            await run()
        except Exception:  # noqa: BLE001 - whatever it was, the work is in the store
            _log.exception("background work was interrupted by an error and begins anew")
        await asyncio.sleep(RESTART_S)


async def _watched(app: MemoryApp) -> None:
    while True:
        # A store that is down is waited for.
        with contextlib.suppress(MemoryServerError):
            await app.webhooks.watch()
        await asyncio.sleep(RESTART_S)


async def _announced(app: MemoryApp) -> None:
    try:
        while True:
            with contextlib.suppress(MemoryServerError):
                await app.presence.announce()
            await asyncio.sleep(RENEW_S)
    finally:
        with contextlib.suppress(MemoryServerError):
            await app.presence.leave()


async def _reported(app: MemoryApp) -> None:
    before = PendingWork(pending=0, oldest_age_s=0.0, dead=0)
    while True:
        with contextlib.suppress(MemoryServerError):
            found = await app.outbox.depth(now=app.now())
            counts = {"pending": found.pending, "oldest_age_s": round(found.oldest_age_s, 1), "dead": found.dead}
            if found.dead > before.dead:
                _log.warning("background work failed for good; see agent-memory tasks --status dead", **counts)
            elif found.oldest_age_s > REPORT_S:
                _log.info("background work is waiting", **counts)
            before = found
        await asyncio.sleep(REPORT_S)
