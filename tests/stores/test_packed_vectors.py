"""The packed copy of a large tenant's vectors follows the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent_memory_server.domain.operations import Delete, Supersede
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.packed_vectors import PackedVectors
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
        for name in ("handles", "live", "codes", "scales"):
            np.testing.assert_array_equal(getattr(updated, name), getattr(fresh, name))
        mask = updated.chosen(allowed=None, without=np.empty(0, dtype=np.int64), include_superseded=False)
        chosen = updated.nearest(vectors[150], mask=mask, limit=1)
        names = {each.id for each in (await stores.memories.get_many(chosen.tolist())).values()}
        assert "m150" in names
        assert "m5" not in names or step in steps[:2]
    assert await stores.memories.without_vector(model="test-model", limit=9)
    await readers.close()
    await stores.engine.close()
