"""What the journal adds to a write: the same writes with it and without, in turns."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from statistics import median
from typing import Any

from agent_memory_server.domain.identity import ANONYMOUS
from agent_memory_server.services.memories import MemoryPatch
from agent_memory_server.stores.redis.journalling import Journalling as RedisJournalling
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.journalling import Journalling as SqliteJournalling
from benchmarks import texts
from benchmarks.history.filling import Filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds of processor time of one write, of this process with all its threads and of its Redis; waiting for the disk,
    which both share, is no part of it."""

    with_ms: float
    without_ms: float

    @property
    def share(self) -> float:
        return self.with_ms / self.without_ms - 1


async def write_costs(filled: Filled, rounds: int) -> dict[str, Cost]:
    """Memories are created one by one, and edited one by one."""
    app, user, size = filled.app, filled.user, filled.size

    def creating(number: int) -> Awaitable[object]:
        return app.memories.create(ANONYMOUS, [filled.memory(size + number)], deduplicate=False)

    def editing(number: int) -> Awaitable[object]:
        patch = MemoryPatch(changes={"text": texts.text(number + 700_000)})
        return app.memories.edit(ANONYMOUS, memory_id=f"m{number % size}", user_id=user, patch=patch)

    return {"create": await _cost(filled, rounds, creating), "edit": await _cost(filled, rounds, editing)}


async def _cost(filled: Filled, rounds: int, write: Callable[[int], Awaitable[object]]) -> Cost:
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * rounds):
        is_without = number % 2 == 1
        with _no_journal() if is_without else contextlib.nullcontext():
            begun_s = filled.used_s()
            await write(number)
            taken[is_without].append((filled.used_s() - begun_s) * 1000)
    return Cost(with_ms=median(taken[False]), without_ms=median(taken[True]))


@contextlib.contextmanager
def _no_journal() -> Generator[None]:
    """Neither earlier states nor what changed are noted. What was written so has no history, and is not to be used."""
    plain: dict[str, Any] = {name: getattr(Connected, name) for name in ("execute", "many")}

    def skipping(statement: Callable[..., Any]) -> Callable[..., Any]:
        def run(connected: Connected, sql: str, *rest: Any) -> Any:
            return None if sql.startswith("INSERT INTO entries") else statement(connected, sql, *rest)

        return run

    def outcome_alone(journalling: RedisJournalling, _: int, part: int, **told: Any) -> None:
        if part == 0:
            key, effect = told["key"], told["effect"]
            journalling.outcomes.append([key.namespace, key.user_id, key.id, effect.value, told["survivor"]])

    def nothing(*_: Any, **__: Any) -> tuple[()]:
        return ()

    with contextlib.ExitStack() as stack:
        for name, statement in plain.items():
            stack.enter_context(_replaced(Connected, name, skipping(statement)))
        stack.enter_context(_replaced(SqliteJournalling, "row", nothing))
        stack.enter_context(_replaced(RedisJournalling, "entry", outcome_alone))
        stack.enter_context(_replaced(RedisJournalling, "finish", nothing))
        yield


@contextlib.contextmanager
def _replaced(owner: type, name: str, replacement: object) -> Generator[None]:
    plain = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, plain)
