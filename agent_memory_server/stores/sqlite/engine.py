"""Opening the embedded engine, its readiness checks, and closing it in order."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from agent_memory_server.errors import MemoryServerError
from agent_memory_server.ports.stores import Check, Stores
from agent_memory_server.stores.sqlite.access_tokens import SqliteAccessTokens
from agent_memory_server.stores.sqlite.clock import SqliteClock
from agent_memory_server.stores.sqlite.comparing import SqliteComparisons
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.holdings import SqliteHoldings
from agent_memory_server.stores.sqlite.jobs import SqliteJobs
from agent_memory_server.stores.sqlite.journal import SqliteJournal
from agent_memory_server.stores.sqlite.leases import SqliteLeases
from agent_memory_server.stores.sqlite.ledger import SqliteLedger
from agent_memory_server.stores.sqlite.memories import SqliteMemories
from agent_memory_server.stores.sqlite.migrating import prepare
from agent_memory_server.stores.sqlite.outbox import SqliteOutbox
from agent_memory_server.stores.sqlite.overviews import SqliteOverviews
from agent_memory_server.stores.sqlite.packed_vectors import PackedVectors
from agent_memory_server.stores.sqlite.purging import purge_file
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.schedules import SqliteSchedules
from agent_memory_server.stores.sqlite.summary_views import SqliteSummaryViews
from agent_memory_server.stores.sqlite.webhooks import SqliteWebhooks
from agent_memory_server.stores.sqlite.working_memory import SqliteWorkingMemory
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import micros

READER_THREADS = 4
_CHECK_LIMIT_S = 1.8
_FREE_BYTES_LOW = 200 * 1024 * 1024


async def open_sqlite(path: Path, *, now: Callable[[], datetime], reader_threads: int = READER_THREADS) -> Stores:
    """Open the file, creating or migrating it, and start its threads.

    Raises ConfigurationError (not ours, or cannot be created), StoreTooNew, or StoreUnavailable and its kin.
    """
    path = await asyncio.to_thread(prepare, path)
    readers = Readers(path, threads=reader_threads)
    writer = Writer(path)
    readers.start()
    writer.start()
    engine = SqliteEngine(path, readers, writer, now=now)
    try:
        await readers.run(lambda connected: connected.value("SELECT 1"))
    except BaseException:
        await engine.close()
        raise
    packed = PackedVectors()
    return Stores(
        engine=engine,
        memories=SqliteMemories(readers, writer, packed),
        working_memory=SqliteWorkingMemory(readers, writer),
        outbox=SqliteOutbox(readers, writer, now=now),
        journal=SqliteJournal(readers, writer),
        leases=SqliteLeases(writer),
        jobs=SqliteJobs(readers, writer),
        summary_views=SqliteSummaryViews(readers, writer),
        schedules=SqliteSchedules(readers, writer),
        comparisons=SqliteComparisons(readers, writer, packed),
        clock=SqliteClock(writer),
        webhooks=SqliteWebhooks(readers, writer),
        overviews=SqliteOverviews(readers),
        access_tokens=SqliteAccessTokens(readers, writer),
        holdings=SqliteHoldings(readers, writer),
        ledger=SqliteLedger(readers, writer),
    )


class SqliteEngine:
    """``ports.stores.Engine`` over one file."""

    def __init__(self, path: Path, readers: Readers, writer: Writer, *, now: Callable[[], datetime]) -> None:
        self._path = path
        self._readers = readers
        self._writer = writer
        self._now = now

    async def checks(self) -> tuple[Check, ...]:
        """A real read, a real (tiny) write, and the room that is left."""
        read, write = await asyncio.gather(self._read_check(), self._write_check())
        return (read, write, await asyncio.to_thread(self._space_check))

    def describe(self) -> str:
        return str(self._path)

    async def purge(self) -> str:
        """``ports.stores.Purges``: the file is written anew, and the log beside it is emptied."""
        return await asyncio.to_thread(purge_file, self._path)

    async def close(self) -> None:
        """Every write that was handed in is finished first; then the log is folded into the file."""
        await self._readers.close()
        await self._writer.close()

    async def _read_check(self) -> Check:
        try:
            async with asyncio.timeout(_CHECK_LIMIT_S):
                await self._readers.run(lambda connected: connected.value("SELECT count(*) FROM tenants"))
        except TimeoutError:
            return Check(name="store-read", ok=False, detail="the store does not answer; all readers are busy")
        except MemoryServerError as error:
            return Check(name="store-read", ok=False, detail=error.detail)
        return Check(name="store-read", ok=True, detail="a read was answered")

    async def _write_check(self) -> Check:
        moment = micros(self._now())

        def work(connected: Connected) -> None:
            connected.execute("INSERT OR REPLACE INTO probe (id, at) VALUES (1, ?)", (moment,))

        try:
            async with asyncio.timeout(_CHECK_LIMIT_S):
                await self._writer.run(work)
        except TimeoutError:
            return Check(
                name="store-write", ok=False, detail="a write did not finish in time; another writer holds the data"
            )
        except MemoryServerError as error:
            return Check(name="store-write", ok=False, detail=error.detail)
        return Check(name="store-write", ok=True, detail="a write was committed")

    def _space_check(self) -> Check:
        try:
            free_bytes = shutil.disk_usage(self._path.parent).free
        except OSError:
            return Check(name="store-space", ok=False, detail="the data's folder cannot be read")
        free = f"{free_bytes // (1024 * 1024)} MiB are free where the data lives"
        if free_bytes < _FREE_BYTES_LOW:
            return Check(
                name="store-space", ok=False, detail=f"only {free}; make room, or writes will be refused (507)"
            )
        return Check(name="store-space", ok=True, detail=free)
