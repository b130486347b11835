"""The layout steps of the Redis engine, as ``agent-memory migrate-memories`` shows and runs them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.redis_addresses import parse_address
from agent_memory_server.stores.redis.engine import REFERENCE_DATA, State, open_redis, state_of


class RedisMigrator:
    """Over one Redis; opening the engine runs the same step."""

    def __init__(self, url: str) -> None:
        self._url = url

    def describe(self) -> str:
        return parse_address(self._url).describe()

    async def pending(self) -> Sequence[str]:
        """The one step, for a database that holds nothing of ours yet."""
        state = await state_of(self._url)
        if state is State.REFERENCE:
            raise ConfigurationError(REFERENCE_DATA)
        return () if state is State.OURS else ("0001_first",)

    async def run(self) -> None:
        stores = await open_redis(self._url, now=lambda: datetime.now(UTC))
        await stores.engine.close()
