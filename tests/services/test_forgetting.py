"""Forgetting over the real engine: the stated rule over all rows, each owner's own budget, and a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.retention import ForgettingPolicy
from agent_memory_server.services.forgetting import ForgettingService, Forgotten
from tests.services.compacting import ACTOR, ALICE, EVERYTHING, T0, World, later, memory, new_id, open_world

YEAR = timedelta(days=365)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "memory.db") as opened:
        yield opened


def service(world: World) -> ForgettingService:
    return ForgettingService(store=world.stores.memories, clock=world.stores.clock, now=world.clock, new_id=new_id)


async def forget(
    world: World, criteria: MemoryFilter = EVERYTHING, *, limit: int = 1000, dry_run: bool = False, **policy: Any
) -> Forgotten:
    options = {name: policy.pop(name) for name in ("trust_clock", "pinned_ids") if name in policy}
    chosen = ForgettingPolicy(**policy)
    return await service(world).forget(criteria, policy=chosen, actor=ACTOR, limit=limit, dry_run=dry_run, **options)


def aged(name: str, days: float, *, unused: float | None = None, **fields: Any) -> Any:
    accessed = T0 - timedelta(days=days if unused is None else unused)
    return memory(name, f"text {name}", created_at=T0 - timedelta(days=days), last_accessed=accessed, **fields)


async def test_ages_as_the_contract_says(world: World) -> None:
    """One age alone decides; with both, old and unused, or very old."""
    await world.write(
        aged("new", 1),
        aged("old used", 50, unused=1),
        aged("old unused", 50, unused=40),
        aged("ancient", 500, unused=1),
    )

    async def gone(**policy: Any) -> set[str]:
        return set((await forget(world, dry_run=True, **policy)).deleted_ids)

    assert await gone(max_age_days=30) == {"old used", "old unused", "ancient"}
    assert await gone(max_inactive_days=30) == {"old unused"}
    assert await gone(max_age_days=30, max_inactive_days=30) == {"old unused", "ancient"}
    assert await gone(max_age_days=30, max_inactive_days=30, hard_age_multiplier=100) == {"old unused"}
    assert await gone() == set()
    assert len(await world.live()) == 4


async def test_a_budget_looks_at_all_rows(world: World) -> None:
    """More than any page: the most recent stay, whatever order they were written in; of ties the older ones go."""
    await world.write(*(aged(f"m{number}", (number * 37) % 1000) for number in range(1000)))
    done = await forget(world, budget=10)
    assert (done.scanned, done.deleted) == (1000, 990)
    assert {(T0 - each.created_at).days for each in (await world.live()).values()} == set(range(10))


async def test_limits_pins_types_and_named_ids_spare(world: World) -> None:
    """The least recently used go first; what must not be touched is not, and does not count in the budget."""
    await world.write(
        aged("a", 30),
        aged("b", 20),
        aged("c", 10),
        aged("pinned", 99, pinned=True),
        aged("named", 98),
        aged("event", 97, memory_type=MemoryType.EPISODIC),
    )
    options: dict[str, Any] = {"memory_types": frozenset({MemoryType.SEMANTIC}), "pinned_ids": ["named"]}
    assert (await forget(world, limit=2, max_age_days=1, **options)).deleted_ids == ("a", "b")
    assert (await forget(world, budget=0, **options)).deleted_ids == ("c",)
    assert set(await world.live()) == {"pinned", "named", "event"}


async def test_what_was_forgotten_can_be_read_in_the_journal(world: World) -> None:
    """With its state before, who did it and why: what an undo needs."""
    await world.write(aged("a", 30))
    stored = await world.get("a")
    await forget(world, max_age_days=1)
    last = (await world.stores.journal.history(stored.key))[-1]
    assert (last.effect, last.before, last.scrubbed) == (Effect.DELETED, stored, False)
    assert (last.operation.kind, last.operation.actor) == (OperationKind.FORGET, ACTOR)
    assert last.operation.reason == "policy: max_age_days=1"


async def test_a_clock_ahead_forgets_nothing_for_its_age(world: World) -> None:
    """A year ahead everything looks old: it is held back, until a day has passed or somebody says that the time is right."""
    await world.write(*(aged(f"m{number}", 0) for number in range(20)), aged("old", 40))
    world.clock.now += YEAR
    held = await forget(world, max_age_days=30)
    assert (held.deleted, held.held_back) == (0, 21)
    assert "365.0 days" in (held.reason or "")
    await world.write(
        memory("during", "written at the wrong time", created_at=world.clock(), last_accessed=world.clock())
    )
    assert (await forget(world, max_inactive_days=30)).deleted == 0
    world.clock.now -= YEAR
    back = await forget(world, max_age_days=30)
    assert (back.deleted_ids, back.held_back) == (("old",), 0)
    assert len(await world.live()) == 21


async def test_a_jump_that_was_noticed_by_a_write_alone_counts_too(world: World) -> None:
    """Whoever comes first at the new time does not make it trusted."""
    await world.write(aged("a", 0))
    world.clock.now += YEAR
    await world.write(memory("b", "first at the new time", created_at=world.clock(), last_accessed=world.clock()))
    assert (await forget(world, max_age_days=30)).held_back == 1


async def test_a_jump_is_settled_by_time_or_by_a_person(world: World) -> None:
    """A day at the new time is enough, and ``trust_clock`` at once; a dry run with it settles nothing."""
    await world.write(aged("a", 0), aged("b", 0))
    world.clock.now += YEAR
    assert (await forget(world, max_age_days=30, dry_run=True, trust_clock=True)).deleted == 2
    assert (await forget(world, max_age_days=30)).held_back == 2
    assert (await forget(world, max_age_days=30, limit=1, trust_clock=True)).deleted == 1
    assert (await forget(world, max_age_days=30)).deleted == 1
    await world.write(memory("c", "text c", created_at=world.clock(), last_accessed=world.clock()))
    world.clock.now += YEAR
    assert (await forget(world, max_age_days=30)).held_back == 1
    for _ in range(3):
        later(world.clock, hours=12)
        await world.write(memory(new_id(), "life goes on", created_at=world.clock(), last_accessed=world.clock()))
    assert (await forget(world, max_age_days=30)).deleted_ids == ("c",)


async def test_budgets_go_by_order_and_need_no_clock(world: World) -> None:
    """A year ahead the same ones are the most recent."""
    await world.write(*(aged(f"m{number}", number) for number in range(10)))
    world.clock.now += YEAR
    await forget(world, budget=3)
    assert set(await world.live()) == {"m0", "m1", "m2"}


async def test_the_periodic_budget_is_each_owners_own(world: World) -> None:
    """A noisy user evicts nobody else's memories; without a user or namespace one is an owner too."""
    noisy, nobody = replace(ALICE, user_id="noisy"), Scope("default", None, None)
    for scope, number in ((ALICE, 3), (noisy, 50), (nobody, 4)):
        await world.write(*(replace(aged(f"m{index}", index), scope=scope) for index in range(number)))
    gone = await service(world).forget_for_every_owner("default", policy=ForgettingPolicy(budget=3))
    assert gone == 48
    for user in ("alice", "noisy"):
        left = await world.live(ScopeSelector("default", "work", user))
        assert set(left) == {"m0", "m1", "m2"}
    assert len(await world.stores.memories.ages(EVERYTHING, now=T0, limit=99, owner=nobody)) == 3
