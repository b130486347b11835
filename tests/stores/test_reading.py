"""Reads begin on the event loop; what takes long goes on a thread, and nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from agent_memory_server.errors import StoreTimeout
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.connections import Connected, Link, connect, run
from agent_memory_server.stores.sqlite.reading import Deadline, Readers, answer
from agent_memory_server.stores.sqlite.writing import Writer

COUNT_FAR = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 300000) SELECT count(*) FROM n"


@pytest.fixture
async def readers(tmp_path: Path) -> AsyncIterator[Readers]:
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: datetime(2026, 5, 1, tzinfo=UTC))
    opened = Readers(path, threads=2)
    opened.start()
    yield opened
    await opened.close()
    await stores.engine.close()


async def test_a_short_read_stays_where_it_is_asked_for(readers: Readers) -> None:
    """No thread is involved in a read that ends at once."""
    here = threading.get_ident()
    assert await readers.run(lambda connected: (connected.value("SELECT 7"), threading.get_ident())) == (7, here)


async def test_a_long_read_goes_on_in_a_thread(readers: Readers) -> None:
    """A read that does not end at once is begun anew on a thread, and its transaction is not left open behind it."""
    places: list[int] = []

    def work(connected: Connected) -> int:
        places.append(threading.get_ident())
        return connected.value(COUNT_FAR)

    for _ in range(3):
        assert await readers.run(work) == 300_000
    assert places[::2] == [threading.get_ident()] * 3
    assert threading.get_ident() not in places[1::2]
    assert await readers.run(lambda connected: connected.value("SELECT 7")) == 7


async def test_a_read_that_says_it_is_long_leaves_at_once(readers: Readers) -> None:
    """Work that no deadline interrupts is never done on the event loop."""
    places: list[int] = []

    def work(connected: Connected) -> int:
        connected.leave_event_loop()
        places.append(threading.get_ident())
        return connected.value("SELECT 7")

    assert await readers.run(work) == 7
    assert len(places) == 1
    assert places[0] != threading.get_ident()


async def test_others_get_their_turn_between_reads_that_end_at_once(readers: Readers) -> None:
    """A loop of short reads lets other tasks of the event loop run."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    for _ in range(20_000):
        await readers.run(lambda connected: connected.value("SELECT 7"))
    waiting.cancel()
    assert turns > 0


async def test_a_read_sees_what_was_acknowledged_before_it_was_asked_for(readers: Readers, tmp_path: Path) -> None:
    """Reads of one turn of the event loop share a snapshot, and nobody who was told of a write meets one from before it: not who
    waited for the write in this process, and not who heard of it otherwise while that turn went on."""
    writer = Writer(tmp_path / "memory.db")
    writer.start()

    def count(connected: Connected) -> int:
        return connected.value("SELECT count(*) FROM facts WHERE name LIKE 'note%'")

    async def busy() -> None:
        while True:
            await readers.run(count)
            await asyncio.sleep(0)

    others = [asyncio.create_task(busy()) for _ in range(3)]
    for number in range(50):
        await readers.run(count)
        name = f"note{number}"
        await writer.run(lambda connected, name=name: connected.execute("INSERT INTO facts VALUES (?, x'')", (name,)))
        assert await readers.run(count) == number + 1
    for other in others:
        other.cancel()
    await writer.close()


async def test_reads_of_one_turn_see_one_moment(readers: Readers, tmp_path: Path) -> None:
    """What another connection writes between two reads of one turn is seen in the next turn."""
    other = connect(tmp_path / "memory.db")

    def count(connected: Connected) -> int:
        return connected.value("SELECT count(*) FROM facts WHERE name = 'note'")

    await asyncio.sleep(0)
    assert await readers.run(count) == 0
    run(other, "INSERT INTO facts VALUES ('note', x'')")
    assert await readers.run(count) == 0
    await asyncio.sleep(0)
    assert await readers.run(count) == 1
    other.close()


async def test_another_event_loop_reads_in_threads(readers: Readers) -> None:
    """A connection serves one thread only: a second event loop is answered by the reader threads."""

    def elsewhere() -> tuple[int, int]:
        reader = asyncio.run(readers.run(lambda _: threading.get_ident()))
        return reader, threading.get_ident()

    here = await readers.run(lambda _: threading.get_ident())
    reader, other = await asyncio.to_thread(elsewhere)
    assert here == threading.get_ident()
    assert reader not in (other, here)


async def test_a_read_interrupted_as_it_begins_is_not_in_the_way_of_the_next(tmp_path: Path) -> None:
    """BEGIN has begun a transaction even when the time is over by then; left open, it would fail every later read."""
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: datetime(2026, 5, 1, tzinfo=UTC))
    # Three steps: SQLite looks at the clock when BEGIN has just taken effect.
    deadline = Deadline(-1.0, steps_between_looks=3)
    link = Link(path)
    connection = link.open().connection
    deadline.attach(connection)
    for _ in range(3):
        _, error = answer(link, deadline, lambda connected: connected.value("SELECT 7"))
        assert isinstance(error, StoreTimeout), error
        assert not connection.in_transaction
    link.drop()
    await stores.engine.close()


def test_a_read_that_keeps_what_it_has_gets_time_anew_but_not_without_end() -> None:
    """Each step forward counts from then on, up to six times the limit in all; who makes no step is stopped at the limit."""
    seconds = [100.0]
    deadline = Deadline(5.0, steps_between_looks=1, clock=lambda: seconds[0])
    connection = apsw.Connection(":memory:")
    deadline.attach(connection)

    def read() -> None:
        run(
            connection,
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 9) SELECT count(*) FROM n",
        )

    deadline.start()
    for _ in range(7):
        seconds[0] += 4.0
        read()
        deadline.go_on()
    seconds[0] = 130.5
    deadline.go_on()
    with pytest.raises(apsw.InterruptError):
        read()
    deadline.start()
    seconds[0] += 5.5
    with pytest.raises(apsw.InterruptError):
        read()
    connection.close()
