"""Writes that nobody waits for share a commit with others, and are never lost for being patient."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_memory_server.errors import Conflict
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.writing import GROUP_MAX, Writer

NOTE = "INSERT INTO facts (name, value) VALUES (?, ?)"


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: datetime(2026, 5, 1, tzinfo=UTC))
    opened = Writer(path)
    opened.start()
    yield opened
    await opened.close()
    await stores.engine.close()


def _noting(name: str) -> Callable[[Connected], None]:
    return lambda connected: connected.execute(NOTE, (name, b""))


def _noted(connected: Connected) -> int:
    return connected.value("SELECT count(*) FROM facts WHERE name LIKE 'note%'")


async def test_patient_writes_join_the_commit_of_a_write_that_is_awaited(writer: Writer) -> None:
    """Whoever asked before another's commit is stored with it, at the latest."""
    patient = [asyncio.ensure_future(writer.run_patiently(_noting(f"note{each}"))) for each in range(3)]
    await asyncio.sleep(0)
    await writer.run(_noting("urgent"))
    await asyncio.gather(*patient)
    assert await writer.run(_noted) == 3


async def test_patient_writes_are_stored_when_nobody_else_writes(writer: Writer) -> None:
    """Alone, they wait for no one; more of them than one commit takes are all stored."""
    await asyncio.gather(*(writer.run_patiently(_noting(f"note{each}")) for each in range(2 * GROUP_MAX + 1)))
    assert await writer.run(_noted) == 2 * GROUP_MAX + 1


async def test_closing_finishes_patient_writes(tmp_path: Path) -> None:
    """What was handed in before the end is stored at the end."""
    path = tmp_path / "memory.db"
    stores = await open_sqlite(path, now=lambda: datetime(2026, 5, 1, tzinfo=UTC))
    closing = Writer(path)
    closing.start()
    waiting = asyncio.ensure_future(closing.run_patiently(_noting("note")))
    await asyncio.sleep(0)
    await closing.close()
    await waiting
    after = Writer(path)
    after.start()
    assert await after.run(_noted) == 1
    await after.close()
    await stores.engine.close()


async def test_a_patient_write_that_fails_says_so_and_harms_no_other(writer: Writer) -> None:
    """Its error reaches whoever asked; the others of its commit are stored."""

    def broken(connected: Connected) -> None:
        connected.execute("INSERT INTO no_such_table VALUES (1)")

    good, bad = await asyncio.gather(
        writer.run_patiently(_noting("note")),
        writer.run_patiently(broken),
        return_exceptions=True,
    )
    assert good is None
    assert isinstance(bad, Exception)
    assert await writer.run(_noted) == 1


async def test_a_write_that_fails_after_it_changed_something_leaves_nothing_and_harms_no_other(writer: Writer) -> None:
    """The others of its commit are stored, each once, whether they came before it or after it; what it had written is gone."""
    go_on = threading.Event()

    def slow(_: Connected) -> bool:
        return go_on.wait(10)

    def half_done(connected: Connected) -> None:
        connected.execute(NOTE, ("note-half", b""))
        raise Conflict("no further")

    first = asyncio.ensure_future(writer.run(slow))  # keeps the thread busy, so that all others share the next commit
    others = [asyncio.ensure_future(writer.run(_noting(f"note{each}"))) for each in range(3)]
    failing = asyncio.ensure_future(writer.run(half_done))
    others += [asyncio.ensure_future(writer.run(_noting(f"note{each}"))) for each in range(3, 6)]
    await asyncio.sleep(0)
    go_on.set()
    assert await first
    await asyncio.gather(*others)
    with pytest.raises(Conflict):
        await failing
    assert await writer.run(_noted) == 6


async def test_a_write_that_fails_alone_leaves_nothing(writer: Writer) -> None:
    """Nothing of it is stored, and the next write finds the connection as if it had never been."""

    def half_done(connected: Connected) -> None:
        connected.execute(NOTE, ("note-half", b""))
        raise Conflict("no further")

    with pytest.raises(Conflict):
        await writer.run(half_done)
    await writer.run(_noting("note"))
    assert await writer.run(_noted) == 1
