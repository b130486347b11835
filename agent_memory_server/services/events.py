"""The change feed: operations as they are committed, by whichever process, from any place in the journal on.

Nothing is handed from the writer to the listeners: they read the journal, and look for more a few times a second. So several
processes on one store see the same, in the same order, and a listener that comes back with its cursor has missed nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence

from agent_memory_server.domain.identity import OutsideReach, Principal, ScopeSelector
from agent_memory_server.errors import TooManyRequests
from agent_memory_server.ports.journal import Journal, JournalledOperation
from agent_memory_server.services.history import HistoryService, Told
from agent_memory_server.services.journal_cursors import JournalCursors

POLL_S = 0.25
"""How soon a listener sees what was committed."""
HEARTBEAT_S = 15.0
LISTENERS_MAX = 100
"""Of one process."""
LISTENERS_OF_ONE_MAX = 50
"""With one credential, so that no caller keeps all the others out."""
CHANGES_TOLD_MAX = 100
_PAGE = 100


class EventFeed:
    def __init__(self, *, journal: Journal, history: HistoryService) -> None:
        self._journal = journal
        self._history = history
        self._cursors = JournalCursors(journal)
        self._stopping = asyncio.Event()
        self._listeners: Counter[tuple[str, str]] = Counter()
        self._newest = 0
        self._read_at = float("-inf")

    def stop(self) -> None:
        """End every stream: the server is stopping."""
        self._stopping.set()

    async def place(self, cursor: str | None, *, from_start: bool = False) -> int:
        """Where to begin: behind the cursor, at the start, or now. Raises InvalidInput for a cursor of another store."""
        if cursor is not None:
            return (await self._cursors.position(cursor)).sequence
        return 0 if from_start else await self._journal.newest()

    def enter(self, caller: Principal) -> Callable[[], None]:
        """Take one of the places for listeners; what is returned gives it back.

        Raises TooManyRequests when all of this process, or all that one credential may have, are taken.
        """
        who = (caller.tenant, caller.subject)
        if self._listeners.total() >= LISTENERS_MAX or self._listeners[who] >= LISTENERS_OF_ONE_MAX:
            raise TooManyRequests(
                f"this process serves {LISTENERS_MAX} listeners, {LISTENERS_OF_ONE_MAX} of one credential, and they are "
                "connected already: come back later",
                retry_after_s=5,
            )
        self._listeners[who] += 1

        def leave() -> None:
            self._listeners[who] -= 1
            if not self._listeners[who]:
                del self._listeners[who]

        return leave

    async def follow(
        self,
        caller: Principal,
        *,
        after: int,
        namespace: str | None = None,
        user_id: str | None = None,
        idle_s: float | None = None,
    ) -> AsyncGenerator[Told | None]:
        """Each operation within the caller's reach as it comes; None at least every HEARTBEAT_S.

        ``idle_s``: end when so long nothing came; else it ends with the server.
        """
        try:
            selector = caller.selector(namespace, user_id)
        except OutsideReach:
            selector = None
        beat_at = came_at = time.monotonic()
        while not self._stopping.is_set():
            newest = await self._newest_known()
            found = await self._behind(selector, after)
            for operation in found:
                after = operation.sequence
                yield await self.told(caller, operation)
            now = time.monotonic()
            came_at = now if found else came_at
            if idle_s is not None and now - came_at >= idle_s:
                return
            if now - beat_at >= HEARTBEAT_S:
                beat_at = now
                yield None
            if not found:
                await self._more(newest, until=self._next_look(beat_at, came_at, idle_s))

    async def told(self, caller: Principal, operation: JournalledOperation) -> Told:
        """The operation with the first of the memories that it changed, within the caller's reach."""
        changes = await self._journal.changes(caller.selector(), operation.id, limit=CHANGES_TOLD_MAX + 1)
        return Told(
            listed=await self._history.listed(operation),
            changes=tuple(changes[:CHANGES_TOLD_MAX]),
            has_more=len(changes) > CHANGES_TOLD_MAX,
        )

    async def _behind(self, selector: ScopeSelector | None, after: int) -> Sequence[JournalledOperation]:
        if selector is None:
            return []
        return await self._journal.operations(selector, after=after, limit=_PAGE)

    @staticmethod
    def _next_look(beat_at: float, came_at: float, idle_s: float | None) -> float:
        return min(beat_at + HEARTBEAT_S, float("inf") if idle_s is None else came_at + idle_s)

    async def _more(self, seen: int, *, until: float) -> None:
        """Until something was committed, by whomever, or it is time for something else."""
        while not self._stopping.is_set() and time.monotonic() < until:
            if await self._newest_known() > seen:
                return
            await asyncio.sleep(min(POLL_S, max(0.0, until - time.monotonic())))

    async def _newest_known(self) -> int:
        """The newest sequence, asked for once for all listeners of this process."""
        now = time.monotonic()
        if now - self._read_at >= POLL_S:
            self._read_at = now
            self._newest = max(self._newest, await self._journal.newest())
        return self._newest
