"""What was carried into this Redis from other stores: ``ports.transfer.Ledger`` over one hash for each kind of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Argument, Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.values import to_json

TRANSFERS = naming.PREFIX + "transfers"
"""Hash: transfer → JSON of what is known of it."""


def _marks_key(transfer: str, kind: str) -> str:
    return f"{naming.PREFIX}transfer:{naming.digest(transfer, kind)}"


class RedisLedger:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def state(self, transfer: str, /) -> Mapping[str, Any] | None:
        held = await self._link.read("HGET", TRANSFERS, transfer)
        return None if held is None else from_json(held)

    async def save(self, transfer: str, state: Mapping[str, Any], /) -> None:
        await self._link.write("HSET", TRANSFERS, transfer, to_json(dict(state)))

    async def end(self, transfer: str, /) -> None:
        await self._link.write("HDEL", TRANSFERS, transfer)

    async def marks(self, transfer: str, kind: str, names: Sequence[str], /) -> Sequence[str | None]:
        if not names:
            return []
        held = await self._link.read("HMGET", _marks_key(transfer, kind), *names)
        return [None if mark is None else mark.decode() for mark in held]

    async def note(self, transfer: str, kind: str, marks: Mapping[str, str], /) -> None:
        if marks:
            pairs: list[Argument] = [part for pair in marks.items() for part in pair]
            await self._link.write("HSET", _marks_key(transfer, kind), *pairs)

    async def drop(self, transfer: str, kind: str, names: Sequence[str], /) -> None:
        if names:
            await self._link.write("HDEL", _marks_key(transfer, kind), *names)
