"""What became of the memories of one selection since some moment, kept for the next question about it.

The past does not change: what a memory was before its first change after a moment is read and decoded once. Each engine gives
what it read a mark that it compares with what is stored before anything of it is used again. The mark is another one after every
change of these memories, and after text left any history of the tenant, by whichever process: what somebody deletes for good is
never answered from here.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.search import Handle
from agent_memory_server.ports.journal import Earlier

BYTES_MAX = 96 * 1024 * 1024
"""What all timelines of a store may take together; the one that was read first goes first."""
_KEPT_S = 60.0
_POINTS_MAX = 16
"""Moments whose answer is kept as it is."""
_PAST_BYTES = 3_000
"""What a memory takes beside its documents: mostly one state, decoded."""
_CHANGE_BYTES = 300
_AT_ONCE_MAX = 1_000
"""States that are gone through on the event loop; of those that are still to be decoded a tenth."""

Document = TypeVar("Document", str, bytes)


class Past(Generic[Document]):
    """One memory: a mark and the state before (None: it was not there, or its text is gone) of each change, in order."""

    __slots__ = ("_found", "changes", "handle", "key")

    def __init__(
        self, key: MemoryKey | None, handle: Handle | None, changes: Sequence[tuple[int, Document | None]]
    ) -> None:
        self.key = key
        """As it is now, or was last; None: that of the state, of a memory that is gone."""
        self.handle = handle
        self.changes = changes
        self._found: dict[int, Earlier | None] = {}

    def place(self, point: int) -> int | None:
        """Where the first change after the point stands."""
        return next((place for place, (mark, _) in enumerate(self.changes) if mark > point), None)

    def has(self, place: int) -> bool:
        """Whether the state before this change would be had at once."""
        return place in self._found or self.changes[place][1] is None

    def before(self, place: int, decode: Callable[[Document], Memory | None]) -> Earlier | None:
        """None: nothing is known of it."""
        try:
            return self._found[place]
        except KeyError:
            pass
        document = self.changes[place][1]
        memory = None if document is None else decode(document)
        key = self.key if self.key is not None or memory is None else memory.key
        found = self._found[place] = None if key is None else Earlier(key=key, memory=memory, handle=self.handle)
        return found


class Timeline(Generic[Document]):
    """Every change since a point, of each memory that changed since. May be read by several threads."""

    def __init__(
        self,
        pasts: Mapping[Hashable, Past[Document]],
        *,
        since: int,
        mark: tuple[object, ...],
        decode: Callable[[Document], Memory | None],
        is_whole: bool = True,
    ) -> None:
        self.pasts = pasts
        self.since = since
        self.mark = mark
        self.is_whole = is_whole
        """It tells of later points as well."""
        self._decode = decode
        self._answers: OrderedDict[int, tuple[Earlier, ...]] = OrderedDict()

    def reaches(self, point: int) -> bool:
        return point >= self.since

    def size_bytes(self) -> int:
        documents = (document for past in self.pasts.values() for _, document in past.changes)
        return _PAST_BYTES * len(self.pasts) + sum(_CHANGE_BYTES + len(document or "") for document in documents)

    async def at(self, point: int) -> Sequence[Earlier]:
        """What they were, of those that changed since: the same object for the same question."""
        answer = self._answers.get(point)
        if answer is None:
            answer = await asyncio.to_thread(self._at, point) if self._takes_long(point) else self._at(point)
            self._answers[point] = answer
            while len(self._answers) > _POINTS_MAX:
                self._answers.popitem(last=False)
        return answer

    def _at(self, point: int) -> tuple[Earlier, ...]:
        places = ((past, past.place(point)) for past in self.pasts.values())
        found = (past.before(place, self._decode) for past, place in places if place is not None)
        return tuple(each for each in found if each is not None)

    def _takes_long(self, point: int) -> bool:
        if len(self.pasts) > _AT_ONCE_MAX:
            return True
        places = ((past, past.place(point)) for past in self.pasts.values())
        return sum(place is not None and not past.has(place) for past, place in places) > _AT_ONCE_MAX // 10


class Timelines(Generic[Document]):
    """The timelines of one store, by selection. All are let go a minute after the first was kept, asked for or not."""

    def __init__(self, *, bytes_max: int = BYTES_MAX, kept_s: float = _KEPT_S) -> None:
        self._bytes_max = bytes_max
        self._kept_s = kept_s
        self._kept: OrderedDict[ScopeSelector, tuple[Timeline[Document], int]] = OrderedDict()
        self._bytes = 0
        self._until = float("-inf")

    def held(self, selector: ScopeSelector) -> Timeline[Document] | None:
        """What is kept of it, whatever its mark."""
        if time.monotonic() > self._until:
            self._let_go()
        found = self._kept.get(selector)
        return None if found is None else found[0]

    def keep(self, selector: ScopeSelector, timeline: Timeline[Document]) -> None:
        """In place of what is kept of this selection; nothing where it would take too much, or tells of one point alone."""
        self._drop(selector)
        size = timeline.size_bytes()
        if size > self._bytes_max or not timeline.is_whole:
            return
        if not self._kept:
            self._until = time.monotonic() + self._kept_s
            asyncio.get_running_loop().call_later(self._kept_s, self._let_go)
        self._kept[selector] = timeline, size
        self._bytes += size
        while self._bytes > self._bytes_max:
            self._drop(next(iter(self._kept)))

    def _drop(self, selector: ScopeSelector) -> None:
        found = self._kept.pop(selector, None)
        self._bytes -= 0 if found is None else found[1]

    def _let_go(self) -> None:
        self._kept.clear()
        self._bytes = 0
