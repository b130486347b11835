"""One connection that all calls of a process share: what is asked in one turn of the event loop goes out together.

Answers come in the order of the questions, so many calls wait at once and none takes a connection for itself. A durable
channel has one group of writes under way at a time and asks once for all of them whether they are on disk; what is written
meanwhile is the next group.

A connection that breaks fails whatever waits on it, and the next call makes a new one. Who stops waiting leaves the answer to
be read and dropped; a connection that has gone silent is given up, since everything behind that answer is overdue too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

Argument = str | bytes | int | float
Command = tuple[Argument, ...]

_BROKEN = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, EOFError, exceptions.InvalidResponse)
_ANSWERS = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
)
"""Errors that Redis answers with, though the client counts some of them to the broken connections."""


class _Call:
    """Commands that were asked together, and their answers as they come."""

    __slots__ = ("answers", "asked", "count", "done", "packed")

    def __init__(self, packed: bytes, count: int, done: asyncio.Future[list[Any]], *, asked: float = 0.0) -> None:
        self.packed = packed
        self.count = count
        self.done = done
        self.asked = asked
        self.answers: list[Any] = []


class Channel:
    """Takes its connection from ``pool`` when it is first asked. ``confirmation``: the command of a durable channel whose
    answer is added to the answers of each call, once its group has been confirmed."""

    def __init__(self, pool: ConnectionPool, *, limit_s: float, confirmation: Command | None = None) -> None:
        self._pool = pool
        self._limit_s = limit_s
        self._confirmation: bytes | None = None if confirmation is None else _packed(confirmation)
        self._outgoing: list[_Call] = []
        self._waiting: deque[_Call] = deque()
        self._grouped: list[_Call] = []
        """The calls of the group that is under way on a durable channel."""
        self._wake = asyncio.Event()
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._releasing: set[asyncio.Task[None]] = set()
        self._heard_at = 0.0
        """When the last answer came."""

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, errors of Redis among them as values. Raises the client's errors when the connection breaks."""
        packed = b"".join([_packed(command) for command in commands])
        if self._connection is None:
            await self._connect()
        loop = asyncio.get_running_loop()
        call = _Call(packed, len(commands), loop.create_future(), asked=loop.time())
        self._outgoing.append(call)
        self._wake.set()
        try:
            return await call.done
        except asyncio.CancelledError:
            loop.call_at(call.asked + self._limit_s, self._drop_if_overdue, call)
            raise

    async def close(self) -> None:
        self._lose(exceptions.ConnectionError("closed"))
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._releasing, return_exceptions=True)

    def drop(self) -> None:
        """Give the connection up: it leads to a server that no longer is the right one."""
        self._lose(exceptions.ConnectionError("another server takes the writes now"))

    def _drop_if_overdue(self, call: _Call) -> None:
        """Give up a connection that says nothing any more. One that answers, late, is only busy: a new one would not be faster,
        and everybody else who waits on it would fail."""
        is_silent = asyncio.get_running_loop().time() - max(self._heard_at, call.asked) > self._limit_s / 2
        if is_silent and (call in self._waiting or call in self._grouped):
            self._lose(exceptions.TimeoutError("an answer is overdue"))

    async def _connect(self) -> None:
        async with self._connecting:
            if self._connection is not None:
                return
            for task in self._tasks:
                task.cancel()
            connection = await self._pool.get_connection()
            # Reads wait for as long as nobody asks; each call has a limit of its own.
            connection.socket_timeout = None
            self._connection = connection
            self._tasks = [
                asyncio.create_task(self._write(connection), name="redis-writes"),
                asyncio.create_task(self._read(connection), name="redis-reads"),
            ]

    async def _write(self, connection: AbstractConnection) -> None:
        try:
            while self._connection is connection:
                await self._wake.wait()
                self._wake.clear()
                # Whoever is ready to ask in this turn comes along.
                await asyncio.sleep(0)
                calls, self._outgoing = self._outgoing, []
                calls = [call for call in calls if not call.done.done()]
                if not calls:
                    continue
                packed = b"".join([call.packed for call in calls])
                if self._confirmation is None:
                    self._waiting.extend(calls)
                    await connection.send_packed_command(packed, check_health=False)
                else:
                    await self._write_durably(connection, calls, packed + self._confirmation)
        except _BROKEN as error:
            self._lose(error, of=connection)

    async def _write_durably(self, connection: AbstractConnection, calls: list[_Call], packed: bytes) -> None:
        """One group; returns when it is confirmed."""
        loop = asyncio.get_running_loop()
        self._grouped = calls
        inner = [_Call(b"", call.count, loop.create_future()) for call in calls]
        confirmed = _Call(b"", 1, loop.create_future())
        self._waiting.extend((*inner, confirmed))
        await connection.send_packed_command(packed, check_health=False)
        try:
            (confirmation,) = await confirmed.done
        except _BROKEN as error:
            for call in calls:
                _fail(call, error)
            return
        finally:
            self._grouped = []
        for call, each in zip(calls, inner, strict=True):
            if not call.done.done():
                call.done.set_result([*each.answers, confirmation])

    async def _read(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._connection is connection:
                try:
                    answer: Any = await connection.read_response(disconnect_on_error=False)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                except (exceptions.ResponseError, *_ANSWERS) as error:
                    answer = error
                if not self._waiting:
                    raise exceptions.InvalidResponse("an answer that nobody asked for")
                self._heard_at = loop.time()
                call = self._waiting[0]
                call.answers.append(answer)
                if len(call.answers) == call.count:
                    self._waiting.popleft()
                    if not call.done.done():
                        call.done.set_result(call.answers)
        except _BROKEN as error:
            self._lose(error, of=connection)

    def _lose(self, error: BaseException, *, of: AbstractConnection | None = None) -> None:
        """Give the connection up: everything that waits on it fails."""
        connection = self._connection
        if connection is None or (of is not None and of is not connection):
            return
        self._connection = None
        failing, self._waiting = [*self._waiting, *self._outgoing], deque()
        self._outgoing = []
        for call in failing:
            _fail(call, error)
        releasing = asyncio.create_task(self._released(connection), name="redis-release")
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)

    async def _released(self, connection: AbstractConnection) -> None:
        connection.socket_timeout = self._limit_s
        with contextlib.suppress(*_BROKEN):
            await connection.disconnect(nowait=True)
        await self._pool.release(connection)


def _packed(command: Command) -> bytes:
    pack: Any = hiredis.pack_command  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # no stub
    return cast(bytes, pack(command))


def _fail(call: _Call, error: BaseException) -> None:
    if not call.done.done():
        call.done.set_exception(error)
        # Nobody may be waiting any more.
        call.done.exception()
