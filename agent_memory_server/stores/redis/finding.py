"""Which server takes the writes now: the one of the URL, the owner of our slot in a cluster, or the master the Sentinels name.

Every new connection asks, so a failover is followed by whoever connects next. Answers are those of the moment: when they were
wrong, the server says so itself (READONLY, MOVED) and ``connections`` connects anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot

from agent_memory_server.redis_addresses import Address, Host, Topology
from agent_memory_server.stores.redis import naming

_ASK_LIMIT_S = 1.0
"""How long one node or Sentinel may take to say where the server is; then the next is asked."""
_FRESH_S = 0.2
"""Connections that are made together ask once."""


class Finder(Protocol):
    """Where to connect to."""

    async def primary(self) -> Host:
        """The server that takes our writes. Raises ``redis.exceptions.ConnectionError`` when nobody can say."""
        ...

    async def primaries(self) -> tuple[Host, ...]:
        """Every server that takes writes of anybody: where another application's keys may be."""
        ...

    async def close(self) -> None: ...


class _Fixed:
    """One server, always."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def primary(self) -> Host:
        return self._host

    async def primaries(self) -> tuple[Host, ...]:
        return (self._host,)

    async def close(self) -> None:
        return


class _Asking:
    """Somebody is asked, by one caller for all who want to know at the same time."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._lock = asyncio.Lock()
        self._known: Host | None = None
        self._last: Host | None = None
        self._asked_at = float("-inf")

    async def primary(self) -> Host:
        async with self._lock:
            if self._known is None or time.monotonic() - self._asked_at > _FRESH_S:
                self._known = None
                self._known = await self._ask()
                self._asked_at = time.monotonic()
                before, self._last = self._last, self._known
                if before not in (None, self._known):
                    self._changed()
            return self._known

    async def _ask(self) -> Host:
        raise NotImplementedError


class _ClusterFinder(_Asking):
    """The owner of our one slot, as the first node says that answers; nodes learnt later are asked too."""

    def __init__(self, address: Address, changed: Callable[[], None]) -> None:
        super().__init__(changed)
        self._options = _node_options(address)
        self._nodes = address.hosts
        self._slot: int = key_slot(naming.PREFIX.encode())

    async def _ask(self) -> Host:
        for first, last, owner in await self._ranges():
            if first <= self._slot <= last:
                return owner
        raise exceptions.ClusterDownError(f"no node serves slot {self._slot}")

    async def primaries(self) -> tuple[Host, ...]:
        return tuple(dict.fromkeys(owner for _, _, owner in await self._ranges()))

    async def close(self) -> None:
        return

    async def _ranges(self) -> list[tuple[int, int, Host]]:
        """(first slot, last slot, owner)."""
        failure: Exception | None = None
        for node in self._nodes:
            try:
                told = await _asked(node, self._options, "CLUSTER SLOTS")
            except exceptions.AuthenticationError:
                raise
            except exceptions.ResponseError as error:
                if "cluster support disabled" in str(error).lower():
                    raise
                failure = error
                continue
            except (exceptions.RedisError, OSError) as error:
                failure = error
                continue
            ranges = [(int(each[0]), int(each[1]), _host_of(each[2], node)) for each in told]
            owners = [owner for _, _, owner in ranges]
            # What answers stays first; the rest are asked when it no longer does.
            self._nodes = tuple(dict.fromkeys((node, *owners, *self._nodes)))
            return ranges
        raise failure or exceptions.ConnectionError("no node of the cluster could be asked")


class _SentinelFinder(_Asking):
    """The master as the first Sentinel says that answers and sees it alive."""

    def __init__(self, address: Address, changed: Callable[[], None]) -> None:
        super().__init__(changed)
        self._service = address.service
        named = {"username": address.sentinel_username, "password": address.sentinel_password}
        options = {name: value for name, value in named.items() if value is not None}
        self._sentinel = Sentinel(
            list(address.hosts),
            sentinel_kwargs={
                **_waiting_options(),
                **options,
                **({"ssl": True, **address.tls_options} if address.tls else {}),
            },
        )

    async def _ask(self) -> Host:
        name, port = await self._sentinel.discover_master(self._service)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return str(cast(object, name)), int(cast(int, port))

    async def primaries(self) -> tuple[Host, ...]:
        return (await self.primary(),)

    async def close(self) -> None:
        # The manager of older clients has no way to close.
        for client in self._sentinel.sentinels:
            with contextlib.suppress(exceptions.RedisError, OSError):
                await client.aclose()


def open_finder(address: Address, *, changed: Callable[[], None]) -> Finder:
    """``changed`` is called when the answer differs from the last one: connections that are open lead elsewhere."""
    if address.topology is Topology.CLUSTER:
        return _ClusterFinder(address, changed)
    if address.topology is Topology.SENTINEL:
        return _SentinelFinder(address, changed)
    return _Fixed(address.hosts[0])


class FoundConnection(Connection):
    """A connection that asks where to go each time it is made."""

    def __init__(self, *, finder: Finder, **options: Any) -> None:
        self._finder = finder
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]

    async def _connect(self) -> None:
        self.host, self.port = await self._finder.primary()
        await super()._connect()


class FoundSSLConnection(SSLConnection):
    """``FoundConnection`` with TLS."""

    def __init__(self, *, finder: Finder, **options: Any) -> None:
        self._finder = finder
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]

    async def _connect(self) -> None:
        self.host, self.port = await self._finder.primary()
        await super()._connect()


def connection_options(address: Address, finder: Finder) -> Mapping[str, Any]:
    """What a pool needs to connect to the server that the address means."""
    tls: Mapping[str, Any] = address.tls_options if address.tls else {}
    kind: type[AbstractConnection] = FoundSSLConnection if address.tls else FoundConnection
    return {
        "connection_class": kind,
        "finder": finder,
        "db": address.database,
        "username": address.username,
        "password": address.password,
        **tls,
    }


def node_client(address: Address, host: Host, *, limit_s: float = _ASK_LIMIT_S) -> Redis:
    """A client for one node of a cluster, for what has to look at every node. ``limit_s``: how long one answer may take."""
    options: dict[str, Any] = {**_node_options(address), "socket_timeout": limit_s}
    return Redis(host=host[0], port=host[1], **options)


def _waiting_options() -> dict[str, Any]:
    return {
        "socket_timeout": _ASK_LIMIT_S,
        "socket_connect_timeout": _ASK_LIMIT_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _node_options(address: Address) -> dict[str, Any]:
    tls: dict[str, Any] = {"ssl": True, **address.tls_options} if address.tls else {}
    return {**_waiting_options(), "username": address.username, "password": address.password, **tls}


async def _asked(host: Host, options: Mapping[str, Any], command: str) -> Any:
    client = Redis(host=host[0], port=host[1], **options)
    try:
        # The client's own parser of this command depends on its version; the words as they come do not.
        client.response_callbacks.clear()
        return await client.execute_command(*command.split())  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    finally:
        await client.aclose()


def _host_of(node: list[Any], asked: Host) -> Host:
    """Address of a node in CLUSTER SLOTS; an empty name means the one that was asked."""
    name = node[0].decode() if isinstance(node[0], bytes) else str(node[0] or "")
    return (name if name not in ("", "?") else asked[0]), int(node[1])
