"""Reads run on a few threads with a connection each, so that a slow one blocks neither the event loop nor the others."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw

from agent_memory_server.errors import MemoryServerError
from agent_memory_server.stores.sqlite import failures
from agent_memory_server.stores.sqlite.connections import READ_LIMIT_S, Connected, Link, run

Result = TypeVar("Result")
_STEPS_BETWEEN_LOOKS = 50_000


class _Job:
    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Callable[[Connected], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()


class Deadline:
    """Interrupts the statements of one connection when their time is over."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._until = float("inf")

    def attach(self, connection: apsw.Connection) -> None:
        connection.set_progress_handler(self._is_over, _STEPS_BETWEEN_LOOKS)

    def start(self) -> None:
        self._until = time.monotonic() + self._limit_s

    def _is_over(self) -> bool:
        return time.monotonic() > self._until


class Readers:
    """``run`` gives a job one consistent snapshot. Raises the errors of ``failures``; StoreTimeout after ``limit_s``."""

    def __init__(self, path: Path, *, threads: int, limit_s: float = READ_LIMIT_S) -> None:
        self._path = path
        self._limit_s = limit_s
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
        job = _Job(work, asyncio.get_running_loop())
        self._jobs.put(job)
        return await job.future

    async def close(self) -> None:
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        deadline = Deadline(self._limit_s)
        link = Link(self._path, prepare=deadline.attach)
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            outcome, error = self._answer(link, deadline, job.work)
            _tell(job, outcome, error)
        link.drop()

    @staticmethod
    def _answer(link: Link, deadline: Deadline, work: Callable[[Connected], Any]) -> tuple[Any, BaseException | None]:
        deadline.start()
        try:
            connected = link.open()
            connection = connected.connection
            run(connection, "BEGIN")
            try:
                return work(connected), None
            finally:
                if connection.in_transaction:
                    run(connection, "COMMIT")
        except MemoryServerError as error:
            if failures.wants_new_connection(error):
                link.drop()
            return None, error
        except Exception as error:  # noqa: BLE001 - the boundary: every failure becomes one of ours, and reaches the caller
            if failures.wants_new_connection(error):
                link.drop()
            ours = failures.translated(error)
            ours.__cause__ = error
            return None, ours


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
