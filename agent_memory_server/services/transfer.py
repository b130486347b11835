"""Carrying everything from one store into another: in portions, resumable, beside live reads and writes, and verified.

Each portion is read, compared with what the ledger says was carried before, written, and noted in the ledger. So a transfer that
is stopped at any point goes on where it was, and one that is run again carries what changed since. What was changed or deleted
in the target since it was carried is left as it is there: running a transfer again never undoes anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from agent_memory_server.domain.operations import Effect
from agent_memory_server.domain.transfer import (
    HistoryRecord,
    Kind,
    MemoryRecord,
    Record,
    SessionRecord,
    content_of,
    ledger_name,
    vector_state,
)
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.transfer import Item, Ledger, Source, Unreadable
from agent_memory_server.services.patience import WAITS_S, patiently
from agent_memory_server.services.transfer_counts import (
    EXAMPLES_MAX,
    Comparison,
    Tally,
    TransferReport,
    VerificationReport,
)
from agent_memory_server.services.transfer_source import memory_key
from agent_memory_server.services.transfer_target import Target, mark_of, takes_several_writes

Result = TypeVar("Result")
BATCH = 200
PASSES_MAX = 3
"""Walks over the source: what is written there during one is carried by the next."""
_REMOVED = frozenset({Kind.MEMORIES, Kind.SESSIONS, Kind.SUMMARY_VIEWS, Kind.PARTITIONS, Kind.TOKENS})
_WRITING = "writing"
"""Stands in the ledger for a session of many messages until all of them are there: what a crash leaves is written again."""

Tell = Callable[[Kind, int], None]
"""Called with how many records of a kind were worked through so far in this walk."""
Quarantine = Callable[[Kind, Unreadable], None]


class TransferService:
    """One transfer, named ``transfer`` in the target's ledger."""

    def __init__(
        self,
        *,
        source: Source,
        target: Target,
        ledger: Ledger,
        journal: Journal,
        transfer: str,
        now: Callable[[], datetime],
        batch: int = BATCH,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        waits: bool = True,
        is_same_source: bool = False,
    ) -> None:
        """``waits``: a store that is away for a moment is waited for; where somebody waits for an answer it is said at once.
        ``is_same_source``: the source is known to be the store that was carried before, so what it lacks was deleted in it."""
        self._sleep = sleep
        self._is_same_source = is_same_source
        self._waits_s = WAITS_S if waits else ()
        self._source = source
        self._target = target
        self._ledger = ledger
        self._journal = journal
        self._transfer = transfer
        self._now = now
        self._batch = batch

    # -- carrying

    async def run(
        self,
        *,
        kinds: Sequence[Kind],
        tell: Tell,
        quarantine: Quarantine,
        removes: bool = True,
        passes: int = PASSES_MAX,
    ) -> TransferReport:
        """Walk over the source until a walk finds nothing new, at most ``passes`` times. Raises what the stores raise; then run
        it again.

        ``removes``: what was deleted in the source since it was carried is deleted in the target too.
        """
        tallies = {kind: Tally() for kind in kinds}
        seen: set[tuple[Kind, str]] = set()

        def once(kind: Kind, unreadable: Unreadable) -> None:
            if (kind, unreadable.ref) not in seen:
                seen.add((kind, unreadable.ref))
                tallies[kind].unreadable += 1
                quarantine(kind, unreadable)

        settled = False
        for _ in range(passes):
            before = sum(each.carried + each.updated for each in tallies.values())
            for kind in kinds:
                await self._walk(kind, tallies[kind], tell, once)
            if sum(each.carried + each.updated for each in tallies.values()) == before:
                settled = True
                break
        # What refers to others goes before them: else a summary would have lost its text, and be taken for changed.
        for kind in reversed(kinds) if removes else ():
            await self._remove(kind, tallies[kind])
        return TransferReport(tallies=tallies, settled=settled)

    async def foresee(self, *, kinds: Sequence[Kind]) -> Mapping[Kind, Tally]:
        """What ``run`` would find and do if nothing was carried before; nothing is changed."""
        tallies = {kind: Tally() for kind in kinds}
        for kind, tally in tallies.items():
            after: str | None = None
            while True:
                portion = await self._source.walk(kind, after=after, limit=self._batch)
                items = [each for each in portion.records if isinstance(each, Item)]
                there = await self._target.read(kind, [item.record.key for item in items])
                for item, standing in zip(items, there, strict=True):
                    verdict = await self._verdict(await self._mark(item), None, standing)
                    tally.carried += verdict == "write"
                    if verdict == "keep":
                        _keep(tally, item)
                after = portion.next
                if after is None:
                    break
        return tallies

    async def _walk(self, kind: Kind, tally: Tally, tell: Tell, quarantine: Quarantine) -> None:
        tally.found = tally.kept = tally.gone = 0
        tally.examples.clear()
        tally.notes.clear()
        after: str | None = None
        done = 0
        while True:
            portion = await self._patiently(partial(self._source.walk, kind, after=after, limit=self._batch))
            items: list[Item] = []
            for each in portion.records:
                if isinstance(each, Unreadable):
                    quarantine(kind, each)
                else:
                    items.append(each)
                    tally.notes.update(each.notes)
            tally.found += len(items)
            if items:
                tally.add(await self._patiently(partial(self._carry, kind, items)))
            done += len(portion.records)
            tell(kind, done)
            after = portion.next
            if after is None:
                return

    async def _carry(self, kind: Kind, items: Sequence[Item]) -> Tally:
        tally = Tally()
        known = await self._known(kind, [item.ref for item in items])
        marks = [await self._mark(item) for item in items]
        due = [(item, mark, before) for item, mark, before in zip(items, marks, known, strict=True) if mark != before]
        if not due:
            return tally
        there = await self._target.read(kind, [item.record.key for item, _, _ in due])
        noted: dict[str, str] = {}
        writing: list[tuple[Item, str, Record | None]] = []
        for (item, mark, before), standing in zip(due, there, strict=True):
            if kind is Kind.WORK and before is not None and content_of(before) != content_of(mark):
                # Asked for once more: what was carried of it and done there since was another request.
                before = None
            # The same work is asked for there already: that is all that there is to carry.
            asked = kind is Kind.WORK and before is None and standing is not None
            verdict = "note" if asked else await self._verdict(mark, before, standing)
            if verdict == "write":
                writing.append((item, mark, standing))
            elif verdict == "note":
                noted[ledger_name(item.ref)] = mark
            elif verdict == "gone":
                tally.gone += 1
            else:
                _keep(tally, item)
        if writing:
            many = [ledger_name(item.ref) for item, _, _ in writing if takes_several_writes(item)]
            await self._ledger.note(self._transfer, kind.value, dict.fromkeys(many, _WRITING))
            written = await self._target.put(kind, [each[0] for each in writing], [each[2] for each in writing])
            for (item, mark, standing), done in zip(writing, written, strict=True):
                if not done:
                    _keep(tally, item)
                    continue
                noted[ledger_name(item.ref)] = mark
                if standing is None:
                    tally.carried += 1
                else:
                    tally.updated += 1
        await self._ledger.note(self._transfer, kind.value, noted)
        return tally

    async def _patiently(self, work: Callable[[], Awaitable[Result]]) -> Result:
        return await patiently(work, waits_s=self._waits_s, sleep=self._sleep)

    async def _verdict(self, mark: str, before: str | None, standing: Record | None) -> str:
        """What is to be done about a record that the ledger does not know in this state."""
        if before == _WRITING:
            return "write"
        if standing is None:
            return "write" if before is None else "gone"
        content = content_of(await self._target.mark(standing))
        if before is not None and content == content_of(before):
            return "write"
        if content == content_of(mark):
            # Written before a crash, and not noted.
            return "note"
        if isinstance(standing, HistoryRecord) and standing.opened_by is not None:
            return "write"
        return "keep"

    async def _mark(self, item: Item) -> str:
        return await mark_of(item, self._source)

    async def _known(self, kind: Kind, refs: Sequence[str]) -> Sequence[str | None]:
        return await self._ledger.marks(self._transfer, kind.value, [ledger_name(ref) for ref in refs])

    async def _remove(self, kind: Kind, tally: Tally) -> None:
        """Take out of the target what is gone in the source, unless it was changed in the target since."""
        if kind not in _REMOVED or (tally.found == 0 and not self._is_same_source):
            # A source that is empty now may be another one in the place of the first: no reason to empty the target.
            return
        after: str | None = None
        while True:
            portion = await self._patiently(partial(self._target.walk, kind, after=after, limit=self._batch))
            records = [each.record for each in portion.records if isinstance(each, Item)]
            named = [(record, ref) for record in records for ref in self._source.refs(kind, record.key)]
            known = await self._known(kind, [ref for _, ref in named])
            carried = [
                (record, ref, mark) for (record, ref), mark in zip(named, known, strict=True) if mark is not None
            ]
            present = await self._source.present(kind, [ref for _, ref, _ in carried]) if carried else ()
            for (record, ref, mark), still in zip(carried, present, strict=True):
                if not still:
                    tally.removed += await self._removed(kind, record, ref, mark)
            after = portion.next
            if after is None:
                return

    async def _removed(self, kind: Kind, record: Record, ref: str, mark: str) -> bool:
        if content_of(await self._target.mark(record)) != content_of(mark):
            return False
        await self._target.remove(kind, record.key)
        await self._ledger.drop(self._transfer, kind.value, [ledger_name(ref)])
        return True

    async def are_carried(self, kind: Kind, items: Sequence[Item]) -> Sequence[bool]:
        """Which of these were carried in exactly their present state."""
        known = await self._known(kind, [item.ref for item in items])
        return [
            before is not None and await self._mark(item) == before for item, before in zip(items, known, strict=True)
        ]

    # -- verifying

    async def verify(self, *, kinds: Sequence[Kind], tell: Tell) -> VerificationReport:
        """Compare every record of the source with what stands for it in the target."""
        comparisons: dict[Kind, Comparison] = {}
        for kind in kinds:
            comparison = comparisons[kind] = Comparison(target=await self._target.count(kind))
            after: str | None = None
            done = 0
            while True:
                portion = await self._patiently(partial(self._source.walk, kind, after=after, limit=self._batch))
                items = [each for each in portion.records if isinstance(each, Item)]
                comparison.source += len(items)
                comparison.unreadable += len(portion.records) - len(items)
                if items:
                    comparison.add(await self._patiently(partial(self._compare, kind, items)))
                done += len(portion.records)
                tell(kind, done)
                after = portion.next
                if after is None:
                    break
        return VerificationReport(comparisons=comparisons)

    async def _compare(self, kind: Kind, items: Sequence[Item]) -> Comparison:
        comparison = Comparison()
        known = await self._known(kind, [item.ref for item in items])
        there = await self._target.read(kind, [item.record.key for item in items])
        for item, before, standing in zip(items, known, there, strict=True):
            if standing is None:
                if before is not None and await self._was_deleted(kind, item):
                    comparison.gone += 1
                else:
                    comparison.problem(f"{item.ref}: not in the target")
                continue
            if kind is Kind.WORK:
                comparison.equal += 1
                continue
            wanted, held = await self._mark(item), await self._target.mark(standing)
            if content_of(wanted) == content_of(held):
                missing = _missing_vectors(item.record, standing)
                if missing:
                    comparison.problem(f"{item.ref}: {missing}")
                else:
                    comparison.equal += 1
            elif before is None:
                comparison.problem(f"{item.ref}: something else stands in its place, which was there before")
            elif content_of(before) != content_of(wanted):
                comparison.problem(f"{item.ref}: changed in the source since it was carried; run the transfer again")
            elif self._changed_since(item.record, standing):
                comparison.changed += 1
            else:
                comparison.problem(f"{item.ref}: its content differs")
        return comparison

    async def _was_deleted(self, kind: Kind, item: Item) -> bool:
        """Whether what was carried and is absent is known to have been deleted; sessions and the like leave no journal."""
        if kind is not Kind.MEMORIES:
            return True
        history = await self._journal.history(memory_key(item.record.key))
        return bool(history) and history[-1].effect is Effect.DELETED

    def _changed_since(self, record: Record, standing: Record) -> bool:
        """Whether the target's own clients or its background work changed what was carried as it should be."""
        if isinstance(standing, MemoryRecord):
            return not self._target.is_ours(standing)
        if isinstance(standing, SessionRecord) and isinstance(record, SessionRecord):
            return standing.session.etag != record.session.etag
        return True


def _keep(tally: Tally, item: Item) -> None:
    tally.kept += 1
    if len(tally.examples) < EXAMPLES_MAX:
        tally.examples.append(item.ref)


def _missing_vectors(record: Record, standing: Record) -> str:
    """What is wrong with the vectors of an otherwise equal memory; vectors of other models may have come since."""
    if not isinstance(record, MemoryRecord) or not isinstance(standing, MemoryRecord):
        return ""
    held = {(model, kind): digest for model, kind, digest in map(vector_state, standing.vectors)}
    for model, kind, digest in map(vector_state, record.vectors):
        if held.get((model, kind), digest) != digest:
            return f"its vector of {model} differs"
        if not held:
            return f"its vector of {model} is missing"
    return ""
