"""Everything that a store holds, of all tenants: read in portions, and written as it was.

What copying to another engine, verifying a copy and exporting have in common. Reading holds up nobody and needs no more memory
than one portion; what is written meanwhile is in it or not, and the next walk finds it. Optional: an engine without it cannot
be copied from or to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.past import PastRevision
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.summary_views import Group, SummaryView
from agent_memory_server.domain.transfer import (
    HistoryRecord,
    Key,
    Kind,
    MemoryRecord,
    Record,
    SessionMessage,
    SessionRecord,
    TaskRecord,
    WorkRecord,
)

Walked = TypeVar("Walked", covariant=True)


@dataclass(frozen=True, slots=True)
class Portion(Generic[Walked]):
    """``next`` is where to go on, None at the end. A portion may be empty before the end."""

    records: Sequence[Walked]
    next: str | None


class Holdings(Protocol):
    """``walk_…`` begins anew with ``after`` None. Each record that is there during a whole walk comes up at least once.

    Memories are written through ``MemoryStore.commit`` (``Put.carried``), views and their summaries through
    ``SummaryViewStore``; this is for what those have no door for.
    """

    async def count(self, kind: Kind, /, *, now: datetime) -> int:
        """How many records of this kind there are; exact when nothing is written meanwhile."""
        ...

    # -- memories

    async def walk_memories(self, *, after: str | None, limit: int) -> Portion[MemoryRecord]:
        """Superseded ones too, with all vectors."""
        ...

    async def memories(
        self, keys: Sequence[MemoryKey], /, *, vectors: bool = True
    ) -> Sequence[MemoryRecord | None]: ...

    def listed_memories(
        self, selector: ScopeSelector, /, *, limit: int, vectors: bool
    ) -> AsyncIterator[Sequence[MemoryRecord]]:
        """Every memory of these scopes in the order of listings, also those that are superseded or have expired: ``limit`` in a
        portion, with their vectors if asked for."""
        ...

    async def put_history(self, records: Sequence[HistoryRecord], /) -> None:
        """Keep with each memory, in place of what an import brought before, what happened to it in another store. A record that
        ends with the removal is of a memory that is not there, and is known as gone from then on; nothing is kept of another
        that is not there (it was deleted meanwhile), nor as gone of one that is. It goes when the memory's text does: by explicit
        deletion, and in its time."""
        ...

    # -- sessions

    async def walk_sessions(self, *, after: str | None, limit: int, now: datetime) -> Portion[SessionRecord]:
        """Sessions that have not expired, without their messages."""
        ...

    async def session(self, scope: Scope, /, *, now: datetime) -> SessionRecord | None: ...

    async def messages(self, scope: Scope, /, *, after: int, limit: int) -> Sequence[SessionMessage]:
        """Live and archived messages with a sequence greater than ``after``, in order."""
        ...

    async def put_session(self, record: SessionRecord, messages: Sequence[SessionMessage], /) -> None:
        """Store the session as it is, with its epoch, revision and times, in place of one that is there; its pending work
        stays. More messages follow by ``add_messages``."""
        ...

    async def add_messages(self, scope: Scope, messages: Sequence[SessionMessage], /) -> None: ...

    # -- summaries

    async def sources(self, view: SummaryView, /, *, group: Group) -> Sequence[MemoryKey]:
        """The memories that a stored summary was made of."""
        ...

    # -- pending work and tasks

    async def walk_work(self, *, after: str | None, limit: int) -> Portion[WorkRecord]: ...

    async def work(self, keys: Sequence[Key], /) -> Sequence[WorkRecord | None]: ...

    async def put_work(self, records: Sequence[WorkRecord], /) -> None:
        """Store each unless work with its key is there already."""
        ...

    async def walk_tasks(self, *, after: str | None, limit: int, now: datetime) -> Portion[TaskRecord]: ...

    async def tasks(self, keys: Sequence[Key], /, *, now: datetime) -> Sequence[TaskRecord | None]: ...

    async def put_tasks(self, records: Sequence[TaskRecord], /) -> None:
        """Store each, in place of one with its key. It follows the work that it names, when that is there."""
        ...


class Ledger(Protocol):
    """What of other stores was carried into this one: written after each portion, so that nothing is carried twice.

    It also keeps what was deleted here since from coming back when the transfer is run again. ``names`` are digests.
    """

    async def state(self, transfer: str, /) -> Mapping[str, Any] | None:
        """What is known of a transfer; None for one that never began."""
        ...

    async def save(self, transfer: str, state: Mapping[str, Any], /) -> None: ...

    async def end(self, transfer: str, /) -> None:
        """Drop what is known of a transfer, as if it had never begun; its marks stay."""
        ...

    async def marks(self, transfer: str, kind: str, names: Sequence[str], /) -> Sequence[str | None]:
        """What was carried of each of these records of the source; None for what was not."""
        ...

    async def note(self, transfer: str, kind: str, marks: Mapping[str, str], /) -> None: ...

    async def drop(self, transfer: str, kind: str, names: Sequence[str], /) -> None: ...


@dataclass(frozen=True, slots=True)
class Item:
    """One record of a source. ``ref`` is its name there. ``messages`` are a session's first ones; ``more`` says that others
    follow them."""

    ref: str
    record: Record
    messages: tuple[SessionMessage, ...] = ()
    more: bool = False
    intents: tuple[Intent, ...] = ()
    """Work that is still to be done about it."""
    past: tuple[PastRevision, ...] = ()
    """What happened to a memory before, where the source tells it with the memory: it is written where the memory is."""
    notes: tuple[str, ...] = ()
    """What had to be changed to carry it, for the report: the same words for the same change."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of a source that cannot be read: it stays where it is."""

    ref: str
    reason: str
    found: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What helps a person to find out: never a secret."""


class Origin(Protocol):
    """Where records come from, as those who write them ask for it."""

    def describe(self) -> str: ...

    async def messages(self, record: SessionRecord, /, *, after: int, limit: int) -> Sequence[SessionMessage]:
        """Those of a session after the first ones."""
        ...


class Source(Origin, Protocol):
    """A store that is carried from; nothing in it is changed."""

    @property
    def kinds(self) -> Sequence[Kind]: ...

    async def count(self, kind: Kind, /) -> int: ...

    async def walk(self, kind: Kind, /, *, after: str | None, limit: int) -> Portion[Item | Unreadable]: ...

    def refs(self, kind: Kind, key: Key, /) -> Sequence[str]:
        """The names that the record with this key usually has here."""
        ...

    async def present(self, kind: Kind, refs: Sequence[str], /) -> Sequence[bool]:
        """Which of these records are still there."""
        ...
