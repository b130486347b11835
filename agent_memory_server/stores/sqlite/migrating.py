"""Bringing a file's schema up to date when it is opened: numbered SQL files, in order, in one exclusive transaction.

Two processes that start together cannot collide: the second waits for the first one's transaction and then finds nothing
left to do. A file that is not ours is refused before anything is written to it.
"""

from __future__ import annotations

import os
import time
from importlib import resources
from pathlib import Path

import apsw

from agent_memory_server.errors import ConfigurationError, StoreTooNew
from agent_memory_server.stores.sqlite import failures
from agent_memory_server.stores.sqlite.connections import APPLICATION_ID, PAGE_BYTES, apply_rules, connect, run

_PATIENCE_S = 10.0
_HEADER = b"SQLite format 3\x00"


def scripts() -> list[tuple[int, str]]:
    """(version, SQL) of every migration, ascending and without gaps."""
    folder = resources.files("agent_memory_server.stores.sqlite") / "migrations"
    return sorted(
        (int(entry.name.split("_", 1)[0]), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    )


def prepare(path: Path) -> Path:
    """Create the file or migrate it; returns its absolute path.

    Raises ConfigurationError (cannot be created, or not ours), StoreTooNew, or one of the ``failures``.
    """
    path = path.absolute()
    _prepare_place(path)
    refuse_foreign(path)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            _open_and_migrate(path)
            return path
        except failures.BUSY:
            # Switching to the write-ahead log does not wait for another process that does the same.
            if time.monotonic() > deadline:
                raise failures.busy() from None
            time.sleep(0.05)


def _open_and_migrate(path: Path) -> None:
    try:
        connection = connect(path)
        try:
            _migrate(connection)
        finally:
            connection.close(True)
    except (ConfigurationError, *failures.BUSY):
        raise
    except apsw.NotADBError as error:
        raise _not_ours(path) from error
    except (apsw.Error, OSError) as error:
        raise failures.translated(error) from error


def _prepare_place(path: Path) -> None:
    """Make the folder (0700) and an empty file (0600) when they are missing."""
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, mode=0o700)
        if path.is_dir():
            raise ConfigurationError(f"The data file {path} is a folder; name a file in it.")
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigurationError(
            f"The data file {path} cannot be created ({error.strerror}). Set DATA_DIR or STORAGE_URL to a place that "
            "this user can write to."
        ) from error
    os.close(descriptor)


def refuse_foreign(path: Path) -> None:
    """Look at the header's bytes before SQLite interprets anything, as that could already touch a foreign file.

    They are read through SQLite's own descriptor: closing another one would drop this process's locks on the file.
    """
    size = path.stat().st_size
    if size == 0:
        return
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        raise ConfigurationError(f"The data file {path} cannot be read by this user.") from error
    try:
        _, header = connection.read("main", 0, 0, 100)
    finally:
        connection.close(True)
    is_sqlite = header.startswith(_HEADER) and size >= 512
    application = int.from_bytes(header[68:72], "big") if is_sqlite else -1
    # A crash while the file was being made leaves a database without content: application id 0 and schema format 0.
    is_blank = application == 0 and int.from_bytes(header[44:48], "big") == 0
    if not is_sqlite or not (application == APPLICATION_ID or is_blank):
        raise _not_ours(path)


def _not_ours(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not a data file of this server, so nothing was written to it. Point STORAGE_URL or DATA_DIR elsewhere."
    )


def _migrate(connection: apsw.Connection) -> None:
    newest = scripts()[-1][0]
    version = _version(connection)
    _check_version(connection, version, newest)
    if version == newest:
        return
    if version == 0:
        run(connection, f"PRAGMA page_size = {PAGE_BYTES}")
        run(connection, "PRAGMA journal_mode = WAL")
    apply_rules(connection)
    run(connection, "BEGIN EXCLUSIVE")
    try:
        version = _version(connection)  # another process may have been first
        _check_version(connection, version, newest)
        for number, script in scripts():
            if number > version:
                run(connection, script)
        run(connection, f"PRAGMA application_id = {APPLICATION_ID}")
        run(connection, f"PRAGMA user_version = {newest}")
        run(connection, "COMMIT")
    except BaseException:
        if connection.in_transaction:
            run(connection, "ROLLBACK")
        raise
    # The header must be in the file itself, not only in its log: it is how the file is recognised.
    run(connection, "PRAGMA wal_checkpoint(FULL)")


def _version(connection: apsw.Connection) -> int:
    row = run(connection, "PRAGMA user_version").fetchone()
    return 0 if row is None else row[0]


def _check_version(connection: apsw.Connection, version: int, newest: int) -> None:
    if version > newest:
        raise StoreTooNew(
            f"The data was written by a newer version of this server (schema {version}; this one knows {newest}). "
            "Update agent-memory-server, or restore a backup made before the update."
        )
    if version == 0 and run(connection, "SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        raise ConfigurationError("The data file holds tables of something else; nothing was written to it.")
