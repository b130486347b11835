"""Filling the journal and timing what reads it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from agent_memory_server.app import MemoryApp, open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Scope, ScopeSelector
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.services.memories import MemoryPatch
from agent_memory_server.stores.sqlite.connections import Connected
from benchmarks import texts

USER = "user-1"
_BATCH = 500
_TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds of one write from call to answer; of those, what its statements took, and of those its journal's."""

    write_ms: float
    statements_ms: float
    journal_ms: float

    @property
    def share(self) -> float:
        """What the journal adds to the other statements; waiting for the disk, which both share, is left out."""
        return self.journal_ms / (self.statements_ms - self.journal_ms)


def _memory(number: int) -> Memory:
    at = datetime.now(UTC)
    return Memory(
        id=f"m{number}",
        scope=Scope(DEFAULT_TENANT, None, USER),
        text=texts.text(number),
        created_at=at,
        updated_at=at,
        last_accessed=at,
    )


async def opened_and_measured(folder: Path, *, memories: int, operations: int, rounds: int) -> dict[str, Any]:
    """One after the other: writes, a long journal, history, and searches of now and then."""
    settings = Settings(storage_url=f"sqlite:///{folder / 'memory.db'}", data_dir=folder)
    async with open_app(settings) as app:
        for first in range(0, memories, _BATCH):
            batch = [_memory(number) for number in range(first, min(memories, first + _BATCH))]
            await app.memories.create(ANONYMOUS, batch, deduplicate=False)
        writes = {
            "create": await _write_cost(rounds, _creating(app, memories)),
            "edit": await _write_cost(rounds, _editing(app)),
        }
    _lengthen(folder / "memory.db", operations)
    async with open_app(settings) as app:
        history_ms = await _p50(rounds, lambda n: app.history.history(ANONYMOUS, memory_id=f"m{n}", user_id=USER))
        listed_ms = await _p50(rounds, lambda _: app.history.operations(ANONYMOUS, newest_first=True, limit=20))
        searches = await _searches(app, rounds, changed=memories // 100)
    return {
        "memories": memories,
        "operations": operations,
        "writes": {
            name: {
                "ms": cost.write_ms,
                "statements_ms": cost.statements_ms,
                "journal_ms": cost.journal_ms,
                "share": cost.share,
            }
            for name, cost in writes.items()
        },
        "history_ms": history_ms,
        "operations_ms": listed_ms,
        "searches": searches,
    }


def _creating(app: MemoryApp, first: int) -> Callable[[int], Awaitable[object]]:
    return lambda number: app.memories.create(ANONYMOUS, [_memory(first + number)], deduplicate=False)


def _editing(app: MemoryApp) -> Callable[[int], Awaitable[object]]:
    return lambda number: app.memories.edit(
        ANONYMOUS,
        memory_id=f"m{number}",
        user_id=USER,
        patch=MemoryPatch(changes={"text": texts.text(number + 50_000)}),
    )


async def _write_cost(rounds: int, write: Callable[[int], Awaitable[object]]) -> Cost:
    """Writes one by one. Statements are timed where they are executed, on the writer's own thread."""
    clock = _Statements()
    with clock:
        begun = time.perf_counter()
        for number in range(rounds):
            await write(number)
        total = time.perf_counter() - begun
    each = 1000 / rounds
    return Cost(write_ms=total * each, statements_ms=clock.all_s * each, journal_ms=clock.journal_s * each)


class _Statements:
    """While it is entered, every statement of every connection is timed."""

    def __init__(self) -> None:
        self.all_s = 0.0
        self.journal_s = 0.0
        self._plain: dict[str, Any] = {}

    def __enter__(self) -> None:
        for name in ("execute", "one", "value", "rows", "many", "changed"):
            self._plain[name] = getattr(Connected, name)
            setattr(Connected, name, self._timed(self._plain[name]))

    def __exit__(self, *_: object) -> None:
        for name, plain in self._plain.items():
            setattr(Connected, name, plain)

    def _timed(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def timed(connected: Connected, sql: str, *rest: Any) -> Any:
            if sql.startswith(_TRANSACTION):
                return plain(connected, sql, *rest)
            before, begun = self.all_s, time.perf_counter()
            try:
                return plain(connected, sql, *rest)
            finally:
                taken = time.perf_counter() - begun
                # One may be made of another: counted once.
                self.all_s = before + taken
                if sql.startswith(("INSERT INTO entries", "INSERT INTO operations")):
                    self.journal_s += taken

        return timed


def _lengthen(path: Path, operations: int) -> None:
    """Write operations of other owners, two entries each, until the journal has so many."""
    connection = sqlite3.connect(path)
    with connection:
        held, last_at = connection.execute("SELECT count(*), max(at) FROM operations").fetchone()
        connection.execute(
            "INSERT INTO operations (tenant_id, id, kind, actor, at, reason) "
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) "
            "SELECT 1, 'filler-' || n, 'edit', 'filler', ? - (? - n) * 1000, '' FROM n",
            (max(1, operations - held), last_at, operations),
        )
        connection.executemany(
            "INSERT INTO scopes (tenant_id, namespace, user_id) VALUES (1, NULL, ?)",
            [(f"filler-{number}",) for number in range(1000)],
        )
        connection.execute(
            "INSERT INTO entries (operation, change, part, scope_id, memory_id, effect, survivor, before) "
            "SELECT seq, 0, 0, 10 + seq % 900, 'filler-' || (seq % 100000), 'updated', '', '{}' FROM operations "
            "WHERE actor = 'filler'",
        )
    connection.close()


async def _p50(rounds: int, read: Callable[[int], Awaitable[object]]) -> float:
    taken: list[float] = []
    for number in range(rounds):
        begun = time.perf_counter()
        await read(number)
        taken.append((time.perf_counter() - begun) * 1000)
    return median(taken)


async def _searches(app: MemoryApp, rounds: int, *, changed: int) -> dict[str, Any]:
    """A user's memories now, and as of a moment since which one in a hundred was edited."""
    moment = datetime.now(UTC)
    for number in range(changed):
        patch = MemoryPatch(changes={"text": texts.text(number + 90_000)})
        await app.memories.edit(ANONYMOUS, memory_id=f"m{number}", user_id=USER, patch=patch)
    criteria = MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT, None, USER))
    found: dict[str, Any] = {"changed_since": changed}
    for mode in (SearchMode.SEMANTIC, SearchMode.HYBRID):
        queries: Sequence[SearchQuery] = [SearchQuery(text=texts.text(n), mode=mode, limit=10) for n in range(rounds)]
        await app.time_travel.search(criteria, queries[0], as_of=moment + timedelta(microseconds=1))
        now_ms = await _p50(rounds, lambda n, queries=queries: app.search.search(criteria, queries[n]))
        then_ms = await _p50(
            rounds, lambda n, queries=queries: app.time_travel.search(criteria, queries[n], as_of=moment)
        )
        found[mode.value] = {"now_ms": now_ms, "then_ms": then_ms, "times": then_ms / now_ms}
    return found
