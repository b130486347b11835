"""Filters beyond the scope: the same candidates whichever way they are found, and read from indexes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.connections import Connected, connect
from agent_memory_server.stores.sqlite.listing import matching
from tests.contract.stores.making import T0, memory, operation, put

TENANT = ScopeSelector("acme")
FACTS = MemoryFilter(selector=TENANT, memory_type=TextFilter(ne="message"))


async def test_filtered_keyword_candidates_are_the_same_whatever_the_limit(tmp_path: Path) -> None:
    """Below the limit the matching memories' words are looked up one by one, beyond it word by word: same counts."""
    stores = await open_sqlite(tmp_path / "memory.db", now=lambda: T0)
    for number in range(40):
        kind = MemoryType.MESSAGE if number % 4 == 0 else MemoryType.SEMANTIC
        words = {"tea": 1 + number % 3} | ({"rare": 2} if number % 10 == 3 else {})
        made = memory(f"m{number:02d}", f"text {number}", scope=Scope("acme", None, f"u{number % 5}"), memory_type=kind)
        await stores.memories.commit(operation(put(made, tokens=words)))
    every = await stores.memories.holding(FACTS, tokens=("tea", "rare"), now=T0, limit=100)
    assert len(every.handles) == 30
    counts = dict(zip(every.handles, every.counts.tolist(), strict=True))
    lengths = dict(zip(every.handles, every.lengths.tolist(), strict=True))
    some = await stores.memories.holding(FACTS, tokens=("tea", "rare"), now=T0, limit=7)
    assert len(some.handles) == 7
    assert {handle for handle, (_, rare) in counts.items() if rare} <= set(some.handles)
    assert all(counts[handle] == row for handle, row in zip(some.handles, some.counts.tolist(), strict=True))
    assert all(lengths[handle] == length for handle, length in zip(some.handles, some.lengths.tolist(), strict=True))
    assert some.statistics == every.statistics
    await stores.engine.close()


@pytest.mark.parametrize("wanted", [TextFilter(ne="message"), TextFilter(eq="semantic"), TextFilter(any=("semantic",))])
async def test_a_type_filter_over_a_tenant_never_reads_the_memories(tmp_path: Path, wanted: TextFilter) -> None:
    """The index has all that decides: reading a hundred thousand memories once a word made searches time out."""
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: T0)
    await stores.memories.commit(operation(put(memory("m1"))))
    connection = connect(path)
    found = matching(Connected(connection, b""), MemoryFilter(selector=TENANT, memory_type=wanted), now=T0)
    assert found is not None
    _, condition = found
    sql = f"EXPLAIN QUERY PLAN SELECT json_group_array(m.handle) FROM memories AS m WHERE {condition.sql}"
    plan = [str(row[3]) for row in Connected(connection, b"").rows(sql, condition.values)]
    assert any("COVERING INDEX memories_by_type" in step for step in plan), plan
    connection.close()
    await stores.engine.close()
