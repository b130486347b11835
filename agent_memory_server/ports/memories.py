"""Long-term memory as a store offers it: one door for writes, and the candidate generators of search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Committed, Embedded, Operation, Vector
from agent_memory_server.domain.records import Memory, MemoryKey, MemoryType
from agent_memory_server.domain.search import Handle, KeywordCandidates, VectorCandidates
from agent_memory_server.domain.second_stage import Pool


class Order(StrEnum):
    """Total orders of a listing; each ends with the id and then the owner, so that it is stable."""

    CREATED_DESC = "created_at desc, id"
    LAST_ACCESSED_ASC = "last_accessed, id"


class Listing(Protocol):
    @property
    def memories(self) -> Sequence[Memory]: ...
    @property
    def total(self) -> int: ...
    @property
    def next_cursor(self) -> str | None: ...


class Aged(NamedTuple):
    """One memory's times, in microseconds since the epoch, and what else decides whether it may be forgotten."""

    handle: Handle
    id: str
    created_us: int
    accessed_us: int
    pinned: bool
    memory_type: MemoryType


class MemoryStore(Protocol):
    async def commit(self, operation: Operation, /) -> Committed:
        """Apply all changes and their journal entries and intents atomically and durably, in order.

        Within one operation later changes see earlier ones. Raises StaleRevision (``if_operation`` did not hold), Conflict
        (a move onto an existing key), StoreFull, StoreUnavailable; then nothing of it is applied. Committing an operation
        id that is already in the journal returns the outcomes again and changes nothing.
        """
        ...

    async def get(self, key: MemoryKey, /) -> Memory | None:
        """By exact identity, superseded ones too."""
        ...

    async def find(self, selector: ScopeSelector, /, *, memory_id: str, limit: int = 2) -> Sequence[Memory]:
        """The memories with this id within the selector, superseded ones too: none, one, or several (ambiguous)."""
        ...

    async def get_many(self, handles: Sequence[Handle], /) -> Mapping[Handle, Memory]:
        """The memories behind candidates; those deleted meanwhile are missing."""
        ...

    async def times(self, handles: Sequence[Handle], /) -> Mapping[Handle, tuple[int, int]]:
        """(created_at, last_accessed) in microseconds since the epoch: what ordering by recency needs of many candidates.
        Those deleted meanwhile are missing."""
        ...

    async def list(
        self,
        criteria: MemoryFilter,
        /,
        *,
        now: datetime,
        limit: int,
        offset: int = 0,
        cursor: str | None = None,
        order: Order = Order.CREATED_DESC,
    ) -> Listing:
        """A page in ``order`` with the true total. ``cursor`` (from the page before) wins over ``offset``.

        Raises InvalidInput for a cursor that this store did not make.
        """
        ...

    async def count(self, criteria: MemoryFilter, /, *, now: datetime) -> int: ...

    async def nearest(
        self,
        criteria: MemoryFilter,
        /,
        *,
        vector: Vector,
        model: str,
        now: datetime,
        limit: int,
        distance_max: float | None = None,
    ) -> VectorCandidates:
        """The nearest by cosine distance among those with a vector of ``model``; ties by handle. Exact for every scope up
        to the size that the engine documents; recall at least .98 beyond it."""
        ...

    async def holding(
        self, criteria: MemoryFilter, /, *, tokens: Sequence[str], now: datetime, limit: int
    ) -> KeywordCandidates:
        """The memories that hold at least one of the distinct index ``tokens``, with counts and the scope's statistics.

        When more than ``limit`` match, those are kept that hold the rarest tokens.
        """
        ...

    async def vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, Vector]:
        """Stored text vectors of ``model``; memories without one are missing."""
        ...

    async def token_vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, bytes]:
        """The packed vectors of the texts' words that were stored with ``Embedded.tokens``; memories without are missing."""
        ...

    async def neighbours(self, handles: Sequence[Handle], /, *, span: int) -> Mapping[Handle, Sequence[Handle]]:
        """For each of these that is a message of a session: the live messages around it, itself among them, at most ``span``
        on each side, in the order of (``created_at``, arrival), within its owner scope and session. Others are missing."""
        ...

    async def pool(self, criteria: MemoryFilter, handles: Sequence[Handle], /, *, span: int, now: datetime) -> Pool:
        """What the second stage looks at of these memories, of the messages of their session that they came from
        (``Passage.sources_looked_at``) and of the ``neighbours`` of each; what does not match the filter is missing.
        With a ``span`` of 0 only these memories, alone."""
        ...

    async def touch(self, handles_or_keys: Sequence[MemoryKey], /, *, at: datetime, interval_min_s: float) -> int:
        """Record an access: ``last_accessed = at`` and ``access_count + 1`` where the last one is at least the interval ago.

        Not journalled, and never brings a deleted memory back. Returns how many were touched.
        """
        ...

    async def without_vector(
        self, *, model: str, limit: int, after: Handle | None = None, tenant: str | None = None
    ) -> Sequence[tuple[Handle, MemoryKey, str, str]]:
        """(handle, key, text, operation_id) of memories that have no vector (and no "nothing to embed" mark) of ``model``,
        in handle order: what a re-embedding walks through."""
        ...

    async def put_vectors(self, vectors: Sequence[tuple[Handle, str, Embedded]], /) -> int:
        """Store vectors for (handle, operation_id the text was read at, vector); a memory changed or deleted meanwhile is
        skipped. Returns how many were stored."""
        ...

    async def drop_vectors_except(self, *, model: str) -> int:
        """Remove vectors of all other models (after a re-embedding); returns how many."""
        ...

    async def duplicate_groups(
        self, criteria: MemoryFilter, /, *, now: datetime, limit: int, after: str | None = None
    ) -> Sequence[Sequence[Memory]]:
        """Groups of two or more live memories with equal owner and ``memory_hash``, in the order of a hash cursor."""
        ...

    async def ages(
        self,
        criteria: MemoryFilter,
        /,
        *,
        now: datetime,
        limit: int,
        after: Handle | None = None,
        owner: Scope | None = None,
    ) -> Sequence[Aged]:
        """What forgetting looks at of each matching memory, without its text, in handle order after ``after``.

        ``owner`` keeps to exactly that owner scope, where no namespace or user means none.
        """
        ...

    async def expired(self, *, now: datetime, limit: int) -> Sequence[MemoryKey]:
        """Memories of all tenants whose time to live is over, superseded ones too."""
        ...

    async def owners(self, selector: ScopeSelector, /) -> Sequence[Scope]:
        """Every owner scope within the selector that holds a live memory."""
        ...

    async def keys(self, handles: Sequence[Handle], /) -> Mapping[Handle, MemoryKey]:
        """The keys behind handles; those deleted meanwhile are missing."""
        ...

    async def tenants(self) -> Sequence[str]:
        """Every tenant that ever wrote."""
        ...


@runtime_checkable
class ReadsTogether(Protocol):
    """What an engine may be able to do beside: answer all the reads of one search as of one moment, more cheaply than each."""

    async def as_of_now(self, criteria: MemoryFilter, /) -> MemoryStore | None:
        """A store for the reads of one search by this filter, which sees everything that was acknowledged before the call.
        Handles of one are handles of the other. It is not to be kept. None: each read is to be asked by itself here."""
        ...
