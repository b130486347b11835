"""Reading the journal that every commit leaves: who, when, which operation, why, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.search import Handle


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalledOperation:
    """``sequence`` ascends with commit order within a store."""

    sequence: int
    id: str
    tenant: str
    kind: OperationKind
    actor: str
    at: datetime
    reason: str
    counts: Mapping[str, int]
    """Changes by effect."""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    run: str | None = None


class Position(NamedTuple):
    """Where a revision stands: the operation's sequence, the number of the change in it, and what followed from that."""

    sequence: int
    change: int = -1
    part: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One change of one memory. ``before``/``after`` are None for absent, and for text that was scrubbed (``scrubbed``).

    ``scrubbed``: the state before is not kept any more, because somebody deleted it for good or because the memory is gone for
    longer than the journal remembers.
    """

    operation: JournalledOperation
    key: MemoryKey
    effect: Effect
    before: Memory | None
    after: Memory | None
    scrubbed: bool
    before_is_copy: bool
    position: Position
    imported: bool = False
    """An import brought it: it happened in another store. Its operation has no sequence here, and an id that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A memory whose state at some point was another than now. ``memory`` None: it was not there (or its text is gone)."""

    key: MemoryKey
    """As it is now, or was last."""
    memory: Memory | None
    handle: Handle | None
    """Of the record as it is now; None: there is none."""


class Journal(Protocol):
    async def operations(
        self, selector: ScopeSelector, /, *, after: int = 0, limit: int = 100, newest_first: bool = False
    ) -> Sequence[JournalledOperation]:
        """Operations that touched the selector's scopes, in commit order, with counts of those scopes alone.

        ``newest_first``: in the reverse order, and ``after`` (0: from the newest) means those before that sequence.
        """
        ...

    async def operation(self, selector: ScopeSelector, operation_id: str, /) -> JournalledOperation | None:
        """The operation with this id, when it touched the selector's scopes."""
        ...

    async def run(
        self, selector: ScopeSelector, run: str, /, *, after: int = 0, limit: int = 100
    ) -> Sequence[JournalledOperation]:
        """The operations of a run that touched the selector's scopes, in commit order."""
        ...

    async def changes(
        self, selector: ScopeSelector, operation_id: str, /, *, after: Position | None = None, limit: int = 1000
    ) -> Sequence[Revision]:
        """What an operation changed within the selector's scopes, in order, each by the key that the memory has now.

        ``before`` is left out, and ``after`` too: ``history`` has them.
        """
        ...

    async def history(
        self, key: MemoryKey, /, *, after: Position | None = None, limit: int | None = None
    ) -> Sequence[Revision]:
        """The revisions of one memory behind ``after``, oldest first; a scrubbed one is a tombstone without text. What an
        import brought of its past comes before what happened here."""
        ...

    async def histories(self, keys: Sequence[MemoryKey], /, *, live: bool = True) -> Sequence[Sequence[Revision]]:
        """The whole history of each of these memories, in one go. Without ``live`` the state after the last change, which is the
        memory as it is, is left out."""
        ...

    async def gone(self, selector: ScopeSelector, /, *, memory_id: str, limit: int = 2) -> Sequence[MemoryKey]:
        """Keys within the selector under which a memory with this id was, and is no more."""
        ...

    async def remembered(self, selector: ScopeSelector, /, *, limit: int) -> Sequence[MemoryKey]:
        """Memories that were within the selector and are gone, whose text the journal still has (forgotten, or moved away and
        removed since): what an erasure has to scrub as well. Asked again until there is none."""
        ...

    async def moved_away(self, selector: ScopeSelector, /, *, limit: int) -> Sequence[MemoryKey]:
        """Memories that belong to another owner by now, of which the journal still has what they said within the selector."""
        ...

    async def scrub_stay(self, selector: ScopeSelector, key: MemoryKey, /) -> None:
        """Take out what the journal has of a memory from its time within the selector; who, when and which stays, and so does the
        memory itself with what it was since."""
        ...

    async def point(self, tenant: str, moment: datetime, /) -> int:
        """The engine's own number for "everything that was committed by then": for ``earlier`` and
        ``MemoryFilter.unchanged_since``."""
        ...

    async def earlier(
        self, selector: ScopeSelector, point: int, /, *, memory_id: str | None = None, limit: int
    ) -> Sequence[Earlier]:
        """Every memory of the selector's scopes, then or now, that changed since: what it was. At most ``limit``.

        A state then may lie outside the selector (the memory came from elsewhere); callers filter.
        """
        ...

    async def identity(self) -> str:
        """What tells this store from every other: eight hexadecimal digits, the same for all processes and for ever."""
        ...

    async def newest(self) -> int:
        """The newest sequence of the store; 0 when nothing was ever committed."""
        ...

    async def thin(self, tenant: str, /, *, gone_before: datetime, limit: int) -> int:
        """Let the texts of memories go that were removed before that time and are not back; who, when and which stays.

        Returns how many memories; asked again until it is 0.
        """
        ...
