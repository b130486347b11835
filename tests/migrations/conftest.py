"""A real Redis as the reference server leaves it, and the migration run on it in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import redis

from agent_memory_server.app import open_app
from agent_memory_server.cli.door import Wanted, pass_through
from agent_memory_server.config import Settings
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import DEFAULT_TENANT, ScopeSelector
from agent_memory_server.domain.records import Memory
from agent_memory_server.migrations import DoorOptions
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.opening import open_stores
from tests.contract.stores.making import T0
from tests.migrations import reference_layout
from tests.redis_server import RedisServer
from tests.setting_proofs.running import settings_of

EVERYTHING = MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT))


@pytest.fixture(scope="session")
def reference_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server with search and JSON for all tests here; ``old`` gives each an empty database."""
    server = RedisServer(tmp_path_factory.mktemp("reference"))
    server.load_json()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def old(reference_redis: RedisServer) -> Iterator[redis.Redis]:
    """A client of an empty database, for what the reference server wrote."""
    client = reference_redis.client()
    empty(client)
    yield client
    client.close()


def command(client: redis.Redis, *parts: Any) -> Any:
    """Any command, behind everybody's back."""
    return client.execute_command(*parts)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def empty(client: redis.Redis) -> None:
    for index in command(client, "FT._LIST"):
        command(client, "FT.DROPINDEX", index)
    command(client, "FLUSHALL")


def keys_of(client: redis.Redis, *, ours: bool) -> set[str]:
    """The keys of this server, or all others."""
    return {key.decode() for key in command(client, "KEYS", "*") if key.startswith(b"{ams}:") is ours}


@pytest.fixture
def filled(old: redis.Redis) -> redis.Redis:
    """As a deployment of years looks."""
    reference_layout.fill(old)
    return old


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """The command in this process, configured as the reference server was: ``said`` is what it printed."""

    folder: Path
    settings: Settings
    options: DoorOptions = field(default_factory=DoorOptions)

    def to(self, url: str, **changes: Any) -> Migration:
        return replace(self, options=replace(self.options, from_url=self.settings.redis_url, to_url=url, **changes))

    async def said(self, *, complete: bool = True, **wanted: Any) -> str:
        """Run it; ``complete`` is what it is expected to say of itself."""
        quarantine = str(self.folder / "quarantine.ndjson")
        printed = io.StringIO()
        with redirect_stdout(printed):
            done = await pass_through(self.settings, self.options, Wanted(quarantine=quarantine, **wanted))
        assert done is complete, printed.getvalue()
        return printed.getvalue()

    async def told(self, **wanted: Any) -> dict[str, Any]:
        """As --json tells it."""
        return json.loads(await self.said(as_json=True, **wanted))

    def quarantined(self) -> dict[str, str]:
        """Reasons by key."""
        lines = (self.folder / "quarantine.ndjson").read_text().splitlines()
        return {line["key"]: line["reason"] for line in map(json.loads, lines)}

    async def stores(self) -> Stores:
        return await open_stores(self.settings.redis_url or "", now=lambda: T0)

    async def memories(self, **changes: Any) -> dict[str, Memory]:
        """What the services list, by id."""
        settings = self.settings.model_copy(update=changes)
        async with open_app(settings) as app:
            page = await app.memories.list(EVERYTHING, limit=100)
            return {memory.id: memory for memory in page.memories}


@pytest.fixture
def migration(tmp_path: Path, reference_redis: RedisServer) -> Migration:
    return Migration(folder=tmp_path, settings=settings_of(tmp_path, redis_url=reference_redis.url))
