"""The one place where errors of the Redis client become ours.

What a caller may read never holds an address, a key or a command; the original error is the ``__cause__``.
"""

from __future__ import annotations

import asyncio

from redis import exceptions

from agent_memory_server.errors import (
    InvalidInput,
    MemoryServerError,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)

_INDEX_MISSING = ("no such index", "unknown index name", "sesearch_index_not_found")


def full() -> StoreFull:
    return StoreFull("There is no memory left for the data; nothing of this request was stored.", retry_after_s=5)


def unavailable() -> StoreUnavailable:
    return StoreUnavailable("The data cannot be reached at the moment.", retry_after_s=2)


def timed_out() -> StoreTimeout:
    return StoreTimeout("The store took too long to answer.", retry_after_s=1)


def busy() -> StoreBusy:
    return StoreBusy("Other writers changed the same data for too long.", retry_after_s=1)


def indexing() -> StoreUnavailable:
    return StoreUnavailable("The search index is being built; nothing is lost. Try again shortly.", retry_after_s=2)


def not_durable() -> StoreTimeout:
    return StoreTimeout("The store did not confirm in time that the write is on disk.", retry_after_s=1)


def is_index_missing(error: BaseException) -> bool:
    """Whether the search index that was asked is not there."""
    return isinstance(error, exceptions.ResponseError) and any(part in str(error).lower() for part in _INDEX_MISSING)


def translated(error: BaseException) -> MemoryServerError:
    """Our error for any error of the client or the network; a programming error becomes a plain MemoryServerError."""
    if isinstance(error, MemoryServerError):
        return error
    if isinstance(error, exceptions.TimeoutError | TimeoutError | asyncio.TimeoutError):
        return timed_out()
    if isinstance(error, exceptions.OutOfMemoryError):
        return full()
    if isinstance(error, exceptions.MaxConnectionsError):
        return busy()
    if isinstance(error, exceptions.InvalidResponse):
        return StoreCorrupt("The store gave an answer that cannot be read.", retry_after_s=5)
    if isinstance(error, exceptions.LockError):
        return busy()
    if isinstance(error, exceptions.ResponseError):
        return _of_response(error)
    if isinstance(error, exceptions.DataError):
        return InvalidInput("A value cannot be stored as it is.")
    if isinstance(error, exceptions.RedisError | OSError | EOFError):
        return unavailable()
    if isinstance(error, UnicodeEncodeError):
        return InvalidInput("A text holds a character that cannot be stored (a lone surrogate).")
    return MemoryServerError("The store failed in an unexpected way.")


def _of_response(error: exceptions.ResponseError) -> MemoryServerError:
    said = str(error)
    # Within a script the code of an error stands inside the message.
    if said.startswith("OOM") or "OOM command not allowed" in said or "used memory > 'maxmemory'" in said:
        return full()
    if is_index_missing(error):
        return indexing()
    if said.startswith("BUSY "):
        return busy()
    if "WRONGTYPE" in said:
        return StoreCorrupt("A key of ours holds something else; another application may write to this database.")
    return unavailable()
