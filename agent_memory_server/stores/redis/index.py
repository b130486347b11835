"""The search index: made when it is missing, known to be complete before it is asked, and one field a vector space.

Each build has a name of its own, kept under one key. So whoever still asks an index that was dropped gets an error instead of
half an answer, and nobody asks a new one before Redis says that it holds everything.

Everything in a query is made here and in ``queries``: digests, hexadecimal digits and numbers. No caller's text is in it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any

from redis import exceptions

from agent_memory_server.domain.operations import Embedded
from agent_memory_server.errors import MemoryServerError
from agent_memory_server.stores.redis import failures, naming
from agent_memory_server.stores.redis.connections import Argument, Command, Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.rows import space_token
from agent_memory_server.stores.redis.scopes import pairs_of
from agent_memory_server.stores.values import to_json

_TAGS = ("s", "mid", "tok", "sp", "ses", "typ", "str", "hsh", "ns", "usr", "top", "ent")
_NUMBERS = ("created", "la", "event", "expires", "beg", "end", "chg", "src", "trs")
_SORTED_NUMBERS = ("created", "la")
_BUILD_WAIT_S = 3.0
"""How long a call waits for an index that is being built before it says so."""

_ALL = ("DIALECT", 2, "TIMEOUT", 0)
"""No time limit of the engine's own: it would cut an answer short and call it complete. Ours fails the call instead."""


def _schema(spaces: dict[str, int]) -> list[Argument]:
    fields: list[Argument] = []
    for name in _TAGS:
        fields += (name, "TAG", "SEPARATOR", ",", "CASESENSITIVE")
    for name in ("idx", "own"):
        fields += (name, "TAG", "SEPARATOR", ",", "CASESENSITIVE", "SORTABLE", "UNF", "NOINDEX")
    for name in _NUMBERS:
        fields += (name, "NUMERIC", *(("SORTABLE",) if name in _SORTED_NUMBERS else ()))
    fields += ("place", "NUMERIC", "SORTABLE")
    for space, dimensions in spaces.items():
        fields += _vector_field(space, dimensions)
    return fields


def _vector_field(space: str, dimensions: int) -> tuple[Argument, ...]:
    # FLAT compares with every vector that the filter leaves: exact at any size, and nothing to build.
    return (space, "VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", dimensions, "DISTANCE_METRIC", "COSINE")


class Index:
    """The index as this process knows it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._name: str | None = None
        self._checked_at_connection = -1
        self._spaces: set[str] = set()
        self.known_spaces: set[str] = set()
        """Spaces that are there, as far as this process has seen: none is ever taken away."""
        self._building = asyncio.Lock()

    async def search(self, command: str, *rest: Argument) -> Any:
        """One FT command: its name, then what follows the index."""
        return (await self.searches((command, *rest)))[0]

    async def searches(self, *commands: Command) -> list[Any]:
        """Several FT commands in one round trip. Raises StoreUnavailable while the index is not complete."""
        for is_last in (False, True):
            name = await self.ready()
            try:
                return await self.link.raws(*((command[0], name, *command[1:], *_ALL) for command in commands))
            except Exception as error:
                gone = failures.is_index_missing(error)
                lost = isinstance(error, exceptions.ConnectionError) and not is_last
                if gone:
                    self._name = None
                if is_last or not (gone or lost):
                    raise failures.translated(error) from error
        raise failures.unavailable()

    async def ready(self) -> str:
        """The index's name, when it is complete. Builds it when it is missing."""
        connection = self.link.connected
        if self._name is not None and self._checked_at_connection == connection:
            return self._name
        async with self._building:
            if self._name is not None and self._checked_at_connection == self.link.connected:
                return self._name
            until = time.monotonic() + _BUILD_WAIT_S
            while True:
                connection = self.link.connected
                name, complete = await self.state()
                if complete:
                    self._name, self._checked_at_connection = name, connection
                    return name
                if time.monotonic() > until:
                    raise failures.indexing()
                await asyncio.sleep(0.05)

    async def state(self) -> tuple[str, bool]:
        """The index's name and whether it holds everything; begins to build it when it is missing."""
        held = await self.link.read("GET", naming.INDEX)
        name = None if held is None else held.decode()
        try:
            told = None if name is None else await self._told(name)
            if name is not None and told is not None:
                if await self._completed(name, told):
                    return name, False
                return name, int(told[b"indexing"]) == 0
            await self._still_ours()
            return await self._build(name), False
        except MemoryServerError:
            raise
        except Exception as error:
            raise failures.translated(error) from error

    async def _completed(self, name: str, told: dict[bytes, Any]) -> bool:
        """Add the fields that an index of an earlier version lacks; returns whether there were some."""
        held = {bytes(each[1]) for each in told[b"attributes"]}
        missing = [field for field in _NUMBERS if field.encode() not in held]
        for field in missing:
            await self.link.raw("FT.ALTER", name, "SCHEMA", "ADD", field, "NUMERIC")
        return bool(missing)

    async def _told(self, name: str) -> dict[bytes, bytes] | None:
        """What the engine says of an index; None when it is not there."""
        try:
            return pairs_of(await self.link.raw("FT.INFO", name))
        except exceptions.ResponseError as error:
            if failures.is_index_missing(error):
                return None
            raise

    async def _still_ours(self) -> None:
        if self.link.claimed and not await self.link.read("EXISTS", naming.SCHEMA):
            raise self.link.lost()

    async def _build(self, replaced: str | None) -> str:
        spaces = {space: dimensions for space, (_, dimensions) in (await self.spaces()).items()}
        name = f"{naming.PREFIX}memories-{secrets.token_hex(6)}"
        prefix = ("ON", "HASH", "PREFIX", 1, naming.MEMORY_PREFIX, "STOPWORDS", 0, "SCHEMA")
        await self.link.raw("FT.CREATE", name, *prefix, *_schema(spaces))
        # Of several processes that find it missing, one name stays.
        claimed = await self.link.raw(
            "EVAL",
            "#!lua\nlocal held = redis.call('GET', ARGV[1]) or '' "
            "if held ~= ARGV[2] then return held end redis.call('SET', ARGV[1], ARGV[3]) return ARGV[3]",
            0,
            naming.INDEX,
            replaced or "",
            name,
        )
        if claimed.decode() != name:
            await self.link.raw("FT.DROPINDEX", name)
        return claimed.decode()

    # -- vector spaces

    async def spaces(self) -> dict[str, tuple[str, int]]:
        """(model, dimensions) by space."""
        held = pairs_of(await self.link.read("HGETALL", naming.SPACES))
        found: dict[str, tuple[str, int]] = {space.decode(): tuple(from_json(value)) for space, value in held.items()}
        self.known_spaces.update(found)
        return found

    async def prepare(self, embedded: Sequence[Embedded | None]) -> None:
        """See to it that vectors of these models will be found: before they are stored."""
        wanted = {
            space_token(each.model, each.vector.size, each.kind): (each.model, each.vector.size)
            for each in embedded
            if each is not None and each.vector is not None
        }
        for space, (model, dimensions) in wanted.items():
            if space not in self._spaces:
                await self._add_space(space, model, dimensions)
                self._spaces.add(space)

    async def _add_space(self, space: str, model: str, dimensions: int) -> None:
        if await self.link.read("HEXISTS", naming.SPACES, space):
            return
        for _ in range(3):
            name = await self.ready()
            try:
                await self.link.raw("FT.ALTER", name, "SCHEMA", "ADD", *_vector_field(space, dimensions))
            except exceptions.ResponseError as error:
                if failures.is_index_missing(error):
                    self._name = None
                    continue
                if "duplicate" not in str(error).lower():  # else another process was first
                    raise failures.translated(error) from error
            except Exception as error:
                raise failures.translated(error) from error
            await self.link.write("HSET", naming.SPACES, space, to_json([model, dimensions]))
            # An index that was built meanwhile may not know of it yet.
            if await self.link.read("GET", naming.INDEX) == name.encode():
                return
        raise failures.indexing()

    async def failures_noted(self) -> int:
        """How many memories the engine could not index: they are stored, but no search finds them."""
        try:
            told = pairs_of(await self.link.raw("FT.INFO", await self.ready()))
        except MemoryServerError:
            raise
        except Exception as error:
            raise failures.translated(error) from error
        return int(told.get(b"hash_indexing_failures", 0))


def rows_of(answer: Sequence[Any]) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """(key, fields) of the results of FT.SEARCH."""
    found: list[tuple[bytes, dict[bytes, bytes]]] = []
    for place in range(1, len(answer), 2):
        values = answer[place + 1]
        if values is not None:
            found.append((answer[place], dict(zip(values[::2], values[1::2], strict=True))))
    return found


def records_of(answer: Sequence[Any]) -> list[dict[bytes, bytes]]:
    """The rows of FT.AGGREGATE."""
    return [dict(zip(row[::2], row[1::2], strict=True)) for row in answer[1:]]
