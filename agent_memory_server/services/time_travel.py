"""What the store knew at an earlier time: search, listing and by id over the memories as they were then.

What did not change since is read as ever; what did is taken from the journal and stands beside it: as it was, under handles of
its own, and its record of today is left out. So the answer is exact, and costs a little more for everything that changed since.

Of three things today's is used: last accesses and their counts, which no journal notes; the statistics that weigh words; and the
embedding model. What was deleted for good was never there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import OutsideReach, Principal
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.search import Page, SearchQuery
from agent_memory_server.errors import AmbiguousScope, InvalidInput, NotFound
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.memories import Listing, MemoryStore, ReadsTogether
from agent_memory_server.ports.tokenizer import Tokenizer
from agent_memory_server.services.context_filling import ContextFilling
from agent_memory_server.services.earlier_states import FEW, REMEMBERED_S, Remembered
from agent_memory_server.services.memories_then import CURSOR_PREFIX, MemoriesThen
from agent_memory_server.services.reranking import Reranking
from agent_memory_server.services.search import SearchService
from agent_memory_server.services.search_trace import SearchTrace


class TimeTravelService:
    """Answers as of a time. Raises InvalidInput for a time to come, and for one since which too much changed."""

    def __init__(
        self,
        *,
        journal: Journal,
        store: MemoryStore,
        embedder: Embedder,
        tokenizer: Tokenizer,
        now: Callable[[], datetime],
        reranking: Reranking | None = None,
    ) -> None:
        self._journal = journal
        self._store = store
        # Asked once: looking at a protocol's methods takes as long as a short read.
        self._together = store if isinstance(store, ReadsTogether) else None
        self._searching = SearchService(store=store, embedder=embedder, now=now, reranking=reranking)
        self._tokenizer = tokenizer
        self._now = now
        self._remembered = Remembered(embedder)

    async def search(
        self, criteria: MemoryFilter, query: SearchQuery, *, as_of: datetime, trace: SearchTrace | None = None
    ) -> Page:
        """As ``SearchService.search``; a listing, too, goes no deeper than a ranked search."""
        if not query.text.strip():
            _check_depth(query.offset, ("body", "offset"))
        then = await self._then(criteria, as_of)
        reads: Any = then  # A search asks for no more of a store than it has.
        filling = ContextFilling(store=reads, tokenizer=self._tokenizer)
        searching = self._searching.over(reads, now=lambda: as_of, filling=filling)
        return await searching.search(then.criteria, query, trace=trace)

    async def list(
        self, criteria: MemoryFilter, *, as_of: datetime, limit: int = 20, cursor: str | None = None
    ) -> Listing:
        """A page by ``created_at desc, id`` with the true total. Raises InvalidInput for a foreign cursor."""
        offset = _offset(cursor)
        then = await self._then(criteria, as_of)
        return await then.list(then.criteria, now=as_of, limit=limit, offset=offset)

    async def get(
        self,
        caller: Principal,
        *,
        memory_id: str,
        as_of: datetime,
        namespace: str | None = None,
        user_id: str | None = None,
    ) -> Memory:
        """The memory, also when it was superseded. Raises NotFound (also when it came later), AmbiguousScope."""
        absent = NotFound(f"Memory with ID {memory_id} not found")
        try:
            selector = caller.selector(namespace, user_id)
        except OutsideReach:
            raise absent from None
        point = await self._journal.point(selector.tenant, self._checked(as_of))
        changed = await self._journal.earlier(selector, point, memory_id=memory_id, limit=LIMITS.changes_since_max)
        then: dict[MemoryKey, Memory] = {
            each.memory.key: each.memory
            for each in changed
            if each.memory is not None and selector.admits(each.memory.scope)
        }
        hidden = {each.key for each in changed}
        for memory in await self._store.find(selector, memory_id=memory_id, limit=2 + len(hidden)):
            if memory.key not in hidden:
                then[memory.key] = memory
        found = [each for each in then.values() if each.expires_at is None or each.expires_at > as_of]
        if not found:
            raise absent
        if len(found) > 1:
            raise AmbiguousScope(
                f"several memories had the id {memory_id}: name the one you mean with user_id or namespace"
            )
        return found[0]

    def _checked(self, as_of: datetime) -> datetime:
        if as_of > self._now():
            raise InvalidInput("as_of lies in the future: nobody knows yet what the store will know then")
        return as_of

    async def _then(self, criteria: MemoryFilter, as_of: datetime) -> MemoriesThen:
        point = await self._journal.point(criteria.selector.tenant, self._checked(as_of))
        reading = self._journal.earlier(criteria.selector, point, limit=LIMITS.changes_since_max + 1)
        together: MemoryStore | None = None
        if self._together is None:
            changed = await reading
        else:
            # In this order: what changes in between is told by the journal, and so is seen as it was.
            together, changed = await asyncio.gather(self._together.as_of_now(criteria), reading)
        if len(changed) > LIMITS.changes_since_max:
            raise InvalidInput(
                f"more than {LIMITS.changes_since_max} memories changed since then: name a user or a namespace"
            )
        if self._remembered.renew():
            # Also when nobody asks again.
            asyncio.get_running_loop().call_later(REMEMBERED_S, self._remembered.let_go)
        earlier = self._remembered.known(criteria, changed, as_of)
        if earlier is None:
            states = self._remembered.states
            # Many are not looked at on the event loop, where requests wait.
            many = len(changed) > FEW
            earlier = (
                await asyncio.to_thread(states, criteria, changed, as_of) if many else states(criteria, changed, as_of)
            )
        return MemoriesThen(self._store, criteria, point, earlier, together=together)


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    place = cursor.removeprefix(CURSOR_PREFIX)
    if place == cursor or not place.isdecimal() or not place.isascii() or len(place) > 9:
        raise InvalidInput("This cursor was not made by this server for this listing.", field=("query", "cursor"))
    _check_depth(int(place), ("query", "cursor"))
    return int(place)


def _check_depth(offset: int, field: tuple[str, str]) -> None:
    if offset >= LIMITS.search_window_max:
        raise InvalidInput(
            f"a listing of an earlier time goes {LIMITS.search_window_max} memories deep: narrow it by a filter",
            field=field,
        )
