"""Taking in what an export holds: checked as a whole before anything is written, repeatable, and resumable where it was cut.

``ImportService.run`` is the way through: check the whole file (``export_file``), then take in one kind of record after the other,
a portion at a time. What is there already and says the same is left, what says something else is left too and counted as kept,
the rest is written: memories with one journalled operation a portion, with what happened to them before. After each portion the
store notes how far that is, so that a run that was stopped goes on there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO

from agent_memory_server.domain.identity import Principal, ScopeSelector
from agent_memory_server.domain.transfer import HistoryRecord, Kind, MemoryRecord, Record, content_of, ledger_name
from agent_memory_server.errors import BadRequest, InvalidInput
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Item, Ledger
from agent_memory_server.services.export_file import FileSource
from agent_memory_server.services.patience import WAITS_S, patiently
from agent_memory_server.services.transfer_target import Target, mark_of, takes_several_writes

_AT_ONCE = 500
"""Memories of a portion, and everything else but sessions: each portion costs the store a few round trips and a commit."""
_SESSIONS_AT_ONCE = 50
"""Each comes with up to ``MESSAGES_AT_ONCE`` messages."""
_AHEAD = 1
"""Portions of memories that are read and prepared while the one before them is written."""
_COMPARED_A_TURN = 64
"""What stands here is compared with so many records before the requests of others have their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did (or would do), by kind of line."""

    found: Mapping[str, int]
    written: int
    unchanged: int
    """Already there with the same content."""
    kept: int
    """Something else is there under the same id: left as it is."""
    histories: int
    """Memories, also such that are gone, whose past was taken over."""
    dry_run: bool


class ImportService:
    def __init__(
        self,
        *,
        stores: Stores,
        embedder: Embedder,
        now: Callable[[], datetime],
        wake: Callable[[], None],
        parse: Callable[[bytes], Any],
    ) -> None:
        """``embedder``: of the model in use; vectors of others are stored and not searched. ``parse``: JSON, as ``FileSource``
        says."""
        self._stores = stores
        self._embedder = embedder
        self._now = now
        self._wake = wake
        self._parse = parse

    async def run(
        self,
        caller: Principal,
        file: BinaryIO,
        *,
        dry_run: bool = False,
        waits: bool = False,
        tell: Callable[[Kind, int], None] = lambda _kind, _count: None,
    ) -> Imported:
        """Import the whole file, or nothing of it when one line is wrong.

        Raises InvalidInput that names the line (not an export, of another version, cut, a scope beyond the caller's), BadRequest
        where the engine cannot take it, and what the store raises: then run it again, and it goes on where it was. ``waits``:
        a store that is away for a moment is waited for first.
        """
        holdings, ledger = self._stores.holdings, self._stores.ledger
        if holdings is None or ledger is None:
            raise BadRequest("this engine cannot import")
        source = FileSource(file, caller, model=self._embedder.model, parse=self._parse)
        await source.check()
        await self._refuse_other_vectors(source)
        await self._refuse_taken_views(source)
        target = Target(self._stores, holdings, source, transfer=source.name, now=self._now)
        taking = _Taking(source, target, ledger, dry_run=dry_run, waits_s=WAITS_S if waits else ())
        done = await taking.run(tell)
        if not dry_run:
            self._wake()
        return Imported(
            found=source.found,
            written=done.written,
            unchanged=max(0, source.records - done.written - done.kept),
            kept=done.kept,
            histories=done.histories,
            dry_run=dry_run,
        )

    async def _refuse_other_vectors(self, source: FileSource) -> None:
        """Vectors of one model are compared with each other: one of another length would be in the way of all."""
        if not source.dimensions:
            return
        (vector,) = await self._embedder.embed(["dimensions"])
        if vector is None or source.dimensions != {len(vector)}:
            said = ", ".join(map(str, sorted(source.dimensions)))
            raise InvalidInput(
                f"its vectors of {self._embedder.model} have {said} dimensions, which is not what that model has here: "
                "import an export without vectors, and they are made anew",
                field=("body",),
                kind="import_vectors",
            )

    async def _refuse_taken_views(self, source: FileSource) -> None:
        """A summary is written to its view: one that is somebody else's must not get any."""
        for view_id, owner in source.views.items():
            standing = await self._stores.summary_views.get(ScopeSelector(owner.tenant), view_id=view_id)
            if standing is not None and standing.owner != owner:
                raise InvalidInput(
                    f"the id of the summary view {view_id} is taken", field=("body",), kind="import_view"
                )


@dataclass(slots=True)
class _Tally:
    """What became of records."""

    written: int = 0
    kept: int = 0
    histories: int = 0

    def add(self, part: _Tally) -> None:
        self.written += part.written
        self.kept += part.kept
        self.histories += part.histories


_UnderWay = deque[tuple[asyncio.Task[_Tally], int]]
"""Portions that are being written, the first one first, each with the number of the record behind it."""


class _Taking:
    """One file that was checked, on its way into the store; or what would become of it (``dry_run``)."""

    def __init__(
        self, source: FileSource, target: Target, ledger: Ledger, *, dry_run: bool, waits_s: Sequence[float]
    ) -> None:
        self._source = source
        self._target = target
        self._ledger = ledger
        self._dry_run = dry_run
        self._waits_s = waits_s
        self._tally = _Tally()
        self._place: tuple[Kind, int] = (source.kinds[0], 0)
        """Everything before this record of this kind is in the store."""
        self._half_written: set[str] = set()
        """Ledger names of sessions that a run which was stopped may have left without some of their messages."""

    async def run(self, tell: Callable[[Kind, int], None]) -> _Tally:
        """Raises what the store raises; then run it again, and it goes on where it was."""
        if not self._dry_run:
            await self._go_on()
        kinds, (begun, first) = self._source.kinds, self._place
        for kind in kinds[kinds.index(begun) :]:
            await self._take_in(kind, first if kind is begun else 0, tell)
        if not self._dry_run:
            # A later import of the same file brings back what was deleted since.
            await self._ledger.end(self._source.name)
        return self._tally

    async def _go_on(self) -> None:
        state = await self._ledger.state(self._source.name)
        if state is not None:
            self._place = Kind(state["kind"]), state["done"]
            self._tally.kept = state["kept"]
            self._half_written = set(state["half_written"])

    async def _note(self) -> None:
        kind, done = self._place
        state = {"kind": kind.value, "done": done, "kept": self._tally.kept, "half_written": sorted(self._half_written)}
        await self._ledger.save(self._source.name, state)

    async def _take_in(self, kind: Kind, first: int, tell: Callable[[Kind, int], None]) -> None:
        """All records of a kind from number ``first`` on. A portion is read from the file while the one before is written."""
        at_once = _SESSIONS_AT_ONCE if kind is Kind.SESSIONS else _AT_ONCE
        ahead = _AHEAD if kind is Kind.MEMORIES else 0
        under_way: _UnderWay = deque()
        try:
            for number in range(first, self._source.count(kind), at_once):
                items = await self._source.items(kind, first=number, limit=at_once)
                taking = partial(self._take, kind, items)
                under_way.append((asyncio.create_task(patiently(taking, waits_s=self._waits_s)), number + len(items)))
                if len(under_way) > ahead:
                    await self._taken(kind, under_way, tell)
            while under_way:
                await self._taken(kind, under_way, tell)
        finally:
            for task, _ in under_way:
                task.cancel()
            await asyncio.gather(*(task for task, _ in under_way), return_exceptions=True)

    async def _taken(self, kind: Kind, under_way: _UnderWay, tell: Callable[[Kind, int], None]) -> None:
        """Wait for the first portion, and note that everything up to its end is there."""
        task, end = under_way[0]
        self._tally.add(await task)
        under_way.popleft()
        self._place = kind, end
        if not self._dry_run:
            await patiently(self._note, waits_s=self._waits_s)
        tell(kind, end)

    async def _take(self, kind: Kind, items: Sequence[Item]) -> _Tally:
        """One portion: what is not there is written."""
        there = await self._target.read(kind, [item.record.key for item in items], vectors=False)
        tally = _Tally()
        writing: list[tuple[Item, Record | None]] = []
        left: list[Item] = []
        for number, (item, standing) in enumerate(zip(items, there, strict=True)):
            if standing is None or (self._half_written and ledger_name(item.ref) in self._half_written):
                writing.append((item, standing))
                continue
            if number % _COMPARED_A_TURN == 0:
                await asyncio.sleep(0)
            left.append(item)
            if content_of(await self._target.mark(standing)) == content_of(await mark_of(item, self._source)):
                continue
            if isinstance(standing, HistoryRecord) and standing.opened_by is not None:
                # The memory came by an import that told nothing of its past.
                writing.append((item, standing))
            else:
                tally.kept += 1
        for (item, _), is_written in zip(writing, await self._put(kind, writing), strict=True):
            tally.written += is_written
            tally.kept += not is_written
            tally.histories += is_written and bool(item.past)
            if not is_written:
                left.append(item)
        if kind is Kind.MEMORIES:
            tally.histories += await self._take_pasts([item for item in left if item.past])
        # A past is no record of its own.
        return _Tally(histories=tally.written) if kind is Kind.HISTORY else tally

    async def _take_pasts(self, items: Sequence[Item]) -> int:
        """What the file tells of memories that stood here already, where nothing else is told of them."""
        pasts = [_past_of(item) for item in items]
        return (await self._take(Kind.HISTORY, pasts)).histories if pasts else 0

    async def _put(self, kind: Kind, writing: Sequence[tuple[Item, Record | None]]) -> Sequence[bool]:
        """Whether each was written: something else may have come in its place meanwhile."""
        if self._dry_run or not writing:
            return [True] * len(writing)
        long = {ledger_name(item.ref) for item, _ in writing if takes_several_writes(item)}
        if long:
            self._half_written |= long
            await self._note()
        written = await self._target.put(kind, [item for item, _ in writing], [standing for _, standing in writing])
        self._half_written -= long
        return written


def _past_of(item: Item) -> Item:
    record = item.record
    assert isinstance(record, MemoryRecord)
    memory = record.memory
    return Item(item.ref, HistoryRecord(memory_key=memory.key, revisions=item.past, memory=lambda: memory))
