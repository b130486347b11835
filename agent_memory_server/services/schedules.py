"""Doing things every so often: once an interval for all processes together, whatever is restarted meanwhile.

A schedule does no work itself. When it is due, the work goes into the outbox in the commit that notes the time: from there
it is leased, retried and, in the end, a dead letter like any other work. So a crash loses no round and doubles none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from agent_memory_server.domain.operations import Intent
from agent_memory_server.errors import MemoryServerError
from agent_memory_server.ports.schedules import ScheduleStore

LOOK_S = 5.0
"""Longest wait before looking again: another process may have noted a run, and the clock may have been set."""

_MOMENT = timedelta(seconds=0.05)

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """``intents`` is asked each time what there is to do; nothing is fine. The name is stored: never rename one."""

    name: str
    every: timedelta
    intents: Callable[[], Awaitable[Sequence[Intent]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleLine:
    """A schedule as an operator sees it. ``last`` None: it never was due yet."""

    name: str
    every: timedelta
    last: datetime | None


class ScheduleService:
    def __init__(
        self,
        *,
        store: ScheduleStore,
        schedules: Sequence[Schedule],
        now: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._schedules = schedules
        self._now = now
        self._wake = wake

    async def run_due(self, *, name: str | None = None) -> int:
        """Ask for the work of every schedule that is due (or of the one named); returns how many were.

        One that never ran is due.
        """
        named = [schedule for schedule in self._schedules if name in (None, schedule.name)]
        return sum([await self._run_if_due(schedule) for schedule in named])

    async def until_due(self, name: str) -> timedelta:
        """How long until the schedule is due, at least a moment; a schedule that is not there is looked for again."""
        for schedule in self._schedules:
            if schedule.name == name:
                last = await self._store.last_run(name)
                rest = timedelta(0) if last is None else schedule.every - abs(self._now() - last)
                return max(_MOMENT, rest)
        return timedelta(seconds=LOOK_S)

    async def lines(self) -> Sequence[ScheduleLine]:
        """Every schedule with when it last was due."""
        return [
            ScheduleLine(name=each.name, every=each.every, last=await self._store.last_run(each.name))
            for each in self._schedules
        ]

    async def run_for_ever(self) -> None:
        """Look until cancelled. A store that is down is waited for."""
        while True:
            try:
                await self.run_due()
            except MemoryServerError as error:
                _log.warning("schedules are waiting for the store", reason=error.detail)
            await asyncio.sleep(self._wait_s())

    def _wait_s(self) -> float:
        shortest = min((schedule.every.total_seconds() for schedule in self._schedules), default=LOOK_S)
        return min(LOOK_S, max(0.05, shortest / 4))

    async def _run_if_due(self, schedule: Schedule) -> bool:
        last = await self._store.last_run(schedule.name)
        at = self._now()
        # A last run far in the future is a clock that was set back: waiting for it again could take years.
        if last is not None and abs(at - last) < schedule.every:
            return False
        intents = await schedule.intents()
        if not await self._store.tick(schedule.name, last=last, at=at, intents=intents):
            return False
        _log.debug("schedule was due", schedule=schedule.name, asked_for=len(intents))
        if intents:
            self._wake()
        return True
