"""Filling a store, and timing what goes out of it, into a fresh one, and away."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, cast

import redis

from agent_memory_server.api.answers import encoded_lines
from agent_memory_server.app import MemoryApp, open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.erasure import Target
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Scope, ScopeSelector
from agent_memory_server.domain.jobs import TaskStatus
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.services.exporting import ExportOptions
from agent_memory_server.services.memories import MemoryPatch
from benchmarks import texts
from benchmarks.engines import Engine, engine
from benchmarks.processes import processor_exact_s

USER_MEMORIES = 500
_AT_ONCE = 500
_EDITED_EVERY = 10
_FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """``processor_s``: of this process and of the Redis that the benchmark started; it holds where others use the machine too."""

    title: str
    memories: int
    wall_s: float
    processor_s: float
    bytes: int = 0
    """Of the file that was written or read."""


def memory(index: int) -> Memory:
    at = _FIRST_DAY + timedelta(seconds=index * 30)
    return Memory(
        id=f"m{index:09d}",
        scope=Scope(DEFAULT_TENANT, "bench", _user_of(index), f"past{index % 997:04d}"),
        text=texts.text(index),
        topics=(texts.topic(index), texts.topic(index + 7)),
        entities=(f"entity {index % 1000}",),
        created_at=at,
        updated_at=at,
        last_accessed=at,
        event_date=at,
    )


def _user_of(index: int) -> str:
    return f"user-{index // USER_MEMORIES}"


async def measured(
    held: Engine, folder: Path, *, memories: int, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Everything on one engine, one after the other."""
    exported = folder / "everything.ndjson"
    work: list[Work] = []
    async with _opened(held, folder / "source") as app:
        say(f"writing {memories:,} memories")
        await _fill(app, memories)
        for title, options, file in (
            ("export", ExportOptions(), exported),
            ("export without history", ExportOptions(history=False), folder / "plain.ndjson"),
            ("export with vectors", ExportOptions(vectors=True), folder / "vectors.ndjson"),
        ):
            say(title)
            work.append(await _exported(app, held, file, title, options, memories))
    # The store is closed meanwhile: two SQLite libraries on one file in one process take each other's locks away.
    work += _baselines(held, folder, memories)
    async with _opened(held, folder / "source") as app:
        say("searching now and then")
        searches = await _searches(app, rounds, changed=USER_MEMORIES // 10)
        say("erasing a user")
        work.append(await _erased(app, held))
    for title, file in (
        ("import", exported),
        ("import without history", folder / "plain.ndjson"),
        ("import with vectors", folder / "vectors.ndjson"),
    ):
        place = folder / f"into-{file.stem}"
        place.mkdir()
        with engine(held.name, place) as fresh:
            async with _opened(fresh, place) as app:
                say(title)
                work.append(await _imported(app, fresh, file, title, memories))
                if file is exported:
                    work.append(await _imported(app, fresh, file, "import once more", memories, written=0))
    return {"work": work, "user_memories": USER_MEMORIES, **searches}


@contextlib.asynccontextmanager
async def _opened(held: Engine, folder: Path) -> AsyncGenerator[MemoryApp]:
    """Nothing goes on in the background: what is measured has the process to itself."""
    async with open_app(Settings(storage_url=held.storage_url, data_dir=folder)) as app:
        yield app


async def _fill(app: MemoryApp, memories: int) -> None:
    for first in range(0, memories, _AT_ONCE):
        batch = [memory(index) for index in range(first, min(memories, first + _AT_ONCE))]
        await app.memories.create(ANONYMOUS, batch, deduplicate=False)
    for index in range(0, memories, _EDITED_EVERY):
        await _edit(app, index, index + 50_000)


async def _edit(app: MemoryApp, index: int, text: int) -> None:
    patch = MemoryPatch(changes={"text": texts.text(text)})
    await app.memories.edit(
        ANONYMOUS, memory_id=f"m{index:09d}", namespace="bench", user_id=_user_of(index), patch=patch
    )


@dataclass(slots=True)
class _Clock:
    wall_s: float = 0.0
    processor_s: float = 0.0

    def work(self, title: str, memories: int, file: Path | None = None) -> Work:
        written = file.stat().st_size if file is not None else 0
        return Work(title=title, memories=memories, wall_s=self.wall_s, processor_s=self.processor_s, bytes=written)


@contextlib.contextmanager
def _clock(held: Engine) -> Generator[_Clock]:
    def used_s() -> float:
        return time.process_time() + (0.0 if held.pid is None else processor_exact_s(held.pid) or 0.0)

    clock, used, begun = _Clock(), used_s(), time.perf_counter()
    yield clock
    clock.wall_s, clock.processor_s = time.perf_counter() - begun, used_s() - used


async def _exported(
    app: MemoryApp, held: Engine, file: Path, title: str, options: ExportOptions, memories: int
) -> Work:
    lines = 0
    with _clock(held) as clock, file.open("wb") as out:
        async for portion in app.exporting.lines(ScopeSelector(DEFAULT_TENANT), options):
            out.write(encoded_lines(portion))
            lines += sum(line["kind"] == "memory" for line in portion)
    assert lines == memories
    return clock.work(title, memories, file)


async def _imported(
    app: MemoryApp, held: Engine, file: Path, title: str, memories: int, *, written: int | None = None
) -> Work:
    """Until every memory is stored, listed and found by its words; vectors that the file does not bring come later."""
    with _clock(held) as clock, file.open("rb") as lines:
        done = await app.importing.run(ANONYMOUS, lines)
    assert done.found["memory"] == memories
    assert written is None or done.written == written
    return clock.work(title, memories, file)


async def _erased(app: MemoryApp, held: Engine) -> Work:
    user_id = _user_of(0)
    with _clock(held) as clock:
        task = await app.erasure.begin(ANONYMOUS, Target(user_id=user_id))
        for lane in app.lanes.values():
            await lane.run_due()
    ended = await app.jobs.get(ANONYMOUS, task_id=task.id)
    assert ended.status is TaskStatus.SUCCESS
    assert (ended.result or {})["counts"]["memories"] == USER_MEMORIES
    return clock.work("erasing a user", USER_MEMORIES)


# -- what a user would write otherwise --------------------------------------------------------------------------------


def _baselines(held: Engine, folder: Path, memories: int) -> list[Work]:
    """The rows of the memories alone as JSON, and of everything as the engine's own dump."""
    if held.name == "redis":
        return [_redis_as_json(held, folder / "baseline.ndjson", memories)]
    database = Path(held.storage_url.removeprefix("sqlite:///"))
    found: list[Work] = []
    for title, write in (("(rows as plain JSON)", _rows_as_json), ("(sqlite3's dump)", _dump)):
        file = folder / "baseline"
        connection = sqlite3.connect(database)
        with _clock(held) as clock, file.open("w") as out:
            for line in write(connection):
                out.write(line)
        connection.close()
        found.append(clock.work(title, memories, file))
    return found


def _rows_as_json(connection: sqlite3.Connection) -> Generator[str]:
    connection.row_factory = sqlite3.Row
    for row in connection.execute(
        "SELECT m.*, s.namespace, s.user_id FROM memories AS m JOIN scopes AS s ON s.id = m.scope_id"
    ):
        yield json.dumps({name: row[name] for name in row.keys() if name != "terms"}) + "\n"  # noqa: SIM118


def _dump(connection: sqlite3.Connection) -> Generator[str]:
    for line in connection.iterdump():
        yield line + "\n"


def _redis_as_json(held: Engine, file: Path, memories: int) -> Work:
    found = 0
    with (
        redis.Redis.from_url(held.storage_url) as client,  # pyright: ignore[reportUnknownMemberType]
        _clock(held) as clock,
        file.open("w") as out,
    ):
        cursor: Any = 0
        while True:
            cursor, keys = client.scan(cursor, match="*:m:*", count=1000)  # pyright: ignore
            pipeline = client.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
            for key in keys:
                pipeline.hgetall(key)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
            for fields in answers:
                if isinstance(fields, dict):
                    found += 1
                    out.write(json.dumps(_texts(cast("dict[object, object]", fields))) + "\n")
            if not cursor:
                break
    return replace(clock.work("(hashes as plain JSON)", memories, file), memories=found)


def _texts(fields: Mapping[object, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in fields.items()}


# -- looking back -----------------------------------------------------------------------------------------------------


async def _searches(app: MemoryApp, rounds: int, *, changed: int) -> dict[str, Any]:
    """A user's memories now, and as of a moment since which one in ten was edited."""
    moment = datetime.now(UTC)
    for index in range(changed):
        await _edit(app, index, index + 90_000)
    criteria = MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT, "bench", _user_of(0)))
    found: dict[str, Any] = {}
    for mode in (SearchMode.SEMANTIC, SearchMode.KEYWORD, SearchMode.HYBRID):
        queries = [SearchQuery(text=texts.query(number), mode=mode, limit=10) for number in range(rounds)]

        async def now(number: int, queries: list[SearchQuery] = queries) -> object:
            return await app.search.search(criteria, queries[number])

        async def then(number: int, queries: list[SearchQuery] = queries) -> object:
            return await app.time_travel.search(criteria, queries[number], as_of=moment)

        await then(0)
        now_ms, then_ms = await _p50(rounds, now), await _p50(rounds, then)
        found[mode.value] = {"now_ms": now_ms, "then_ms": then_ms, "times": then_ms / now_ms}
    return {"changed_since": changed, "searches": found}


async def _p50(rounds: int, read: Callable[[int], Awaitable[object]]) -> float:
    taken: list[float] = []
    for number in range(rounds):
        begun = time.perf_counter()
        await read(number)
        taken.append((time.perf_counter() - begun) * 1000)
    return median(taken)
