"""Talking to Redis: a bounded pool, time-outs below the promised five seconds, scripts, and durable writes.

Nothing is retried on its own but a read whose connection had been closed meanwhile, and what a server refused because another
one takes the writes now: a write that may have been applied is answered as a failure, and the transaction that comes again finds
out what is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from agent_memory_server.errors import StoreUnavailable
from agent_memory_server.redis_addresses import Host, Topology, parse_address
from agent_memory_server.stores.redis import failures, naming
from agent_memory_server.stores.redis.channel import Argument, Channel, Command
from agent_memory_server.stores.redis.finding import connection_options, node_client, open_finder
from agent_memory_server.stores.redis.remembering import Remembered

LIMIT_S = 4.5
"""A call that takes longer fails: the promise is an answer within five seconds."""
CONNECTIONS_MAX = 64
_CONNECT_LIMIT_S = 2.0
_ELSEWHERE = (exceptions.ReadOnlyError, exceptions.MovedError)
"""The server took part in a failover and refused: nothing was applied, and another one is to be asked."""

_PARSED = ("INFO",)
"""What the client reads for us is asked through its pool, one connection a call; everything else shares channels."""


class Script:
    """A Lua script of this package. ``allow_oom``: it frees memory, so it also runs when there is none left."""

    def __init__(self, name: str, *, writes: bool = True, allow_oom: bool = False) -> None:
        text = _text_of(name)
        flags = "no-writes" if not writes else "allow-oom" if allow_oom else ""
        self.text = f"#!lua flags={flags}\n{text}" if flags else f"#!lua\n{text}"
        self.digest = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - the name that Redis gives it


@cache
def _text_of(name: str) -> str:
    return (Path(__file__).parent / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


class Link:
    """One Redis as this process reaches it. Raises the errors of ``failures`` and no others."""

    def __init__(self, url: str, *, strict: bool = False) -> None:
        self.address = parse_address(url)
        self.strict = strict
        self.barred: str | None = None
        """Why this database must not be used as it is; then every call is refused with this sentence."""
        self.claimed = False
        """Our data is there: a database without it was emptied, which is a failure and not an empty store."""
        self._emptied = False
        self.connected = 0
        """How often a connection was made: what was known of the server may have changed with it."""
        self.remembered = Remembered()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._finder = open_finder(self.address, changed=self._leave)
        self._leaving: asyncio.Task[None] | None = None
        self._pool = BlockingConnectionPool(
            max_connections=CONNECTIONS_MAX,
            timeout=LIMIT_S,
            socket_timeout=LIMIT_S,
            socket_connect_timeout=_CONNECT_LIMIT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            client_name="agent-memory",
            redis_connect_func=self._count_connection,
            **connection_options(self.address, self._finder),
        )
        self._redis = Redis(connection_pool=self._pool)
        # A search that walks over much holds up other searches, never a read or a write.
        self._commands = Channel(self._pool, limit_s=LIMIT_S)
        self._searches = Channel(self._pool, limit_s=LIMIT_S)
        self._durable = Channel(self._pool, limit_s=LIMIT_S, confirmation=("WAITAOF", 1, 0, round(LIMIT_S * 900)))

    async def _count_connection(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        if self.claimed:
            await connection.send_command("GET", naming.SCHEMA)
            self._emptied = await connection.read_response() is None
        self.connected += 1

    def alone(self, name: str) -> asyncio.Lock:
        """A lock of this process: those that would only make each other begin again wait in line instead."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    async def read(self, *command: Argument) -> Any:
        return (await self.reads(command))[0]

    async def reads(self, *commands: Command) -> list[Any]:
        """The answers to several commands in one round trip."""
        self._admit()
        try:
            return await self._sent(commands)
        except (exceptions.ConnectionError, OSError) as error:
            if isinstance(error, TimeoutError | exceptions.TimeoutError | exceptions.AuthenticationError):
                raise failures.translated(error) from error
            return await self._ours(commands)
        except Exception as error:
            raise failures.translated(error) from error

    async def write(self, *command: Argument) -> Any:
        """One command that changes something, durable when it returns (as far as this store promises)."""
        return (await self._ours((command,), durable=True))[0]

    async def script(self, script: Script, arguments: Sequence[Argument], *, durable: bool = False) -> Any:
        """Run a script, loading it when the server does not know it (any more)."""
        try:
            return (await self._ours((("EVALSHA", script.digest, 0, *arguments),), durable=durable))[0]
        except exceptions.NoScriptError:
            return (await self._ours((("EVAL", script.text, 0, *arguments),), durable=durable))[0]

    async def raw(self, *command: Argument) -> Any:
        """One command; the client's own errors come through. For opening and for the search index."""
        return (await self._sent((command,)))[0]

    async def raws(self, *commands: Command) -> list[Any]:
        """Several commands to the search index; the client's own errors come through.

        While a cluster moves our slot, an index would leave out in silence what has moved already: that is a failure (AskError).
        """
        self._admit()
        if self.address.topology is not Topology.CLUSTER:
            return await self._sent(commands, channel=self._searches)
        return (await self._sent((*commands, ("EXISTS", naming.NEVER)), channel=self._searches))[:-1]

    def _admit(self) -> None:
        if self.barred is not None:
            raise StoreUnavailable(self.barred, retry_after_s=30)

    def lost(self) -> StoreUnavailable:
        """The data went away under us."""
        return StoreUnavailable(
            "The database was emptied while this server ran: restore it, or restart the server to begin anew.",
            retry_after_s=10,
        )

    async def _still_ours(self, commands: Sequence[Command]) -> None:
        """Whether what was just answered came from our data. A new connection looks, since a Redis that comes back may have
        lost everything; as long as nothing is there, every answer is looked at."""
        if self._emptied and not (len(commands) == 1 and commands[0][:2] == ("GET", naming.SCHEMA)):
            held: Any = await self._redis.execute_command("GET", naming.SCHEMA)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            self._emptied = held is None
            if self._emptied:
                raise self.lost()

    async def close(self) -> None:
        for channel in (self._commands, self._searches, self._durable):
            await channel.close()
        await self._redis.aclose(close_connection_pool=True)
        await self._finder.close()

    async def servers(self) -> tuple[Host, ...]:
        """Every server that takes writes; the client's own errors come through."""
        return await self._finder.primaries()

    async def raw_at(self, server: Host, *command: Argument) -> Any:
        """One command at a server that ``servers`` named; the client's own errors come through."""
        client = node_client(self.address, server)
        try:
            return await client.execute_command(*command)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        finally:
            await client.aclose()

    async def _ours(self, commands: Sequence[Command], *, durable: bool = False) -> list[Any]:
        self._admit()
        try:
            return await self._sent(commands, durable=durable)
        except exceptions.NoScriptError:
            raise
        except Exception as error:
            raise failures.translated(error) from error

    async def _sent(
        self, commands: Sequence[Command], *, durable: bool = False, channel: Channel | None = None
    ) -> list[Any]:
        try:
            return await self._sent_once(commands, durable=durable, channel=channel or self._commands)
        except _ELSEWHERE:
            self._leave()
            return await self._sent_once(commands, durable=durable, channel=channel or self._commands)

    def _leave(self) -> None:
        """Another server takes the writes: what is open leads to one that may still answer, with what it had."""
        for each in (self._commands, self._searches, self._durable):
            each.drop()
        # Connections of the pool that are in use find out themselves.
        self._leaving = asyncio.create_task(self._pool.disconnect(inuse_connections=False), name="redis-leave")

    async def _sent_once(self, commands: Sequence[Command], *, durable: bool, channel: Channel) -> list[Any]:
        waits = durable and self.strict
        async with asyncio.timeout(LIMIT_S):
            if len(commands) == 1 and commands[0][0] in _PARSED:
                answers: list[Any] = [await self._redis.execute_command(*commands[0])]  # pyright: ignore[reportUnknownMemberType]
            else:
                answers = await (self._durable if waits else channel).send(commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        if self._emptied:
            await self._still_ours(commands)
        if waits and answers.pop()[0] < 1:
            raise failures.not_durable()
        return answers
