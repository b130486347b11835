"""FTS5 against a table of postings as the keyword index: insert rate, file size, query time.

    python -m benchmarks.keyword_index [memories]

Both answer the same question: which memories of a scope hold the query's tokens, how often, and in how many of the scope's
memories each token stands. FTS5 keeps the scope as a token ANDed into MATCH (contentless); the counts of the terms
are read back from a side column, since its own ranking uses the statistics of everybody's text. The postings are
tried clustered by scope (chosen) and by token.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import numpy as np

USERS = 1_000
LARGE_USER = 10_000
WORDS = 20_000
TERMS = 30
BATCH = 20
QUERY = (5, 300, 4_000)


def _run(connection: apsw.Connection, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    return connection.execute(sql, values).fetchall()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _many(connection: apsw.Connection, sql: str, rows: list[tuple[Any, ...]]) -> None:
    connection.executemany(sql, rows)  # pyright: ignore[reportUnknownMemberType]


Insert = Callable[[apsw.Connection, int, int, list[int]], None]
Query = Callable[[apsw.Connection, int | None, tuple[int, ...]], int]


def _insert_fts(connection: apsw.Connection, handle: int, user: int, words: list[int]) -> None:
    text = f"scope{user} " + " ".join(f"w{word}" for word in words)
    _run(connection, "INSERT INTO fts (rowid, body) VALUES (?, ?)", (handle, text))
    _run(connection, "INSERT INTO counts (handle, user, terms) VALUES (?, ?, ?)", (handle, user, json.dumps(words)))


def _query_fts(connection: apsw.Connection, user: int | None, words: tuple[int, ...]) -> int:
    scope = "" if user is None else f"scope{user} AND "
    for word in words:
        _run(connection, "SELECT count(*) FROM fts WHERE fts MATCH ?", (f"{scope}w{word}",))
    wanted = " OR ".join(f"w{word}" for word in words)
    rows = _run(
        connection,
        "SELECT json_group_array(c.terms) FROM fts JOIN counts AS c ON c.handle = fts.rowid WHERE fts MATCH ?",
        (f"{scope}({wanted})",),
    )
    found = [json.loads(terms) for terms in json.loads(rows[0][0])]
    for terms in found:
        for word in words:
            terms.count(word)
    return len(found)


def _inserting(order: str) -> Insert:
    def insert(connection: apsw.Connection, handle: int, user: int, words: list[int]) -> None:
        columns = "?1, value" if order == "scope" else "value, ?1"
        _run(
            connection,
            f"INSERT INTO postings SELECT {columns}, ?2, 1, 1, ?4 FROM json_each(?3)",
            (user, handle, json.dumps(words), len(words)),
        )

    return insert


def _querying(order: str) -> Query:
    def query(connection: apsw.Connection, user: int | None, words: tuple[int, ...]) -> int:
        where = "p.scope = ? AND p.token IN (SELECT value FROM json_each(?))"
        source, values = "postings AS p", (user, json.dumps(words))
        if user is None and order == "scope":
            source, where = "scopes AS s CROSS JOIN postings AS p", where.replace("= ?", "= s.id")
            values = (json.dumps(words),)
        elif user is None:
            where, values = "p.token IN (SELECT value FROM json_each(?))", (json.dumps(words),)
        _run(
            connection, f"SELECT p.token, count(*) FROM {source} WHERE {where} AND p.live = 1 GROUP BY p.token", values
        )
        rows = _run(
            connection,
            "SELECT json_group_array(json_array(handle, token, count, length)) FROM "
            f"(SELECT p.handle, p.token, p.count, p.length FROM {source} WHERE {where} AND p.live = 1)",
            values,
        )
        return len({handle for handle, *_ in json.loads(rows[0][0])})

    return query


_POSTINGS = (
    "CREATE TABLE scopes (id INTEGER PRIMARY KEY); CREATE TABLE postings ({}, handle INTEGER, live INTEGER, count INTEGER, "
    "length INTEGER, PRIMARY KEY ({}, handle)) WITHOUT ROWID"
)
VARIANTS: dict[str, tuple[str, Insert, Query]] = {
    "FTS5, scope token": (
        "CREATE VIRTUAL TABLE fts USING fts5(body, content='', contentless_delete=1, detail=none, "
        "tokenize=\"unicode61 tokenchars '_'\"); CREATE TABLE scopes (id INTEGER PRIMARY KEY); "
        "CREATE TABLE counts (handle INTEGER PRIMARY KEY, user INTEGER, terms TEXT)",
        _insert_fts,
        _query_fts,
    ),
    "postings by scope": (
        _POSTINGS.format("scope INTEGER, token INTEGER", "scope, token"),
        _inserting("scope"),
        _querying("scope"),
    ),
    "postings by token": (
        _POSTINGS.format("token INTEGER, scope INTEGER", "token, scope"),
        _inserting("token"),
        _querying("token"),
    ),
}


def _p50_ms(query: Query, connection: apsw.Connection, user: int | None) -> tuple[float, int]:
    times: list[float] = []
    found = 0
    for _ in range(15):
        started = time.perf_counter()
        found = query(connection, user, QUERY)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times), found


def _measure(name: str, memories: int, folder: Path) -> None:
    schema, insert, query = VARIANTS[name]
    path = folder / f"{name.replace(' ', '-')}.db"
    connection = apsw.Connection(str(path))
    _run(connection, "PRAGMA page_size = 8192")
    _run(connection, "PRAGMA journal_mode = WAL")
    _run(connection, "PRAGMA synchronous = FULL")
    _run(connection, schema)
    _many(connection, "INSERT INTO scopes VALUES (?)", [(user,) for user in range(USERS)])
    randoms = np.random.default_rng(0)
    weights = 1 / np.arange(1, WORDS + 1)
    words = randoms.choice(WORDS, (memories, TERMS), p=weights / weights.sum())
    order = randoms.permutation(memories)
    started = time.perf_counter()
    for first in range(0, memories, BATCH):
        _run(connection, "BEGIN IMMEDIATE")
        for number in order[first : first + BATCH]:
            user = 0 if number < LARGE_USER else int(number) % USERS
            insert(connection, int(number) + 1, user, sorted({int(word) for word in words[number]}))
        _run(connection, "COMMIT")
    rate = memories / (time.perf_counter() - started)
    _run(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    cells = [f"{_p50_ms(query, connection, user)[0]:8.2f} ms" for user in (7, 0, None)]
    print(f"{name:20} {rate:8.0f}/s {path.stat().st_size / 1e6:7.0f} MB  " + "  ".join(cells), flush=True)
    connection.close()


def main() -> None:
    memories = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(
        f"{memories} memories, {USERS} users, {TERMS} terms, transactions of {BATCH}; query of {len(QUERY)} tokens, p50"
    )
    print(f"{'':20} {'insert':>10} {'size':>10}  {'a user':>11}  {'user of 10k':>11}  {'tenant':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for name in VARIANTS:
            _measure(name, memories, Path(folder))


if __name__ == "__main__":
    main()
