"""What happened to a memory, and which operations there were: readers of the journal, within the caller's reach.

The history of a memory that is gone can be read as long as somebody knows its id: who removed it, when and why. Its text is
there only as far as the journal still has it; explicit deletion leaves none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent_memory_server.domain.history import REPLACED_BY, FieldChange, differences
from agent_memory_server.domain.identity import OutsideReach, Principal, Scope, ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.sessions import Message
from agent_memory_server.errors import AmbiguousScope, NotFound
from agent_memory_server.ports.journal import Journal, JournalledOperation, Position, Revision
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.working_memory import WorkingMemoryStore
from agent_memory_server.services.journal_cursors import JournalCursors

_MESSAGES_LOOKED_AT_MAX = 2_000
"""Of the session that a memory came from, newest first: how far back its messages are looked for."""
_PAGE = 1_000
CHANGES_SHOWN_MAX = 1_000
"""Memories that are named of one operation; its counts count them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One revision with what changed in it."""

    revision: Revision
    changes: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a memory came from. ``messages``: as far as they are still there; ``memories``: those that it was merged from."""

    messages: tuple[Message, ...] = ()
    memories: tuple[Memory, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a memory: what took its place, and at the end of that chain what stands for it now."""

    superseded_by: Memory | None = None
    stands: Memory | None = None
    replaced_by: Memory | None = None
    """What is so since this one ended (``valid_to``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """``memory``: as it is now; None when it is gone. ``origin`` and ``outcome`` are told with the first page alone."""

    key: MemoryKey
    memory: Memory | None
    events: tuple[Event, ...]
    next_cursor: str | None
    origin: Origin | None
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An operation with the cursor behind it."""

    operation: JournalledOperation
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPage:
    operations: tuple[Listed, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One operation with the memories that it changed, up to CHANGES_SHOWN_MAX of them."""

    listed: Listed
    changes: tuple[Revision, ...]
    has_more: bool


class HistoryService:
    def __init__(
        self, *, journal: Journal, memories: MemoryStore, sessions: WorkingMemoryStore, now: Callable[[], datetime]
    ) -> None:
        self._journal = journal
        self._memories = memories
        self._sessions = sessions
        self._now = now
        self._cursors = JournalCursors(journal)

    async def history(
        self,
        caller: Principal,
        *,
        memory_id: str,
        namespace: str | None = None,
        user_id: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> History:
        """A page of revisions, oldest first. Raises NotFound, AmbiguousScope, InvalidInput for a foreign cursor."""
        key, memory = await self._meant(caller, memory_id, namespace, user_id)
        position = None if after is None else await self._cursors.position(after)
        revisions = await self._journal.history(key, after=position, limit=limit + 1)
        shown = revisions[:limit]
        visible = [seen for each in shown if (seen := _within(caller.selector(), each)) is not None]
        events = tuple(
            Event(revision=each, changes=() if each.scrubbed else differences(each.before, each.after))
            for each in visible
        )
        next_cursor = await self._cursors.of(shown[-1].position) if len(revisions) > limit else None
        known = memory or _last_state(visible)
        first = position is None
        return History(
            key=key,
            memory=memory,
            events=events,
            next_cursor=next_cursor,
            origin=await self._origin(caller, known) if first and known is not None else None,
            outcome=await self._outcome(memory, revisions) if first and memory is not None else None,
        )

    async def operations(
        self,
        caller: Principal,
        *,
        namespace: str | None = None,
        user_id: str | None = None,
        after: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> OperationPage:
        """Operations within the caller's reach in commit order, or the newest first. Raises InvalidInput for a foreign cursor."""
        position = Position(0) if after is None else await self._cursors.position(after)
        try:
            selector = caller.selector(namespace, user_id)
        except OutsideReach:
            return OperationPage(operations=(), next_cursor=None)
        found = await self._journal.operations(
            selector, after=position.sequence, limit=limit + 1, newest_first=newest_first
        )
        listed = [await self.listed(each) for each in found[:limit]]
        return OperationPage(
            operations=tuple(listed), next_cursor=listed[-1].cursor if len(found) > limit and listed else None
        )

    async def operation(self, caller: Principal, *, operation_id: str) -> Told:
        """One operation and what it changed. Raises NotFound."""
        selector = caller.selector()
        found = await self._journal.operation(selector, operation_id)
        if found is None:
            raise NotFound(f"Operation {operation_id} not found")
        changes = await self._journal.changes(selector, operation_id, limit=CHANGES_SHOWN_MAX + 1)
        return Told(
            listed=await self.listed(found),
            changes=tuple(changes[:CHANGES_SHOWN_MAX]),
            has_more=len(changes) > CHANGES_SHOWN_MAX,
        )

    async def listed(self, operation: JournalledOperation) -> Listed:
        return Listed(operation=operation, cursor=await self._cursors.of(Position(operation.sequence)))

    async def _meant(
        self, caller: Principal, memory_id: str, namespace: str | None, user_id: str | None
    ) -> tuple[MemoryKey, Memory | None]:
        """The one memory with this id: one that is there goes before those that are gone."""
        absent = NotFound(f"Memory with ID {memory_id} not found")
        try:
            selector = caller.selector(namespace, user_id)
        except OutsideReach:
            raise absent from None
        found = await self._memories.find(selector, memory_id=memory_id, limit=2)
        keys: Sequence[MemoryKey] = [memory.key for memory in found]
        if not keys:
            keys = await self._journal.gone(selector, memory_id=memory_id, limit=2)
        if len(keys) > 1:
            raise AmbiguousScope(
                f"several memories have the id {memory_id}: name the one you mean with user_id or namespace"
            )
        if not keys:
            raise absent
        there = [each for each in found if each.expires_at is None or each.expires_at > self._now()]
        return keys[0], there[0] if there else None

    async def _origin(self, caller: Principal, memory: Memory) -> Origin:
        selector = caller.selector()
        sources = [await self._memories.get(MemoryKey(*memory.key[:3], each)) for each in memory.derived_from]
        visible = tuple(each for each in sources if each is not None and selector.admits(each.scope))
        wanted = dict.fromkeys(memory.extracted_from or ())
        if not wanted or memory.scope.session_id is None:
            return Origin(memories=visible)
        return Origin(memories=visible, messages=await self._messages(memory.scope, list(wanted)))

    async def _messages(self, scope: Scope, ids: Sequence[str]) -> tuple[Message, ...]:
        found: dict[str, Message] = {}
        cursor: str | None = None
        looked_at = 0
        while looked_at < _MESSAGES_LOOKED_AT_MAX and len(found) < len(ids):
            page = await self._sessions.page(
                scope, now=self._now(), limit=_PAGE, cursor=cursor, descending=True, include_archived=True
            )
            if page is None:
                break
            found.update((each.id, each) for each in page.messages if each.id in ids)
            looked_at, cursor = looked_at + len(page.messages), page.next_cursor
            if cursor is None:
                break
        return tuple(found[each] for each in ids if each in found)

    async def _outcome(self, memory: Memory, revisions: Sequence[Revision]) -> Outcome:
        by = None if memory.superseded_by is None else await self._sibling(memory, memory.superseded_by)
        stands, seen = by, {memory.id}
        while stands is not None and stands.superseded_by is not None and stands.id not in seen:
            seen.add(stands.id)
            stands = await self._sibling(stands, stands.superseded_by) or stands
        return Outcome(superseded_by=by, stands=stands, replaced_by=await self._replacement(memory, revisions))

    async def _replacement(self, memory: Memory, revisions: Sequence[Revision]) -> Memory | None:
        if memory.valid_to is None:
            return None
        for revision in reversed(revisions):
            named = revision.operation.details.get(REPLACED_BY, {}).get(memory.id)
            if named is not None:
                return await self._sibling(memory, named)
        return None

    async def _sibling(self, memory: Memory, memory_id: str) -> Memory | None:
        return await self._memories.get(MemoryKey(*memory.key[:3], memory_id))


def _within(selector: ScopeSelector, revision: Revision) -> Revision | None:
    """The revision as the caller may see it: a memory that moved here tells nothing of what it was at another's. None: it is
    wholly the other's."""
    states = [state for state in (revision.before, revision.after) if state is not None]
    seen = [state for state in states if selector.admits(state.scope)]
    if len(seen) == len(states):
        return revision
    if not seen:
        return None
    before, after = (state if state in seen else None for state in (revision.before, revision.after))
    return replace(revision, before=before, after=after)


def _last_state(revisions: Sequence[Revision]) -> Memory | None:
    states = (each.after or each.before for each in reversed(revisions))
    return next((state for state in states if state is not None), None)
