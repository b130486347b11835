"""The vectors that are held in memory for owners with many memories follow the file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Delete, Supersede
from agent_memory_server.domain.search import VectorCandidates
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.connections import Connected, LeaveEventLoop
from agent_memory_server.stores.sqlite.held_vectors import HeldVectors, Owned
from agent_memory_server.stores.sqlite.nearest import nearest
from agent_memory_server.stores.sqlite.packed_vectors import PackedVectors
from agent_memory_server.stores.sqlite.reading import Readers
from tests.contract.stores.making import T0, memory, operation, put, unit_vectors

ANA, BEN = Scope("acme", None, "ana"), Scope("acme", None, "ben")
OF_ANA = MemoryFilter(selector=ScopeSelector("acme", None, "ana"))
ASKED = unit_vectors(300)[150]
FROM_THE_FILE = 10**9
"""No owner has so many memories: what is compared is read each time."""


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Stores, Readers]]:
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: T0)
    readers = Readers(path, threads=1)
    readers.start()
    yield stores, readers
    await readers.close()
    await stores.engine.close()


async def found(readers: Readers, held: HeldVectors, criteria: MemoryFilter = OF_ANA) -> VectorCandidates:
    packed = PackedVectors()
    answer = await readers.run(
        lambda connected: nearest(
            connected,
            packed,
            held,
            criteria,
            vector=ASKED,
            model="test-model",
            now=T0 + timedelta(hours=1),
            limit=40,
            distance_max=None,
        )
    )
    assert isinstance(answer, VectorCandidates)
    return answer


def assert_same(one: VectorCandidates, other: VectorCandidates) -> None:
    assert one.handles == other.handles
    assert one.total == other.total
    assert one.distances.tobytes() == other.distances.tobytes()


async def test_what_is_held_answers_byte_for_byte_as_the_file_does(opened: tuple[Stores, Readers]) -> None:
    """After additions, expiry, supersessions, deletions and another text, with and without filters."""
    stores, readers = opened
    vectors = unit_vectors(300)
    made = [memory(f"m{number}", f"{number}", scope=BEN if number % 7 == 0 else ANA) for number in range(300)]
    made = [replace(each, expires_at=T0 + timedelta(minutes=1)) if each.id.endswith("3") else each for each in made]
    made = [
        replace(each, scope=replace(each.scope, session_id="young")) if int(each.id[1:]) > 90 else each for each in made
    ]
    mine = [each for each in made if each.scope.user_id == "ana"]
    held = HeldVectors(memories_min=1)
    young = TextFilter(eq="young")
    filters = (OF_ANA, replace(OF_ANA, include_superseded=True), replace(OF_ANA, session_id=young))
    steps = (
        operation(*(put(each, vector=vector) for each, vector in zip(made[:200], vectors, strict=False))),
        operation(*(put(each, vector=vector) for each, vector in zip(made[200:], vectors[200:], strict=True))),
        operation(*(Supersede(key=each.key, by=mine[-1].id) for each in mine[:20])),
        operation(*(Delete(key=each.key, scrub=True) for each in mine[40:60])),
        operation(put(replace(mine[70], text="changed"))),
        operation(put(memory("new", "new", scope=BEN), vector=vectors[3])),
    )
    for step in steps:
        await stores.memories.commit(step)
        for criteria in filters:
            from_file = await found(readers, HeldVectors(memories_min=FROM_THE_FILE), criteria)
            assert_same(await found(readers, held, criteria), from_file)
            assert from_file.total > 50


async def test_only_the_first_reading_leaves_the_event_loop(opened: tuple[Stores, Readers]) -> None:
    """Afterwards a search of the same owner is answered where it was asked for, also after others wrote."""
    stores, readers = opened
    vectors = unit_vectors(3)
    await stores.memories.commit(operation(put(memory("m1", scope=ANA), vector=vectors[0])))
    held = HeldVectors(memories_min=1)

    def on_event_loop(connected: Connected) -> int:
        connected.on_event_loop = True
        try:
            return len(held.current(connected, Owned(1, 1, 1, 64)).handles)
        finally:
            connected.on_event_loop = False

    with pytest.raises(LeaveEventLoop):
        await readers.run(on_event_loop)
    assert (await found(readers, held)).total == 1
    await stores.memories.commit(operation(put(memory("m2", scope=ANA), vector=vectors[1])))
    await stores.memories.commit(operation(put(memory("m3", scope=BEN), vector=vectors[2])))
    assert await readers.run(on_event_loop) == 2


async def test_the_owners_that_were_searched_last_are_held(opened: tuple[Stores, Readers]) -> None:
    """All of them together within the bound; an owner who would take most of it is read from the file each time."""
    stores, readers = opened
    for owner in (ANA, BEN):
        puts = [put(memory(f"m{n}", scope=owner), vector=vector) for n, vector in enumerate(unit_vectors(10))]
        await stores.memories.commit(operation(*puts))
    of_ten = await readers.run(lambda connected: HeldVectors().current(connected, Owned(1, 1, 1, 64)).size_bytes)
    held = HeldVectors(memories_min=1, bytes_max=2 * of_ten - 1)
    assert held.holds(9, 64)
    assert not held.holds(12, 64)
    first, again, second = [
        await readers.run(lambda connected, scope=scope: held.current(connected, Owned(1, 1, scope, 64)))
        for scope in (1, 1, 2)
    ]
    assert again is first
    assert len(second.handles) == 10
    assert await readers.run(lambda connected: held.current(connected, Owned(1, 1, 1, 64))) is not first
