"""A copy that is run again follows what was forgotten, brought back, deleted and erased in the source, to the last record."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.testing.running import RunningApp, running_app
from tests.migrations.conftest import empty
from tests.migrations.test_copy import copied
from tests.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.long

WHO = {"user_id": "ann", "namespace": "work"}
MESSAGE = {"id": "1", "role": "user", "content": "I like tea.", "created_at": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("again")) as started:
        yield started


@pytest.fixture
def target(server: RedisServer) -> Iterator[redis.Redis]:
    """An empty Redis."""
    with server.client() as client:
        empty(client)
        yield client


@dataclass(frozen=True)
class Sides:
    """A store in a file, and the Redis that it is copied to."""

    folder: Path
    to_url: str

    @property
    def from_url(self) -> str:
        return f"sqlite:///{self.folder / 'source.db'}"

    async def copy(self) -> dict[str, Any]:
        """What was done with each kind of record; both sides were compared."""
        told = await copied(self.from_url, self.to_url)
        assert told["verification"]["passed"]
        return {kind: {name: n for name, n in each.items() if n} for kind, each in told["transfer"]["kinds"].items()}

    @asynccontextmanager
    async def source(self) -> AsyncGenerator[RunningApp]:
        async with running_app(data_dir=self.folder, background=False, storage_url=self.from_url) as running:
            yield running

    async def held(self) -> str:
        """Everything that the target would export, without vectors."""
        async with running_app(data_dir=self.folder, background=False, storage_url=self.to_url) as running:
            return (await running.client.get("/v1/export")).text


@pytest.fixture
def sides(target: redis.Redis, server: RedisServer, tmp_path: Path) -> Sides:
    return Sides(tmp_path, server.url)


async def _create(running: RunningApp, *names: str) -> None:
    memories = [{"id": name, "text": f"Text of {name}.", **WHO} for name in names]
    assert (await running.client.post("/v1/long-term-memory/", json={"memories": memories})).status_code == 200


async def _session(running: RunningApp) -> None:
    assert (await running.client.put("/v1/working-memory/s", json={**WHO, "messages": [MESSAGE]})).status_code == 200


async def _run_due(running: RunningApp) -> None:
    for lane in running.app.lanes.values():
        await lane.run_due()


async def test_what_was_forgotten_and_brought_back_follows(sides: Sides) -> None:
    """A memory that was forgotten after the copy goes from the target too; after an undo it is there again, with all of that."""
    async with sides.source() as source:
        await _create(source, "kept", "gone")
    await sides.copy()
    async with sides.source() as source:
        await source.client.patch("/v1/long-term-memory/kept", json={"pinned": True})
        asked = await source.client.post(
            "/v1/long-term-memory/forget", params={"dry_run": "false", **WHO}, json={"policy": {"budget": 0}}
        )
        run = asked.json()
        assert run["deleted_ids"] == ["gone"]
    assert (await sides.copy())["memories"]["removed"] == 1
    assert '"text":"Text of gone."' not in await sides.held()
    async with sides.source() as source:
        assert (await source.client.post(f"/v1/operations/{run['run_id']}/undo")).status_code == 200
    assert (await sides.copy())["memories"]["carried"] == 1
    held = await sides.held()
    assert '"text":"Text of gone."' in held
    assert all(f'"kind":"{kind}"' in held for kind in ("forget", "undo"))
    assert all("carried" not in each for each in (await sides.copy()).values())


async def test_what_was_erased_goes_from_the_copy_even_if_nothing_is_left(sides: Sides) -> None:
    """The last memory, session, summary and token of a store are no exception, and what comes again is carried again."""
    async with sides.source() as source:
        await _create(source, "only")
        await _session(source)
        view = (
            await source.client.post("/v1/summary-views", json={"source": "long_term", "group_by": ["user_id"]})
        ).json()
        run = {"group": {"user_id": "ann"}}
        assert (await source.client.post(f"/v1/summary-views/{view['id']}/partitions/run", json=run)).status_code == 200
        _, token = await source.app.access_tokens.add(description="old", actor="somebody")
    await sides.copy()
    before = await sides.held()
    async with sides.source() as source:
        await source.client.post("/v1/users/ann/erase", params={"dry_run": "false"})
        await _run_due(source)
        await source.app.access_tokens.remove(token, actor="somebody")
    done = await sides.copy()
    removed = {kind: each["removed"] for kind, each in done.items() if "removed" in each}
    assert removed == {"memories": 1, "sessions": 1, "summaries": 1, "access tokens": 1}
    assert "ann" not in await sides.held()
    async with sides.source() as source:
        await _create(source, "only")
        await _session(source)
    again = await sides.copy()
    assert (again["memories"]["carried"], again["sessions"]["carried"]) == (1, 1)
    assert again["pending work"]["carried"] > 0, "nothing would be extracted from the session that came again"
    assert before.count('"ann"') > (await sides.held()).count('"ann"') > 0


async def test_a_source_that_was_put_back_or_made_anew_removes_nothing(sides: Sides) -> None:
    """What an older copy of the source lacks was not deleted; and a new store in its place is another source."""
    async with sides.source() as source:
        await _create(source, "first")
    older = sides.folder / "older.db"
    with closing(sqlite3.connect(sides.folder / "source.db")) as held, closing(sqlite3.connect(older)) as backup:
        held.backup(backup)
    async with sides.source() as source:
        await _create(source, "second")
    await sides.copy()
    older.replace(sides.folder / "source.db")
    with pytest.raises(ConfigurationError, match="was put back from an older copy"):
        await sides.copy()
    (sides.folder / "source.db").unlink()
    async with sides.source() as source:
        await _create(source, "third")
    with pytest.raises(ConfigurationError, match="is not empty: it holds 2 memories"):
        await sides.copy()
    assert '"text":"Text of second."' in await sides.held()
