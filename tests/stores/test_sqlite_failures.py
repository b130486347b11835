"""What the embedded engine does when the file, the disk, the process or the schema is not as it should be."""

from __future__ import annotations

import asyncio
import inspect
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import apsw
import pytest

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Delete
from agent_memory_server.errors import (
    ConfigurationError,
    DependencyUnavailable,
    MemoryServerError,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreTimeout,
    StoreTooNew,
    StoreUnavailable,
)
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.opening import open_stores, sqlite_path
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.stores.sqlite.connections import run
from agent_memory_server.stores.sqlite.failures import translated
from agent_memory_server.stores.sqlite.reading import Readers
from tests.contract.stores.making import T0, memory, operation, put, selector

PROGRAM_ERRORS = {
    "Error", "SQLError", "ConstraintError", "MisuseError", "MismatchError", "RangeError", "InternalError", "NotFoundError",
    "BindingsError", "CursorClosedError", "ExecutionCompleteError", "IncompleteExecutionError", "ExtensionLoadingError",
    "ThreadingViolationError", "ExecTraceAbort", "InvalidContextError", "VFSNotImplementedError", "NoFTS5Error",
}  # fmt: skip
"""What only a mistake of ours raises: a 500, as there is nothing that a caller could wait for."""


def opened(path: Path) -> asyncio.Future[Stores]:
    return asyncio.ensure_future(open_sqlite(path, now=lambda: T0))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_error_of_sqlite_is_translated() -> None:
    """Each exception class of the driver is known here: dependency failures answer 503, 504 or 507, mistakes 500."""
    classes = [found for _, found in inspect.getmembers(apsw, inspect.isclass) if issubclass(found, apsw.Error)]
    assert len(classes) > 35
    for found in classes:
        ours = translated(found("message with /a/path and SQL"))
        if found.__name__ in PROGRAM_ERRORS:
            assert type(ours) is MemoryServerError, found
        elif found is not apsw.TooBigError:
            assert isinstance(ours, DependencyUnavailable), found
        assert "/a/path" not in ours.detail
    expected = {
        apsw.FullError: StoreFull,
        apsw.BusyError: StoreBusy,
        apsw.CorruptError: StoreCorrupt,
        apsw.NotADBError: StoreCorrupt,
        apsw.InterruptError: StoreTimeout,
        apsw.IOError: StoreUnavailable,
        apsw.ReadOnlyError: StoreUnavailable,
    }
    assert {each: type(translated(each())) for each in expected} == expected
    assert isinstance(translated(OSError(27, "File too large")), StoreFull)


async def test_a_foreign_file_is_refused_untouched(tmp_path: Path) -> None:
    """Neither another program's database nor any other file is written to."""
    database = tmp_path / "theirs.db"
    connection = apsw.Connection(str(database))
    run(connection, "CREATE TABLE theirs (x)")
    connection.close()
    text = tmp_path / "notes.txt"
    text.write_text("not a database " * 100)
    short = tmp_path / "short"
    short.write_text("x")
    for path in (database, text, short):
        before = contents(tmp_path)
        with pytest.raises(ConfigurationError):
            await opened(path)
        assert contents(tmp_path) == before


async def test_schema_versions(tmp_path: Path) -> None:
    """A file opens again as it was; one of a newer version is refused with a sentence."""
    path = tmp_path / "new" / "memory.db"
    stores = await opened(path)
    await stores.memories.commit(operation(put(memory("a"))))
    await stores.engine.close()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    again, beside = await asyncio.gather(opened(path), opened(path))
    assert await again.memories.get(memory("a").key)
    await again.engine.close()
    await beside.engine.close()
    connection = apsw.Connection(str(path))
    run(connection, "PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(StoreTooNew, match="newer version"):
        await opened(path)


async def test_urls_pick_the_engine(tmp_path: Path) -> None:
    """Four slashes are absolute, three relative; what cannot be opened says what to write instead."""
    assert sqlite_path("sqlite:////var/x.db") == Path("/var/x.db")
    assert sqlite_path("sqlite:///var/x.db") == Path("var/x.db")
    for url in (
        "redis://user:secret@host/0",
        "postgres://u:secret@h",
        "sqlite://",
        "sqlite:///",
        "nonsense",
        "sqlite:///x?y",
    ):
        with pytest.raises(ConfigurationError) as refused:
            await open_stores(url, now=lambda: T0)
        assert "secret" not in str(refused.value)
    stores = await open_stores(f"sqlite:///{tmp_path}/x.db", now=lambda: T0)
    assert stores.engine.describe() == f"{tmp_path}/x.db"
    await stores.engine.close()


@pytest.mark.parametrize("harm", ["removed", "garbage", "replaced"])
async def test_a_lost_file_is_a_failure_until_it_is_back(tmp_path: Path, harm: str) -> None:
    """Reads and writes fail as unavailable, never as absence and never by making a new store; then they work again."""
    path = tmp_path / "memory.db"
    stores = await opened(path)
    await stores.memories.commit(operation(put(memory("a"))))
    away = tmp_path / "away"
    if harm == "garbage":
        path.write_bytes(b"garbage")
    else:
        path.rename(away)
        if harm == "replaced":
            path.write_bytes(b"garbage" * 5_000)
    criteria = MemoryFilter(selector=selector())
    for attempt in (
        lambda: stores.memories.get(memory("a").key),
        lambda: stores.memories.list(criteria, now=T0, limit=5),
        lambda: stores.memories.commit(operation(put(memory("b")))),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt()
    assert [check.ok for check in await stores.engine.checks()][:2] == [False, False]
    assert harm != "removed" or not path.exists()
    if harm == "garbage":
        await stores.engine.close()  # its log was folded into nothing: only a restart on a restored file helps
        return
    away.replace(path)
    assert await stores.memories.get(memory("a").key)
    await stores.memories.commit(operation(put(memory("c"))))
    assert await stores.memories.get(memory("b").key) is None
    await stores.engine.close()


async def test_a_slow_read_is_stopped(tmp_path: Path) -> None:
    """A read that takes too long is interrupted as StoreTimeout, and the next one is answered."""
    path = tmp_path / "memory.db"
    stores = await opened(path)
    readers = Readers(path, threads=1, limit_s=0.05)
    readers.start()
    endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(StoreTimeout):
        await readers.run(lambda connected: connected.value(endless))
    assert await readers.run(lambda connected: connected.value("SELECT 7")) == 7
    await readers.close()
    await stores.engine.close()


async def test_a_writer_that_is_held_up_says_so_and_goes_on(tmp_path: Path) -> None:
    """Another program that holds the file makes writes fail as busy within seconds; reads go on."""
    path = tmp_path / "memory.db"
    stores = await opened(path)
    other = apsw.Connection(str(path))
    run(other, "BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(stores.memories.commit(operation(put(memory("a")))))
    assert await stores.memories.get(memory("a").key) is None
    with pytest.raises(StoreBusy):
        await writing
    run(other, "ROLLBACK")
    other.close()
    await stores.memories.commit(operation(put(memory("a"))))
    await stores.engine.close()


async def test_a_cancelled_caller_loses_nothing_of_others(tmp_path: Path) -> None:
    """Cancelling one of many writers leaves each write whole: applied or not at all."""
    stores = await opened(tmp_path / "memory.db")
    writing = [
        asyncio.ensure_future(
            stores.memories.commit(operation(put(memory(f"m{n}", f"{n}")), put(memory(f"n{n}", f"n{n}"))))
        )
        for n in range(40)
    ]
    await asyncio.sleep(0)
    for each in writing[::2]:
        each.cancel()
    await asyncio.gather(*writing, return_exceptions=True)
    for number in range(40):
        pair = [await stores.memories.get(memory(f"{letter}{number}").key) for letter in "mn"]
        assert (pair[0] is None) == (pair[1] is None)
        assert number % 2 == 0 or pair[0] is not None
    await stores.engine.close()


async def test_scrubbed_text_is_nowhere_in_the_file(tmp_path: Path) -> None:
    """After an explicit delete and a clean close no byte of the text is in the file, nor of its index terms or tags."""
    path = tmp_path / "memory.db"
    stores = await opened(path)
    made = memory("a", "my secret is Xylophonium", topics=("Xylophonium-topic",))
    await stores.memories.commit(operation(put(made, tokens={"xylophonium": 1})))
    await stores.memories.commit(operation(put(memory("copy", made.text), deduplicate=True)))
    await stores.memories.commit(operation(put(memory("a", "now Xylophonium again"), tokens={"xylophonium": 2})))
    await stores.memories.commit(operation(Delete(key=made.key, scrub=True)))
    await stores.engine.close()
    assert b"xylophonium" not in path.read_bytes().lower()


WRITER = """
import asyncio, os, sys
from pathlib import Path
from agent_memory_server.stores.sqlite import open_sqlite
from tests.contract.stores.making import T0, memory, operation, put
async def main():
    stores = await open_sqlite(Path(sys.argv[1]), now=lambda: T0)
    async def client(name):
        for number in range(100_000):
            made = memory(f"{sys.argv[2]}-{name}-{number}", f"text {name} {number}")
            try:
                await stores.memories.commit(operation(put(made), operation_id=made.id))
            except Exception as error:
                os.write(1, f"! {type(error).__name__}\\n".encode())
                if len(sys.argv) > 3:
                    return
                continue
            os.write(1, (made.id + "\\n").encode())
    await asyncio.gather(*(client(name) for name in range(8)))
    await stores.engine.close()
asyncio.run(main())
"""


def start_writer(path: Path, name: str, *more: str, **options: object) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path), name, *more],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        **options,  # pyright: ignore[reportArgumentType, reportCallIssue]
    )


async def test_two_killed_processes_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """Two processes write to one file at once and are killed: every acknowledged write is there."""
    path = tmp_path / "memory.db"
    await (await opened(path)).engine.close()
    writers = [start_writer(path, name) for name in ("x", "y")]
    acknowledged: list[bytes] = []
    for writer in writers:
        assert writer.stdout
        acknowledged += [writer.stdout.readline() for _ in range(200)]
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
    for writer in writers:
        assert writer.stdout
        acknowledged += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        writer.wait()
        writer.stdout.close()
    names = [line.decode().strip() for line in acknowledged]
    assert not [name for name in names if name.startswith("!")]
    stores = await opened(path)
    missing = [name for name in names if not await stores.memories.get(memory(name).key)]
    assert missing == []
    await stores.engine.close()


async def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    """Under a file-size limit writes fail as StoreFull, none of the acknowledged is lost, and space brings writes back."""
    path = tmp_path / "memory.db"
    await (await opened(path)).engine.close()
    limit = path.stat().st_size + 300_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    writer = start_writer(path, "x", "stop", preexec_fn=limited)
    output = writer.communicate(timeout=60)[0].decode().split("\n")[:-1]
    failures = [line for line in output if line.startswith("!")]
    assert set(failures) == {"! StoreFull"}
    stores = await opened(path)
    for name in output:
        assert name.startswith("!") or await stores.memories.get(memory(name).key), name
    await stores.memories.commit(operation(put(memory("after"))))
    await stores.engine.close()
