"""Reads: short ones at once on the event loop's own thread, longer ones on a few threads with a connection each.

Handing a read to a thread costs more than most reads do: each of its statements gives up the interpreter lock and waits for
it again. So every read begins where it was asked for, and one that does not end within ``AT_ONCE_S``, or says that it is going
to be long (``Connected.leave_event_loop``), is interrupted and begun anew on a thread, where it holds up nothing.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw

from agent_memory_server.errors import MemoryServerError, StoreBusy, StoreTimeout
from agent_memory_server.stores.sqlite import failures
from agent_memory_server.stores.sqlite.connections import READ_LIMIT_S, Connected, LeaveEventLoop, Link, run

Result = TypeVar("Result")
AT_ONCE_S = 0.005
"""How long one read may hold up the event loop."""
_STEPS_BETWEEN_LOOKS = 50_000
_STEPS_BETWEEN_LOOKS_AT_ONCE = 500
"""Some fifty microseconds apart, or a few pages that come from a slow disk."""


_TIMES_ANEW_MAX = 5
"""How many times its limit a read that keeps what it has done may take beyond the first."""
_CACHE_AT_ONCE_KIB = 64 * 1024
"""Most reads take place here; what they find cached costs no system call."""


class _Job:
    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Callable[[Connected], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()


class Deadline:
    """Interrupts the statements of one connection when their time is over."""

    def __init__(
        self,
        limit_s: float,
        *,
        steps_between_looks: int = _STEPS_BETWEEN_LOOKS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._steps_between_looks = steps_between_looks
        self._begun = self._until = float("inf")

    def attach(self, connection: apsw.Connection) -> None:
        connection.set_progress_handler(self._is_over, self._steps_between_looks)

    def start(self) -> None:
        self._begun = self._clock()
        self._until = self._begun + self._limit_s

    def go_on(self) -> None:
        """Time anew for what has come further, and what it has will not be lost; not without end, as somebody waits for it."""
        self._until = min(self._clock(), self._begun + _TIMES_ANEW_MAX * self._limit_s) + self._limit_s

    def lift(self) -> None:
        """The end of a transaction is never interrupted: it would stay open."""
        self._until = float("inf")

    def _is_over(self) -> bool:
        return self._clock() > self._until


class _AtOnce:
    """The connection of one event loop's thread, for reads that end within ``AT_ONCE_S``.

    Reads of one turn of the event loop share a snapshot: a search makes four, and beginning and ending each cost as much as the
    shorter ones themselves. Nobody can tell: whoever was told of a write acts in a later turn, which takes a new snapshot.
    """

    def __init__(self, path: Path) -> None:
        self._thread: int | None = None
        self._deadline = Deadline(AT_ONCE_S, steps_between_looks=_STEPS_BETWEEN_LOOKS_AT_ONCE)
        self._link = Link(path, prepare=self._prepare)
        self._held_s = 0.0
        self._snapshot: Connected | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def _prepare(self, connection: apsw.Connection) -> None:
        self._deadline.attach(connection)
        connection.set_busy_timeout(0)
        run(connection, f"PRAGMA cache_size = -{_CACHE_AT_ONCE_KIB}")

    def serves_this_thread(self) -> bool:
        """A connection serves one thread: that of the event loop which asked first."""
        current = threading.get_ident()
        if self._thread is None:
            self._thread = current
        return self._thread == current

    def answer(self, work: Callable[[Connected], Any]) -> tuple[Any, BaseException | None]:
        """Outcome and error; the error is LeaveEventLoop when the read has to be begun anew on a thread."""
        begun = time.perf_counter()
        outcome, error = self._answered(work)
        self._held_s += time.perf_counter() - begun
        return outcome, LeaveEventLoop() if isinstance(error, StoreTimeout | StoreBusy) else error

    def _answered(self, work: Callable[[Connected], Any]) -> tuple[Any, BaseException | None]:
        try:
            connected = self._opened()
            self._deadline.start()
            outcome = work(connected)
            self._deadline.lift()
        except Exception as error:  # noqa: BLE001 - the boundary, as in ``answer``
            self._end()
            return None, _told(self._link, error)
        return outcome, None

    def _opened(self) -> Connected:
        """The connection within this turn's snapshot."""
        loop = asyncio.get_running_loop()
        if self._snapshot is not None and self._loop is loop:
            return self._snapshot
        self._end()
        connected = self._link.open()
        connected.on_event_loop = True
        connected.selections = {}
        self._snapshot, self._loop = connected, loop
        run(connected.connection, "BEGIN")
        # Before anything that this turn makes ready to run.
        loop.call_soon(self._end)
        return connected

    def _end(self) -> None:
        """End the snapshot, if there is one; its end is never interrupted."""
        self._deadline.lift()
        connected, self._snapshot = self._snapshot, None
        if connected is None:
            return
        connected.selections = None
        try:
            if connected.connection.in_transaction:
                run(connected.connection, "COMMIT")
        except apsw.Error:
            self._link.drop()  # nothing is lost by it: it only reads

    def has_held_long(self) -> bool:
        """Whether others should get their turn now: reads that all end at once would never let them in."""
        if self._held_s < AT_ONCE_S:
            return False
        self._held_s = 0.0
        return True

    def close(self) -> None:
        self._end()
        self._link.drop()


class Readers:
    """``run`` gives a job one consistent snapshot. Raises the errors of ``failures``; StoreTimeout after ``limit_s``.

    A job may be begun twice, and must do everything through its connection.
    """

    def __init__(self, path: Path, *, threads: int, limit_s: float = READ_LIMIT_S) -> None:
        self._path = path
        self._limit_s = limit_s
        self._at_once = _AtOnce(path)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"sqlite-reader-{number}", daemon=True)
            for number in range(threads)
        ]
        self._closed = False

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[[Connected], Result]) -> Result:
        if self._closed:
            raise failures.unavailable()
        if self._at_once.serves_this_thread():
            outcome, error = self._at_once.answer(work)
            if self._at_once.has_held_long():
                await asyncio.sleep(0)
            if error is None:
                return outcome
            if not isinstance(error, LeaveEventLoop):
                raise error
        job = _Job(work, asyncio.get_running_loop())
        self._jobs.put(job)
        return await job.future

    async def close(self) -> None:
        self._closed = True
        self._at_once.close()
        for _ in self._threads:
            self._jobs.put(None)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        deadline = Deadline(self._limit_s)
        link = Link(self._path, prepare=deadline.attach, go_on=deadline.go_on)
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            outcome, error = answer(link, deadline, job.work)
            _tell(job, outcome, error)
        link.drop()


def answer(link: Link, deadline: Deadline, work: Callable[[Connected], Any]) -> tuple[Any, BaseException | None]:
    """Run the job within one read transaction; its outcome, or an error of ours."""
    deadline.start()
    try:
        connected = link.open()
        connection = connected.connection
        try:
            # Within the try: an interrupt can come after BEGIN took effect.
            run(connection, "BEGIN")
            connected.selections = {}
            return work(connected), None
        finally:
            deadline.lift()
            connected.selections = None
            if connection.in_transaction:
                run(connection, "COMMIT")
    except Exception as error:  # noqa: BLE001 - the boundary: every failure becomes one of ours, and reaches the caller
        return None, _told(link, error)


def _told(link: Link, error: Exception) -> Exception:
    """The failure as one of ours; a connection that may be harmed is given up."""
    if isinstance(error, LeaveEventLoop):
        return error
    if failures.wants_new_connection(error):
        link.drop()
    if isinstance(error, MemoryServerError):
        return error
    ours = failures.translated(error)
    ours.__cause__ = error
    return ours


def _tell(job: _Job, outcome: Any, error: BaseException | None) -> None:
    try:
        job.loop.call_soon_threadsafe(_resolve, job.future, outcome, error)
    except RuntimeError:
        pass  # the caller's event loop is gone, and the caller with it


def _resolve(future: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(outcome)
