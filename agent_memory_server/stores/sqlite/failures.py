"""The one place where SQLite's and the operating system's errors become ours.

What a caller may read never holds a path or SQL; the original error is the ``__cause__``.
"""

from __future__ import annotations

import errno

import apsw

from agent_memory_server.errors import (
    DependencyUnavailable,
    InvalidInput,
    MemoryServerError,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
    TooLarge,
)

# SQLite reports "file too large" (EFBIG, a file-size limit) and quota errors as failed writes, and a shared-memory file
# that cannot grow as its own code: all of them mean that there is no room.
_NO_ROOM_CODES = frozenset({apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_SHMSIZE})
_NO_ROOM_ERRNOS = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})

BUSY = (apsw.BusyError, apsw.LockedError)
_CORRUPT = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
_UNAVAILABLE = (
    apsw.IOError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.NoMemError,
    apsw.NoLFSError,
    apsw.SchemaChangeError,
    apsw.AbortError,
    apsw.ConnectionClosedError,
    apsw.ConnectionNotClosedError,
    apsw.VFSFileClosedError,
    apsw.AuthError,
    apsw.EmptyError,
    apsw.ForkingViolationError,
)


def full() -> StoreFull:
    return StoreFull("There is no space left for the data; nothing of this request was stored.", retry_after_s=5)


def unavailable() -> StoreUnavailable:
    return StoreUnavailable("The data cannot be reached at the moment.", retry_after_s=2)


def corrupt() -> StoreCorrupt:
    return StoreCorrupt("The data file is damaged or is not a data file any more.", retry_after_s=5)


def timed_out() -> StoreTimeout:
    return StoreTimeout("The store took too long to answer.", retry_after_s=1)


def busy() -> StoreBusy:
    return StoreBusy("Another writer held the data for too long.", retry_after_s=1)


def translated(error: BaseException) -> MemoryServerError:
    """Our error for any error of apsw or the operating system; a programming error becomes a plain MemoryServerError."""
    if isinstance(error, MemoryServerError):
        return error
    if isinstance(error, apsw.Error):
        return _of_sqlite(error)
    if isinstance(error, OSError):
        return full() if error.errno in _NO_ROOM_ERRNOS else unavailable()
    if isinstance(error, MemoryError):
        return unavailable()
    if isinstance(error, UnicodeEncodeError):
        return InvalidInput("A text holds a character that cannot be stored (a lone surrogate).")
    return MemoryServerError("The store failed in an unexpected way.")


def _of_sqlite(error: apsw.Error) -> MemoryServerError:
    extended = getattr(error, "extendedresult", 0)
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and extended in _NO_ROOM_CODES):
        return full()
    if isinstance(error, BUSY):
        return busy()
    if isinstance(error, _CORRUPT):
        return corrupt()
    if isinstance(error, apsw.InterruptError):
        return timed_out()
    if isinstance(error, apsw.TooBigError):
        return TooLarge("A value is larger than the store can hold.")
    if isinstance(error, _UNAVAILABLE):
        return unavailable()
    return MemoryServerError("The store failed in an unexpected way.")


def wants_new_connection(error: BaseException) -> bool:
    """Whether the connection that met this error should be closed and opened again before it is used further."""
    if isinstance(error, OSError | apsw.IOError | apsw.FullError):
        return True
    ours = translated(error)
    return isinstance(ours, DependencyUnavailable) and not isinstance(ours, StoreBusy | StoreTimeout)
