"""Timing what reads the journal: one history, the list of operations, and search, listing and by id as of earlier times."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from agent_memory_server.app import open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, ScopeSelector
from agent_memory_server.domain.search import SearchMode, SearchQuery
from benchmarks import texts
from benchmarks.engines import Engine
from benchmarks.history.filling import Filled, filled_with, lengthen
from benchmarks.history.writing import Cost, write_costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The same question now and as of then, in turns. Milliseconds: processor time, which holds where others use the machine
    too, and from call to answer; ``first_ms``: the first question about that time, which reads the past."""

    memories: int
    question: str
    changed_since: str
    now_ms: float
    then_ms: float
    now_wall_ms: float
    then_wall_ms: float
    first_ms: float

    @property
    def times(self) -> float:
        return self.then_ms / self.now_ms


async def opened_and_measured(
    held: Engine, folder: Path, *, sizes: list[int], operations: int, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Looking back, then writes, then one history within a long journal."""
    settings = Settings(storage_url=held.storage_url, data_dir=folder)
    compared: list[Compared] = []
    user, most = "", 0
    writes: dict[str, Cost] = {}
    async with open_app(settings) as app:
        for size in sizes:
            say(f"a user of {size:,} memories")
            filled = await filled_with(app, held, size)
            compared += await _looked_back(filled, rounds)
            user, most = filled.user, size
            if size == sizes[-1]:
                say("writes with the journal and without")
                writes = await write_costs(filled, 4 * rounds)
    say(f"a journal of {operations:,} operations")
    lengthen(held, operations)
    async with open_app(settings) as app:
        history_ms = await _p50(
            4 * rounds, lambda n: app.history.history(ANONYMOUS, memory_id=f"m{n * 10 % most}", user_id=user)
        )
        listed_ms = await _p50(4 * rounds, lambda _: app.history.operations(ANONYMOUS, newest_first=True, limit=20))
    return {"compared": compared, "writes": writes, "history_ms": history_ms, "operations_ms": listed_ms}


Read = Callable[[int], Awaitable[object]]


async def _looked_back(filled: Filled, rounds: int) -> list[Compared]:
    return [
        await _compared(filled, (question, changed_since, rounds), now, then)
        for changed_since, moment in filled.moments.items()
        for question, now, then in _questions(filled, moment, rounds)
    ]


def _questions(filled: Filled, moment: datetime, rounds: int) -> Iterator[tuple[str, Read, Read]]:
    """Each as it is asked now, and as of the moment."""
    app, user = filled.app, filled.user
    criteria = MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT, None, user))
    for mode in (SearchMode.SEMANTIC, SearchMode.KEYWORD, SearchMode.HYBRID):
        queries = [SearchQuery(text=texts.query(number), mode=mode, limit=10) for number in range(rounds)]

        async def search(number: int, queries: list[SearchQuery] = queries) -> object:
            return await app.search.search(criteria, queries[number])

        async def search_then(number: int, queries: list[SearchQuery] = queries) -> object:
            return await app.time_travel.search(criteria, queries[number], as_of=moment)

        yield f"{mode.value} search", search, search_then
    yield (
        "listing",
        lambda _: app.memories.list(criteria),
        lambda _: app.time_travel.list(criteria, as_of=moment),
    )
    yield (
        "by id",
        lambda number: app.memories.get(ANONYMOUS, memory_id=f"m{number}", user_id=user),
        lambda number: app.time_travel.get(ANONYMOUS, memory_id=f"m{number}", user_id=user, as_of=moment),
    )


async def _compared(
    filled: Filled,
    what: tuple[str, str, int],
    now: Read,
    then: Read,
) -> Compared:
    question, changed_since, rounds = what
    await now(0)
    _, first_ms = await _timed(filled, then, 0)
    taken: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for number in range(rounds):
        taken[0].append(await _timed(filled, now, number))
        taken[1].append(await _timed(filled, then, number))
    return Compared(
        memories=filled.size,
        question=question,
        changed_since=changed_since,
        now_ms=median(each for each, _ in taken[0]),
        then_ms=median(each for each, _ in taken[1]),
        now_wall_ms=median(each for _, each in taken[0]),
        then_wall_ms=median(each for _, each in taken[1]),
        first_ms=first_ms,
    )


async def _timed(filled: Filled, read: Read, number: int) -> tuple[float, float]:
    used_s, begun = filled.used_s(), time.perf_counter()
    await read(number)
    ended = time.perf_counter()
    return (filled.used_s() - used_s) * 1000, (ended - begun) * 1000


async def _p50(rounds: int, read: Read) -> float:
    taken: list[float] = []
    for number in range(rounds):
        begun = time.perf_counter()
        await read(number)
        taken.append((time.perf_counter() - begun) * 1000)
    return median(taken)
