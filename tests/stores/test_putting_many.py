"""An operation of many new memories is written table by table: what is stored is what one after the other would have left."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Carried, Effect, Embedded, Outcome, Put
from agent_memory_server.domain.records import Memory
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.committing import commit
from agent_memory_server.stores.sqlite.connections import Link
from agent_memory_server.stores.sqlite.putting_many import MANY
from tests.contract.stores.making import ALICE, MODEL, T0, memory, operation, unit_vectors

VECTORS = unit_vectors(40, dimensions=4)
SCOPES = (ALICE, Scope("acme", None, "bob", "s1"), Scope("acme", "work", None))
IDENTITY = "s.namespace, s.user_id, m.id"
OWNED = "JOIN scopes AS s ON s.id = m.scope_id"
QUERIES = (
    f"SELECT {IDENTITY}, m.session_id, m.superseded_by, m.is_copy, m.created_at, m.memory_hash, m.pinned, m.revision, m.origin, "
    f"m.has_vector, x.model, x.kind, m.extra, m.topics, m.entities, hex(m.terms), m.text FROM memories AS m {OWNED} "
    "LEFT JOIN spaces AS x ON x.id = m.space_id",
    f"SELECT {IDENTITY}, p.token, p.live, p.count, p.length FROM postings AS p JOIN memories AS m ON m.handle = p.handle {OWNED} "
    "AND p.scope_id = s.id",
    f"SELECT {IDENTITY}, g.kind, g.value FROM tags AS g JOIN memories AS m ON m.handle = g.handle {OWNED} AND g.scope_id = s.id",
    f"SELECT {IDENTITY}, x.model, x.kind, v.live, hex(v.vector) FROM vectors AS v "
    f"JOIN memories AS m ON m.handle = v.handle {OWNED} AND v.scope_id = s.id JOIN spaces AS x ON x.id = v.space_id",
    f"SELECT {IDENTITY}, x.model, x.kind FROM vector_changes AS c JOIN memories AS m ON m.handle = c.handle {OWNED} "
    "JOIN spaces AS x ON x.id = c.space_id",
    f"SELECT {IDENTITY}, d.stage, d.attempts FROM comparisons_due AS d JOIN memories AS m ON m.handle = d.handle {OWNED} "
    "AND d.scope_id = s.id",
    "SELECT namespace, user_id, documents, terms FROM scopes",
    "SELECT s.namespace, s.user_id, e.memory_id, e.part, e.effect, e.survivor, e.scrubbed, e.is_copy, e.scope_then, "
    "json_remove(e.before, '$.operation_id') FROM entries AS e JOIN scopes AS s ON s.id = e.scope_id",
)


def drawn(random: Random, number: int) -> Put:
    """A put as an import, a client or background work would ask for it: ids and texts come up again."""
    scope = random.choice(SCOPES)
    text = f"text {random.randrange(60)}"
    made: Memory = memory(
        f"m{random.randrange(70)}",
        text,
        scope=scope,
        pinned=random.random() < 0.1,
        topics=tuple(random.sample(("a", "b", "c"), random.randrange(3))),
        entities=random.choice(((), ("Ann",))),
        superseded_by=random.choice((None, None, None, "m1")),
        metadata=random.choice(({}, {"n": 2**70})),
    )
    tokens = {word: random.randrange(4) for word in (*text.split(), "tea")}
    embedded = Embedded(model=MODEL, vector=VECTORS[number])
    said = (
        (embedded, Embedded(model="other", vector=None)),
        (Embedded(model=MODEL, vector=VECTORS[number], tokens=b"words"), embedded),
        (Embedded(model="pair", vector=VECTORS[number], kind="other"),),
        (),
    )
    carried = Carried(
        origin="promote",
        is_copy=made.superseded_by is not None,
        compared=random.random() < 0.5,
        vectors=random.choice(said),
    )
    if random.random() < 0.4:
        return Put(memory=made, tokens=tokens, if_absent=True, carried=carried)
    return Put(
        memory=made,
        tokens=tokens,
        embedded=random.choice((None, embedded)),
        deduplicate=random.random() < 0.5,
        if_absent=random.random() < 0.5,
    )


async def committed(path: Path, puts: list[Put], *, at_once: int) -> list[Outcome]:
    stores = await open_sqlite(path, now=lambda: T0)
    found: list[Outcome] = []
    for first in range(0, len(puts), at_once):
        found += (await stores.memories.commit(operation(*puts[first : first + at_once]))).outcomes
    await stores.engine.close()
    return found


def held(path: Path) -> list[list[Any]]:
    with sqlite3.connect(path) as connection:
        found = [sorted(map(repr, connection.execute(query))) for query in QUERIES]
    connection.close()
    return found


@pytest.mark.parametrize("seed", range(12))
async def test_many_at_once_are_stored_as_one_after_the_other(tmp_path: Path, seed: int) -> None:
    """Outcomes, records, index, vectors, marks, statistics and journal are the same, whatever is there already or comes twice."""
    random = Random(seed)
    there = [drawn(random, number) for number in range(6)]
    new = [drawn(random, number) for number in range(40)]
    together, apart = tmp_path / "together.db", tmp_path / "apart.db"
    await committed(together, there, at_once=1)
    shutil.copy(together, apart)
    assert await committed(together, new, at_once=len(new)) == await committed(apart, new, at_once=MANY - 1)
    for query, one, other in zip(QUERIES, held(together), held(apart), strict=True):
        assert one == other, query


async def test_a_thousand_new_memories_need_no_thousand_statements(tmp_path: Path) -> None:
    """Every statement gives up the interpreter lock: the writer would wait thousands of times where others compute."""
    path = tmp_path / "memory.db"
    await committed(path, [], at_once=1)
    link, statements = Link(path), Counter[str]()
    connected = link.open()

    def counted(traced: dict[str, Any]) -> None:
        statements.update([str(traced["sql"]).split(" VALUES")[0]])

    connected.connection.trace_v2(apsw.SQLITE_TRACE_STMT, counted)  # pyright: ignore[reportUnknownMemberType]
    puts = [Put(memory=memory(f"m{number}", f"text {number}"), tokens={"tea": 1}) for number in range(1_000)]
    done = commit(connected, operation(*puts))
    link.drop()
    assert {outcome.effect for outcome in done.outcomes} == {Effect.CREATED}
    assert statements.total() < 100, statements
