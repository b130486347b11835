"""Connections to one file, and the watch that the file is still the one that was opened.

A file that vanished, was replaced or overwritten is a failure (503), never an empty store: SQLite itself would go on
serving the removed file, or create a new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import apsw

from agent_memory_server.stores.sqlite import failures

APPLICATION_ID = 0x414D5352
"""``AMSR`` in the file's header: how a file of ours is told from any other SQLite file."""
PAGE_BYTES = 8192
BUSY_TIMEOUT_MS = 4_000
READ_LIMIT_S = 5.0
_HEADER = b"SQLite format 3\x00"
_STATEMENTS_CACHED = 256

Row = tuple[Any, ...]
Result = TypeVar("Result")
Owner = tuple[str, str | None, str | None]
"""(tenant, namespace, user)."""


def run(connection: apsw.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> apsw.Cursor:
    """``connection.execute`` with a type that can be checked: apsw's stubs leave a part of theirs unknown."""
    return connection.execute(sql, parameters)  # pyright: ignore[reportUnknownMemberType]


class LeaveEventLoop(Exception):
    """This read is going to be long: it has to be begun anew on a thread."""


@dataclass
class Connected:
    """An open connection with what it has learned and may keep: identities of scopes, which are never removed.

    Not safe for use by two threads at once. What a rolled-back transaction interned has to be forgotten (``forget``).
    """

    connection: apsw.Connection
    token_key: bytes
    tenants: dict[str, int] = field(default_factory=dict[str, int])
    scopes: dict[Owner, int] = field(default_factory=dict[Owner, int])
    spaces: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    on_event_loop: bool = False
    selections: dict[Hashable, Any] | None = None
    """Selections of scopes that this snapshot was asked for already; None where they may change (while writing)."""

    go_on: Callable[[], None] | None = None
    """Called by a read that has come further and keeps what it has if it is stopped: it gets time anew."""

    def leave_event_loop(self) -> None:
        """Called by a read before work that takes long, and that no deadline interrupts. Raises LeaveEventLoop there."""
        if self.on_event_loop:
            raise LeaveEventLoop

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        """Run a statement to its end."""
        run(self.connection, sql, parameters)

    def one(self, sql: str, parameters: tuple[Any, ...] = ()) -> Row | None:
        """The first row. The statement is finished, so that it holds no lock."""
        cursor = run(self.connection, sql, parameters)
        row = cursor.fetchone()
        cursor.close()
        return row

    def sure(self, sql: str, parameters: tuple[Any, ...] = ()) -> Row:
        """The row of a statement that always has one, such as an aggregate."""
        return _found(self.one(sql, parameters))

    def value(self, sql: str, parameters: tuple[Any, ...] = ()) -> Any:
        """The first column of the first row, or None."""
        row = self.one(sql, parameters)
        return None if row is None else row[0]

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Row]:
        return list(run(self.connection, sql, parameters))

    def changed(self, sql: str, parameters: tuple[Any, ...] = ()) -> int:
        """Run a statement; how many rows it changed."""
        run(self.connection, sql, parameters)
        return self.connection.changes()

    def many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement once for each row of values."""
        self.connection.executemany(sql, rows)  # pyright: ignore[reportUnknownMemberType] - a gap in apsw's stubs

    @property
    def last_id(self) -> int:
        return self.connection.last_insert_rowid()

    def forget(self) -> None:
        self.tenants.clear()
        self.scopes.clear()
        self.spaces.clear()


def connect(path: Path, *, create: bool = False) -> apsw.Connection:
    """A connection with the engine's rules set. Without ``create`` a missing file is an error, never a new store."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=_STATEMENTS_CACHED)
    # Plans do not depend on bound values. Otherwise SQLite compiles a statement anew whenever a value changes that might matter
    # to its plan: a fifth of the writer's time.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    return connection


def apply_rules(connection: apsw.Connection) -> None:
    """Per-connection settings: durable commits, freed text overwritten, sorting in memory."""
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = OFF",
        "temp_store = MEMORY",
        "secure_delete = ON",
        "cache_size = -16384",
        "wal_autocheckpoint = 2000",
        "journal_size_limit = 67108864",
    ):
        run(connection, f"PRAGMA {pragma}")


class FileWatch:
    """Says, by one ``stat``, whether the path still names the file that a connection has open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._seen: tuple[int, int] | None = None

    def adopt(self) -> None:
        """Take the file that is there now as the one to watch."""
        found = self._stat()
        self._identity = (found.st_dev, found.st_ino)
        self._seen = None

    def check(self, connection: apsw.Connection) -> None:
        """Raise StoreUnavailable or StoreCorrupt when the file went away or is not ours any more."""
        found = self._stat()
        if (found.st_dev, found.st_ino) != self._identity:
            raise failures.unavailable()
        seen = (found.st_size, found.st_mtime_ns)
        if seen != self._seen:
            self._check_header(connection)
            self._seen = seen

    def _stat(self) -> os.stat_result:
        try:
            return os.stat(self._path)  # noqa: PTH116 - a third of the cost of Path.stat, and paid on every request
        except OSError as error:
            raise failures.unavailable() from error

    @staticmethod
    def _check_header(connection: apsw.Connection) -> None:
        """Read past SQLite's cache, through its own descriptor: closing another one would drop its locks."""
        _, header = connection.read("main", 0, 0, 100)
        if not header.startswith(_HEADER) or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise failures.corrupt()


class Link:
    """One thread's connection, opened when first needed and again after a failure that may have harmed it."""

    def __init__(
        self,
        path: Path,
        *,
        prepare: Callable[[apsw.Connection], None] | None = None,
        go_on: Callable[[], None] | None = None,
    ) -> None:
        self._path = path
        self._prepare = prepare
        self._go_on = go_on
        self._watch = FileWatch(path)
        self._connected: Connected | None = None

    def open(self) -> Connected:
        """The connection, after a check that its file is still there. Raises apsw's errors and ours."""
        connected = self._connected
        if connected is None:
            connected = self._connected = self._connect()
        try:
            self._watch.check(connected.connection)
        except Exception:
            self.drop()
            raise
        return connected

    def still_there(self) -> None:
        """Raise when the file went away since ``open``."""
        if self._connected is not None:
            self._watch.check(self._connected.connection)

    def drop(self) -> None:
        """Close the connection; the next ``open`` makes another."""
        connected, self._connected = self._connected, None
        if connected is None:
            return
        try:
            connected.connection.close(True)
        except apsw.Error:
            pass  # it is broken: that is why it goes

    def _connect(self) -> Connected:
        self._watch.adopt()
        connection = connect(self._path)
        try:
            self._watch.check(connection)
            apply_rules(connection)
            if self._prepare is not None:
                self._prepare(connection)
            row = run(connection, "SELECT value FROM facts WHERE name = 'token_key'").fetchone()
            return Connected(connection, _found(row)[0], go_on=self._go_on)
        except BaseException:
            connection.close(True)
            raise


def _found(row: Row | None) -> Row:
    """A row that our schema always has."""
    if row is None:
        raise failures.corrupt()
    return row
