"""The packed copy of a large tenant's vectors follows the file."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Delete, Supersede
from agent_memory_server.errors import StoreTimeout
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.nearest import EXACT_TENANT_MAX
from agent_memory_server.stores.sqlite.packed_vectors import PackedCopy, PackedVectors, taking_part
from agent_memory_server.stores.sqlite.reading import Readers
from tests.contract.stores.making import T0, memory, operation, put, unit_vectors


async def test_the_copy_follows_every_change(tmp_path: Path) -> None:
    """After additions, supersessions and deletions the updated copy equals one built anew, and finds the true nearest."""
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: T0)
    readers = Readers(path, threads=1)
    readers.start()
    vectors = unit_vectors(300)
    packed = PackedVectors()
    made = [memory(f"m{number}", f"{number}") for number in range(300)]
    steps = (
        operation(*(put(each, vector=vector) for each, vector in zip(made[:200], vectors, strict=False))),
        operation(*(put(each, vector=vector) for each, vector in zip(made[200:], vectors[200:], strict=True))),
        operation(*(Supersede(key=each.key, by="m299") for each in made[:20])),
        operation(*(Delete(key=each.key, scrub=True) for each in made[40:60])),
        operation(put(memory("m70", "changed"))),
    )
    for step in steps:
        await stores.memories.commit(step)
        updated = await readers.run(lambda connected: packed.current(connected, space_id=1, tenant_id=1, dimensions=64))
        fresh = await readers.run(
            lambda connected: PackedVectors().current(connected, space_id=1, tenant_id=1, dimensions=64)
        )
        assert_is(updated, fresh)
        mask = taking_part(
            updated.handles, updated.live, allowed=None, without=np.empty(0, dtype=np.int64), include_superseded=False
        )
        chosen = updated.nearest(vectors[150], mask=mask, limit=1)
        handles = updated.handles[chosen].tolist()
        names = {each.id for each in (await stores.memories.get_many(handles)).values()}
        assert "m150" in names
        assert "m5" not in names or step in steps[:2]
    assert await stores.memories.without_vector(model="test-model", limit=9)
    await readers.close()
    await stores.engine.close()


async def test_a_copy_is_built_through_reads_that_have_no_time_for_all_of_it(tmp_path: Path) -> None:
    """Each goes on where the last one was stopped; what changed between them, before and after that place, is as in the file."""
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: T0)
    vectors = unit_vectors(620)
    made = [memory(f"m{number}", f"{number}", scope=Scope("acme", None, f"u{number % 3}")) for number in range(620)]
    puts = [put(each, vector=vector) for each, vector in zip(made, vectors, strict=True)]
    await stores.memories.commit(operation(*puts[:600]))
    changes = [
        operation(*puts[600:]),
        operation(*(Delete(key=each.key, scrub=True) for each in made[:9])),
        operation(*(Supersede(key=each.key, by="m618") for each in made[12:599:30])),
    ]
    readers = Readers(path, threads=1)
    readers.start()
    packed = PackedVectors(chunk=10)

    def hurried(connected: Connected) -> PackedCopy:
        connected.leave_event_loop()
        looks = count()
        connected.connection.set_progress_handler(lambda: next(looks) > 60, 50)
        try:
            return packed.current(connected, space_id=1, tenant_id=1, dimensions=64)
        finally:
            connected.connection.set_progress_handler(None)

    built, stopped = None, 0
    while built is None:
        try:
            built = await readers.run(hurried)
        except StoreTimeout:
            stopped += 1
            assert stopped < 50, "no read goes on where the last one stopped"
            if changes:
                await stores.memories.commit(changes.pop(0))
    assert stopped >= 3
    fresh = await readers.run(
        lambda connected: PackedVectors().current(connected, space_id=1, tenant_id=1, dimensions=64)
    )
    assert_is(built, fresh)
    await readers.close()
    await stores.engine.close()


async def test_a_large_tenant_is_searched_through_its_copy_by_many_at_once(tmp_path: Path) -> None:
    """The first searches after a start need it at the same time: one of them builds it, all find the same true nearest."""
    stores = await open_sqlite(tmp_path / "memory.db", now=lambda: T0)
    vectors = unit_vectors(EXACT_TENANT_MAX + 50, dimensions=16)
    made = [memory(f"m{n}", f"{n}", scope=Scope("acme", None, f"u{n % 7}")) for n in range(len(vectors))]
    await stores.memories.commit(
        operation(*(put(each, tokens={}, vector=vector) for each, vector in zip(made, vectors, strict=True)))
    )
    everything = MemoryFilter(selector=ScopeSelector("acme"))
    found = await asyncio.gather(
        *(
            stores.memories.nearest(everything, vector=vectors[150], model="test-model", now=T0, limit=5)
            for _ in range(6)
        )
    )
    exact = np.sort(1.0 - vectors @ vectors[150])[:5]
    for each in found:
        assert each.total == len(vectors)
        assert each.handles == found[0].handles
        np.testing.assert_allclose(each.distances, exact, atol=1e-5)
    await stores.engine.close()


async def test_each_portion_of_a_copy_earns_time_for_the_next(tmp_path: Path) -> None:
    """A slow disk makes the first search of a large tenant wait, and does not make it fail as long as there is progress."""
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: T0)
    vectors = unit_vectors(95)
    await stores.memories.commit(operation(*(put(memory(f"m{n}"), vector=each) for n, each in enumerate(vectors))))
    readers = Readers(path, threads=1)
    readers.start()
    portions: list[None] = []

    def work(connected: Connected) -> PackedCopy:
        connected.leave_event_loop()
        connected.go_on = lambda: portions.append(None)
        return PackedVectors(chunk=10).current(connected, space_id=1, tenant_id=1, dimensions=64)

    assert len((await readers.run(work)).handles) == 95
    assert len(portions) == 10
    await readers.close()
    await stores.engine.close()


def rows(first: int, end: int, *, sequence: int = 0) -> PackedCopy:
    """Vectors of the handles from ``first`` to ``end``, each telling its handle."""
    handles = np.arange(first, end, dtype=np.int64)
    codes = np.repeat(handles[:, None] % 100, 8, axis=1).astype(np.int8)
    return PackedCopy(handles, handles // 3, handles % 2 == 0, codes, handles.astype(np.float32), sequence=sequence)


def grown(copy: PackedCopy, first: int, end: int) -> PackedCopy:
    return copy.changed(np.arange(first, end, dtype=np.int64), rows(first, end, sequence=end))


def assert_is(copy: PackedCopy, wanted: PackedCopy) -> None:
    """The same rows, in whatever order."""
    orders = np.argsort(copy.handles), np.argsort(wanted.handles)
    for name in ("handles", "scopes", "live", "codes", "scales"):
        np.testing.assert_array_equal(getattr(copy, name)[orders[0]], getattr(wanted, name)[orders[1]])


def test_what_is_added_is_not_paid_for_by_what_is_there() -> None:
    """A copy that grows stays where it is most of the time, and whoever holds an earlier one sees no change."""
    first = grown(rows(0, 5_000), 5_000, 5_001)
    second = grown(first, 5_001, 5_010)
    assert np.shares_memory(first.codes, second.codes)
    assert_is(first, rows(0, 5_001))
    assert_is(second, rows(0, 5_010))
    copied, copy = 0, second
    for handle in range(5_010, 9_000):
        longer = grown(copy, handle, handle + 1)
        copied += not np.shares_memory(copy.codes, longer.codes)
        copy = longer
    assert_is(copy, rows(0, 9_000))
    assert copied < 8


def test_two_that_grow_from_one_do_not_meet() -> None:
    """A reader may be behind another one: each has its own rows."""
    base = grown(rows(0, 10), 10, 12)
    one, other = grown(base, 12, 15), base.changed(np.array([13]), rows(13, 14))
    assert_is(one, rows(0, 15))
    assert other.handles.tolist() == [*range(12), 13]
    without = one.changed(np.array([3, 14]), rows(0, 0))
    assert without.handles.tolist() == [0, 1, 2, *range(4, 14)]
    assert_is(grown(rows(0, 0), 0, 3), rows(0, 3))
