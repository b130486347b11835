"""What an undo reaches, and what it does in portions: only the caller's own, and the rest when somebody else asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Principal, Scope
from agent_memory_server.domain.operations import OperationKind
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.retention import ForgettingPolicy
from agent_memory_server.errors import NotFound, NotUndoable
from agent_memory_server.services.forgetting import ForgettingService
from agent_memory_server.services.memories import MemoryPatch
from agent_memory_server.services.past_history import histories_told
from agent_memory_server.services.undo import BATCH
from tests.services.compacting import T0, new_id
from tests.services.past import TEXTS, Past, open_past


@pytest.fixture
async def past(tmp_path: Path) -> AsyncIterator[Past]:
    async with open_past(tmp_path / "memory.db") as opened:
        make: Callable[[], Past] = opened
        yield make()


async def forgotten(past: Past, *memories: tuple[str, str | None]) -> str:
    """Memories (id, user) that are made and forgotten in one run; the run's id."""
    made = [
        Memory(
            id=name,
            scope=Scope(past.caller.tenant, None, user),
            text=f"Fact {name} of {user}.",
            created_at=T0,
            updated_at=T0,
            last_accessed=T0,
        )
        for name, user in memories
    ]
    for first in range(0, len(made), 1000):
        await past.world.memories.create(past.caller, made[first : first + 1000], deduplicate=False)
    forgetting = ForgettingService(
        store=past.world.stores.memories, clock=past.world.stores.clock, now=past.clock, new_id=new_id
    )
    done = await forgetting.forget(
        MemoryFilter(selector=past.caller.selector()),
        policy=ForgettingPolicy(budget=0),
        actor="forgetter",
        limit=10_000,
        dry_run=False,
    )
    assert done.deleted == len(memories)
    assert done.run is not None
    return done.run


async def test_a_bound_caller_takes_back_its_own(past: Past) -> None:
    """The others' stay forgotten until somebody with their reach asks, and are not reached twice."""
    run = await forgotten(past, ("a", "alice"), ("b", "bob"), ("c", None))
    alice = Principal(subject="alice", tenant=past.caller.tenant, user_id="alice")
    assert (await past.undo.undo(alice, operation_id=run)).counts == {"bring_back": 1}
    assert [key.id for key in await past.state()] == ["a"]
    rest = await past.undo.undo(past.caller, operation_id=run)
    assert (dict(rest.counts), rest.undone_before) == ({"bring_back": 2}, 1)
    assert {key.id for key in await past.state()} == {"a", "b", "c"}
    for stranger in (Principal(subject="x", tenant="other"), Principal(subject="x", tenant=alice.tenant, user_id="z")):
        with pytest.raises(NotFound):
            await past.undo.plan(stranger, operation_id=run)


async def test_what_was_another_owners_is_neither_shown_nor_brought_back(past: Past) -> None:
    """A memory that moved: its new owner sees nothing of its past elsewhere, in history and exports, and cannot undo the move;
    whoever reaches both can."""
    await past.take(("create", 0, 0))
    await past.take(("edit", 0, 1))
    await past.take(("move", 0, 1))
    await past.world.memories.edit(
        past.caller, memory_id="m0", user_id="bob", patch=MemoryPatch(changes={"text": "Bob paints."})
    )
    bob = Principal(subject="bob", tenant=past.caller.tenant, user_id="bob")
    told = await past.history.history(bob, memory_id="m0")
    assert [each.revision.operation.kind for each in told.events] == [OperationKind.EDIT, OperationKind.EDIT]
    states = [state for each in told.events for state in (each.revision.before, each.revision.after) if state]
    assert {state.scope.user_id for state in states} == {"bob"}
    assert TEXTS[0] not in repr(told)
    (exported,) = await histories_told(past.world.stores.journal, [told.key])
    assert TEXTS[0] not in repr(exported)
    assert len((await past.history.history(past.caller, memory_id="m0")).events) == 4
    moving, edit = (await past.operation_ids())[-2:]
    await past.undo.undo(bob, operation_id=edit)
    plan = await past.undo.plan(bob, operation_id=moving)
    assert [each.reason for each in plan.conflicts] == ["it belonged to an owner beyond your reach before"]
    with pytest.raises(NotUndoable):
        await past.undo.undo(bob, operation_id=moving)
    await past.undo.undo(past.caller, operation_id=moving)
    assert [key.user_id for key in await past.state()] == ["alice"]


async def test_a_large_run_is_taken_back_in_portions(past: Past) -> None:
    """Several commits of one run, which can be undone by its id."""
    count = BATCH + 7
    run = await forgotten(past, *((f"m{number}", "alice") for number in range(count)))
    done = await past.undo.undo(past.caller, operation_id=run)
    assert (len(done.operation_ids), done.counts) == (2, {"bring_back": count})
    assert len(await past.state()) == count
    assert done.run is not None
    again = await past.undo.undo(past.caller, operation_id=done.run)
    assert again.counts == {"remove": count}
    assert await past.state() == {}
