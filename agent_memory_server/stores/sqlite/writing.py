"""All writes of this process go through one thread, which commits those that wait together with a single fsync.

One job's failure undoes that job alone: the others of its group are then run again, in savepoints. A job is acknowledged
after the COMMIT that holds it; a caller that is cancelled meanwhile changes nothing about that.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import apsw

from agent_memory_server.errors import MemoryServerError, StoreFull
from agent_memory_server.stores.sqlite import failures
from agent_memory_server.stores.sqlite.connections import BUSY_TIMEOUT_MS, Connected, Link

Result = TypeVar("Result")
GROUP_MAX = 64
"""Jobs in one transaction: bounds how long the first of them waits for the others."""
PATIENCE_S = 0.05
"""How long a job that may wait is held back for others to share its commit."""
BUSY_TIMEOUT_MIN_MS = 50
"""How long a group waits for another process's lock when its jobs have been waiting already."""


class _Job:
    __slots__ = ("asked_at", "error", "future", "loop", "outcome", "work")

    def __init__(self, work: Callable[[Connected], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.asked_at = time.monotonic()
        self.future: asyncio.Future[Any] = loop.create_future()
        self.outcome: Any = None
        self.error: MemoryServerError | None = None

    def failed(self, error: BaseException) -> None:
        if isinstance(error, MemoryServerError):
            self.error = error
        else:
            self.error = failures.translated(error)
            self.error.__cause__ = error


class _Nudge(Enum):
    """Wakes the thread to look at the patient jobs."""

    LOOK = "look"


_LOOK = _Nudge.LOOK


class _TransactionLost(Exception):
    """SQLite rolled the whole transaction back: nothing of the group is stored."""


class _JobFailed(Exception):
    """A job of a group failed that ran without savepoints: nothing of the group is stored, and the others are to run again."""


class Writer:
    """``run`` applies a job durably, or raises one of ``failures``' errors and has applied nothing of it."""

    def __init__(self, path: Path) -> None:
        self._link = Link(path)
        self._jobs: queue.SimpleQueue[_Job | _Nudge | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._patient: deque[_Job] = deque()
        self._closed = False

    def start(self) -> None:
        self._thread.start()

    async def run(self, work: Callable[[Connected], Result]) -> Result:
        """``work`` may run more than once (after a rollback) and must do everything through its connection."""
        if self._closed:
            raise failures.unavailable()
        job = _Job(work, asyncio.get_running_loop())
        self._jobs.put(job)
        return await job.future

    async def run_patiently(self, work: Callable[[Connected], Result]) -> Result:
        """As ``run``, for what nobody waits for: it joins the next commit of others, or all that are patient share one."""
        if self._closed:
            raise failures.unavailable()
        job = _Job(work, asyncio.get_running_loop())
        self._patient.append(job)
        if len(self._patient) == 1:
            self._jobs.put(_LOOK)
        return await job.future

    async def close(self) -> None:
        """Finish every job that was handed in, fold the log into the file, and close."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                self._apply(group)
                _tell(group)
        while self._patient:
            group = self._with_patient([])
            self._apply(group)
            _tell(group)
        self._shut()

    def _next_group(self) -> tuple[list[_Job], bool]:
        """The jobs that wait, with the patient ones; False when there will be no more of them."""
        group: list[_Job] = []
        wait_s = PATIENCE_S if self._patient else None
        while len(group) < GROUP_MAX:
            try:
                job = self._jobs.get_nowait() if group else self._jobs.get(timeout=wait_s)
            except queue.Empty:
                break
            if job is None:
                return self._with_patient(group), False
            if isinstance(job, _Job):
                group.append(job)
            elif wait_s is None:
                wait_s = PATIENCE_S
        return self._with_patient(group), True

    def _with_patient(self, group: list[_Job]) -> list[_Job]:
        while self._patient and len(group) < GROUP_MAX:
            group.append(self._patient.popleft())
        return group

    def _apply(self, group: Sequence[_Job]) -> None:
        """Give every job of the group its outcome or its error.

        Savepoints cost a copy of every page that a job changes, and most jobs succeed: so the group runs without them first,
        and again with them when one of its jobs failed.
        """
        try:
            try:
                self._transact(group, guarded=False)
            except _JobFailed:
                self._transact(group, guarded=True)
        except _TransactionLost:
            # One of them does not fit, or broke the transaction: each gets a transaction of its own.
            for job in group:
                self._apply_alone(job)
        except Exception as error:  # noqa: BLE001 - the boundary: the callers get it
            if len(group) > 1 and isinstance(failures.translated(error), StoreFull):
                for job in group:
                    self._apply_alone(job)
                return
            for job in group:
                job.failed(error)

    def _apply_alone(self, job: _Job) -> None:
        job.outcome, job.error = None, None
        try:
            self._transact([job], guarded=False)
        except _TransactionLost as lost:
            job.failed(lost.__cause__ or lost)
        except Exception as error:  # noqa: BLE001 - the boundary: the caller gets it
            job.failed(error)

    def _transact(self, group: Sequence[_Job], *, guarded: bool) -> None:
        try:
            connected = self._link.open()
            connected.connection.set_busy_timeout(_patience_ms(group))
            connected.execute("BEGIN IMMEDIATE")
            try:
                for job in group:
                    if guarded:
                        self._attempt(connected, job)
                    else:
                        self._trust(connected, job, is_alone=len(group) == 1)
                self._link.still_there()
                connected.execute("COMMIT")
            except BaseException:
                _roll_back(connected)
                raise
        except _TransactionLost as lost:
            if lost.__cause__ is not None and failures.wants_new_connection(lost.__cause__):
                self._link.drop()
            raise
        except _JobFailed:
            raise
        except Exception as error:
            if failures.wants_new_connection(error):
                self._link.drop()
            raise

    @staticmethod
    def _trust(connected: Connected, job: _Job, *, is_alone: bool) -> None:
        """Run the job without a savepoint: what fails undoes the transaction. Raises what a job alone raised; _JobFailed and
        _TransactionLost where others are concerned."""
        try:
            job.outcome = job.work(connected)
        except Exception as error:
            if is_alone:
                raise
            if not connected.connection.in_transaction or failures.wants_new_connection(error):
                raise _TransactionLost from error
            raise _JobFailed from error

    @staticmethod
    def _attempt(connected: Connected, job: _Job) -> None:
        connected.execute("SAVEPOINT job")
        try:
            job.outcome = job.work(connected)
            connected.execute("RELEASE job")
        except Exception as error:
            connected.forget()
            if not connected.connection.in_transaction or failures.wants_new_connection(error):
                raise _TransactionLost from error
            connected.execute("ROLLBACK TO job")
            connected.execute("RELEASE job")
            job.failed(error)

    def _shut(self) -> None:
        try:
            self._link.open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (apsw.Error, MemoryServerError, OSError):
            pass  # what was acknowledged is in the log already; the next start folds it in
        self._link.drop()


def _patience_ms(group: Sequence[_Job]) -> int:
    """What is left of the busy timeout for the job that waits longest: while another program holds the lock, groups queue
    up behind each other, and each must hear of it in time."""
    waited_ms = int((time.monotonic() - min(job.asked_at for job in group)) * 1000)
    return max(BUSY_TIMEOUT_MIN_MS, BUSY_TIMEOUT_MS - waited_ms)


def _roll_back(connected: Connected) -> None:
    connected.forget()
    if connected.connection.in_transaction:
        try:
            connected.execute("ROLLBACK")
        except apsw.Error:
            connected.connection.close(True)


def _tell(group: Sequence[_Job]) -> None:
    """Wake each event loop once for all its jobs."""
    loops = {job.loop for job in group}
    for loop in loops:
        mine = [job for job in group if job.loop is loop]
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:
            pass  # that loop is gone, and its callers with it; what was committed stays


def _resolve(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.outcome)
