"""Long-term memories by id: create, read, edit, delete, list.

A by-id call that names no user or namespace means the one record with that id among those that the caller may see; several
are ambiguous (409). Another's record answers exactly as an absent one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.history import REPLACED_BY, differences
from agent_memory_server.domain.identity import OutsideReach, Principal, Scope
from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.operations import Delete, Effect, Intent, Operation, OperationKind, TaskRequest
from agent_memory_server.domain.records import Memory, MemoryKey, Source
from agent_memory_server.errors import AmbiguousScope, BadRequest, InvalidInput, NotFound, StaleRevision
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.memories import Listing, MemoryStore, Order
from agent_memory_server.services import audit
from agent_memory_server.services.enrichment import Enrichment
from agent_memory_server.services.indexing import Indexer

_EDIT_ATTEMPTS_MAX = 5
_SAME_ID_MAX = 100
"""Memories of one id that are looked at: those whose time to live is over do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """``ids``: one an input, the surviving record's. ``task_id``: work that is still to be done, else None."""

    ids: tuple[str, ...]
    task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPatch:
    """Fields to change, by attribute name of Memory (namespace, user_id and session_id for the scope).

    ``clear`` names fields that become none. A name stands in one of the two only.
    """

    changes: Mapping[str, Any]
    clear: frozenset[str] = frozenset()
    ttl_seconds: int | None = None
    """The memory expires so long after the edit."""
    supersedes: bool = False
    """The world has changed: the stored statement ends, and the new one is a memory of its own."""


CLEARABLE = frozenset(
    {
        *("event_date", "topics", "entities", "namespace", "user_id", "session_id", "name", "metadata"),
        *("valid_from", "valid_to", "expires_at"),
    }
)
_SCOPE_FIELDS = ("namespace", "user_id", "session_id")
_CLEARED: Mapping[str, Any] = {"topics": (), "entities": (), "metadata": {}}


class MemoryService:
    def __init__(
        self,
        *,
        store: MemoryStore,
        journal: Journal,
        indexer: Indexer,
        enrichment: Enrichment,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._indexer = indexer
        self._enrichment = enrichment
        self._now = now
        self._new_id = new_id
        self._wake = wake

    async def create(self, caller: Principal, memories: Sequence[Memory], *, deduplicate: bool = True) -> Created:
        """Store the memories durably; when this returns they are found by id, in listings and by keyword.

        The caller's bound scope is filled in where a memory names none. Raises InvalidInput for an id that stands twice in
        one owner scope, NotFound for a scope beyond the caller's.
        """
        if not memories:
            return Created(ids=())
        at = self._now()
        placed = [self._placed(caller, memory, index) for index, memory in enumerate(memories)]
        _refuse_twice(placed)
        labelled = self._enrichment.at_once(placed)
        indexed = await self._indexer.prepare(labelled, deduplicate=deduplicate)
        # Work that is still to come is a task of this request, whose end the caller can read: the first of what it may wait for.
        intents = tuple(sorted((*indexed.intents, *self._enrichment.intents(labelled)), key=_waited_for))
        task_id = self._new_id() if intents else None
        if task_id is not None:
            intents = (replace(intents[0], task=TaskRequest(id=task_id, owner=caller.owner())), *intents[1:])
        operation = Operation(
            id=self._new_id(),
            tenant=caller.tenant,
            kind=OperationKind.CREATE,
            actor=caller.subject,
            at=at,
            changes=indexed.puts,
            intents=intents,
        )
        committed = await self._store.commit(operation)
        if intents:
            self._wake()
        return Created(ids=tuple(outcome.survivor for outcome in committed.outcomes), task_id=task_id)

    async def get(
        self, caller: Principal, *, memory_id: str, namespace: str | None = None, user_id: str | None = None
    ) -> Memory:
        """The memory, also when it is superseded. Raises NotFound, AmbiguousScope."""
        found = await self._find(caller, memory_id, namespace, user_id)
        if found is None:
            raise _absent(memory_id)
        return found

    async def edit(
        self,
        caller: Principal,
        *,
        memory_id: str,
        patch: MemoryPatch,
        namespace: str | None = None,
        user_id: str | None = None,
        if_match: Sequence[str] | None = None,
    ) -> Memory:
        """Apply the patch and return the new state. Raises NotFound, AmbiguousScope, BadRequest (nothing to do),
        InvalidInput, StaleRevision (``if_match`` did not hold), Conflict (a move onto an existing id)."""
        if not patch.changes and not patch.clear and patch.ttl_seconds is None:
            raise BadRequest("No fields provided for update")
        unknown = patch.clear - CLEARABLE
        if unknown:
            raise InvalidInput(
                f"cannot clear {', '.join(sorted(unknown))}; clearable are {', '.join(sorted(CLEARABLE))}",
                field=("body", "clear"),
            )
        if patch.ttl_seconds is not None and "expires_at" in patch.clear:
            raise InvalidInput(
                "expires_at is cleared and ttl_seconds sets it: name one of the two", field=("body", "clear")
            )
        _check_replacement(patch)
        for attempt in range(_EDIT_ATTEMPTS_MAX):
            current = await self.get(caller, memory_id=memory_id, namespace=namespace, user_id=user_id)
            if if_match is not None and "*" not in if_match and current.etag not in if_match:
                raise StaleRevision("the memory was changed since you read it: read it again, then repeat your edit")
            try:
                return await self._commit_edit(caller, current, patch)
            except StaleRevision:
                if if_match is not None or attempt == _EDIT_ATTEMPTS_MAX - 1:
                    raise
        raise AssertionError("unreachable")

    async def delete(
        self,
        caller: Principal,
        *,
        memory_ids: Sequence[str],
        namespace: str | None = None,
        user_id: str | None = None,
    ) -> int:
        """Delete for good (scrubbed from the journal too); returns how many there were. Unknown ids are no error.

        Raises AmbiguousScope before anything is deleted when an id means several memories.
        """
        keys: list[MemoryKey] = []
        for memory_id in dict.fromkeys(memory_ids):
            found = await self._find(caller, memory_id, namespace, user_id)
            # What was forgotten by policy is gone, but the journal may still have its text.
            keys += await self._gone(caller, memory_id, namespace, user_id) if found is None else [found.key]
        if not keys:
            return 0
        committed = await self._store.commit(
            Operation(
                id=self._new_id(),
                tenant=caller.tenant,
                kind=OperationKind.DELETE,
                actor=caller.subject,
                at=self._now(),
                changes=tuple(Delete(key=key, scrub=True) for key in keys),
            )
        )
        deleted = sum(outcome.effect is Effect.DELETED for outcome in committed.outcomes)
        audit.erased(subject=caller.subject, tenant=caller.tenant, what="memories", count=deleted)
        return deleted

    async def list(
        self,
        criteria: MemoryFilter,
        *,
        limit: int = 20,
        cursor: str | None = None,
        order: Order = Order.CREATED_DESC,
    ) -> Listing:
        """A page in ``order`` with the true total. Raises InvalidInput for a foreign cursor."""
        return await self._store.list(criteria, now=self._now(), limit=limit, cursor=cursor, order=order)

    async def _commit_edit(self, caller: Principal, current: Memory, patch: MemoryPatch) -> Memory:
        at = self._now()
        edited = self._patched(caller, current, patch, at)
        _check(edited, at)
        ended = None
        if patch.supersedes:
            edited, ended = self._replaced(caller, current, edited, at)
        indexed = await self._indexer.prepare([edited] if ended is None else [edited, ended])
        if ended is None:
            puts = (
                replace(
                    indexed.puts[0],
                    if_operation=current.operation_id,
                    previous_key=current.key if current.key != edited.key else None,
                ),
            )
        else:
            puts = (indexed.puts[0], replace(indexed.puts[1], if_operation=current.operation_id))
        await self._store.commit(
            Operation(
                id=self._new_id(),
                tenant=caller.tenant,
                kind=OperationKind.EDIT,
                actor=caller.subject,
                at=at,
                changes=puts,
                intents=indexed.intents,
                details={
                    "fields": sorted({each.name for each in differences(current, edited)}),
                    **({} if ended is None else {REPLACED_BY: {ended.id: edited.id}}),
                },
            )
        )
        if indexed.intents:
            self._wake()
        stored = await self._store.get(edited.key)
        if stored is None:
            raise _absent(edited.id)
        return stored

    def _replaced(self, caller: Principal, current: Memory, edited: Memory, at: datetime) -> tuple[Memory, Memory]:
        """The new statement, which begins where the stored one ends, and that one with its end."""
        begins = edited.valid_from if edited.valid_from not in (None, current.valid_from) else at
        assert begins is not None
        if current.valid_from is not None and current.valid_from >= begins:
            raise InvalidInput(
                "the stored statement begins later than the one that replaces it", field=("body", "valid_from")
            )
        new = replace(
            edited,
            id=self._new_id(),
            valid_from=begins,
            valid_to=None if edited.valid_to == current.valid_to else edited.valid_to,
            topics=() if edited.topics == current.topics else edited.topics,
            entities=() if edited.entities == current.entities else edited.entities,
            created_at=at,
            last_accessed=at,
            access_count=0,
            persisted_at=None,
            extracted_from=None,
            derived_from=(),
            source=Source.USER,
            trust=1.0,
            author=caller.subject,
            superseded_by=None,
        )
        (labelled,) = self._enrichment.at_once([new])
        return labelled, replace(current, valid_to=begins, updated_at=at)

    def _patched(self, caller: Principal, current: Memory, patch: MemoryPatch, at: datetime) -> Memory:
        values: dict[str, Any] = {**patch.changes, **{name: _CLEARED.get(name) for name in patch.clear}}
        if patch.ttl_seconds is not None:
            values["expires_at"] = at + timedelta(seconds=patch.ttl_seconds)
        moved = {name: values.pop(name) for name in _SCOPE_FIELDS if name in values}
        if not moved:
            return replace(current, updated_at=at, **values)
        try:
            owner = caller.owner(
                moved.get("namespace", current.scope.namespace), moved.get("user_id", current.scope.user_id)
            )
        except OutsideReach:
            raise _absent(current.id) from None
        scope = replace(owner, session_id=moved.get("session_id", current.scope.session_id))
        return replace(current, scope=scope, updated_at=at, **values)

    def _placed(self, caller: Principal, memory: Memory, index: int) -> Memory:
        try:
            owner = caller.owner(memory.scope.namespace, memory.scope.user_id)
        except OutsideReach:
            raise NotFound(f"the namespace or user of memory {index} was not found") from None
        scope = Scope(owner.tenant, owner.namespace, owner.user_id, memory.scope.session_id)
        return replace(memory, scope=scope, author=caller.subject, extracted=True, persisted_at=None)

    async def _gone(
        self, caller: Principal, memory_id: str, namespace: str | None, user_id: str | None
    ) -> Sequence[MemoryKey]:
        try:
            selector = caller.selector(namespace, user_id)
        except OutsideReach:
            return []
        return await self._journal.gone(selector, memory_id=memory_id, limit=_SAME_ID_MAX)

    async def _find(
        self, caller: Principal, memory_id: str, namespace: str | None, user_id: str | None
    ) -> Memory | None:
        try:
            selector = caller.selector(namespace, user_id)
        except OutsideReach:
            return None
        now = self._now()
        found = [
            each
            for each in await self._store.find(selector, memory_id=memory_id, limit=_SAME_ID_MAX)
            if each.expires_at is None or each.expires_at > now
        ]
        if len(found) > 1:
            raise AmbiguousScope(
                f"several memories have the id {memory_id}: name the one you mean with user_id or namespace"
            )
        return found[0] if found else None


_WAITED_FOR = (IntentKind.EMBED_MEMORIES.value, IntentKind.EXTRACT_MEMORY_STRUCTURE.value)


def _waited_for(intent: Intent) -> int:
    """Being found by meaning comes first, then the labels, then looking for duplicates."""
    return _WAITED_FOR.index(intent.kind) if intent.kind in _WAITED_FOR else len(_WAITED_FOR)


def _refuse_twice(memories: Sequence[Memory]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for index, memory in enumerate(memories):
        if memory.key in seen:
            raise InvalidInput(
                f"the id {memory.id} is there twice for the same owner; ids are unique within a namespace and user",
                field=("body", "memories", index, "id"),
            )
        seen.add(memory.key)


def _check_replacement(patch: MemoryPatch) -> None:
    if not patch.supersedes:
        return
    if "text" not in patch.changes:
        raise BadRequest("supersede needs the text that is so from now on")
    if {"namespace", "user_id"} & (patch.changes.keys() | patch.clear):
        raise BadRequest("supersede keeps the owner: move the memory by an edit of its own")


def _check(edited: Memory, at: datetime) -> None:
    if not edited.text.strip():
        raise InvalidInput("text must not be empty", field=("body", "text"))
    if edited.valid_from is not None and edited.valid_to is not None and edited.valid_from >= edited.valid_to:
        raise InvalidInput("valid_to must be later than valid_from", field=("body", "valid_to"))
    if edited.expires_at is not None and edited.expires_at <= at:
        raise InvalidInput("lies in the past: delete the memory instead", field=("body", "expires_at"))


def _absent(memory_id: str) -> NotFound:
    return NotFound(f"Memory with ID {memory_id} not found")
