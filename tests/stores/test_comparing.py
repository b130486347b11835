"""An owner with very many memories is compared through packed vectors, with the same outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.comparing import SqliteComparisons
from agent_memory_server.stores.sqlite.packed_vectors import PackedVectors
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.writing import Writer
from tests.contract.stores.making import MODEL, T0, memory, operation, put, unit_vectors


async def test_packed_vectors_lose_no_neighbour(tmp_path: Path) -> None:
    """The same neighbours at the same distances as by comparing every vector with every other."""
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: T0)
    centres = unit_vectors(60)
    around = np.repeat(centres, 10, axis=0) + 0.05 * unit_vectors(600, seed=1)
    vectors = around / np.linalg.norm(around, axis=1, keepdims=True)
    puts = [put(memory(f"m{number}", f"text {number}"), vector=vector) for number, vector in enumerate(vectors)]
    await stores.memories.commit(operation(*puts))
    handles = [
        due.handle for due in await stores.comparisons.due(ScopeSelector("acme"), stage_max=Stage.CHANGED, limit=1000)
    ]
    readers, writer = Readers(path, threads=1), Writer(path)
    readers.start()
    writer.start()
    try:
        packed = SqliteComparisons(readers, writer, PackedVectors(), exact_max=50)
        question: dict[str, Any] = {"model": MODEL, "now": T0, "distance_max": 0.1, "limit": 20}
        exact = await stores.comparisons.near(handles, **question)
        found = await packed.near(handles, **question)
    finally:
        await readers.close()
        await writer.close()
        await stores.engine.close()
    assert len(handles) == 600
    assert sum(map(len, exact.values())) > 1000
    assert {one: set(around) for one, around in found.items() if around} == {
        one: set(around) for one, around in exact.items() if around
    }
    for one, around in found.items():
        for other, distance in around.items():
            assert abs(distance - exact[one][other]) < 1e-5
