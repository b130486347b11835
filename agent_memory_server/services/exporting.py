"""Everything that is held on a user (or on all that a caller may see) as lines of JSON, in portions: memory stays flat.

What is written while the export runs is in it or not; what was acknowledged before it began is in it. The order is the records'
own, so that the same content is the same text, on every engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from agent_memory_server.domain.export_lines import (
    FORMAT,
    VERSION,
    memory_line,
    message_line,
    outside_summary_line,
    session_line,
    summary_line,
    view_line,
)
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.past_lines import gone_line, revision_line
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.summary_views import Group, Partition, SummaryView
from agent_memory_server.domain.transfer import HistoryRecord, MemoryRecord, PartitionRecord, ViewRecord
from agent_memory_server.errors import BadRequest
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Holdings
from agent_memory_server.services.past_history import histories_told
from agent_memory_server.services.scope_summaries import ScopeSummaries

_MEMORIES_AT_ONCE = 500
_MESSAGES_AT_ONCE = 500
_SESSIONS_MAX = 10_000_000
_GONE_MAX = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    vectors: bool = False
    """Larger by far, and only worth it where the same embedding model is used again."""
    history: bool = True
    """Every revision of every memory behind it, and those of memories that are gone, as far as undo still keeps their text."""


class ExportService:
    def __init__(self, *, stores: Stores, now: Callable[[], datetime]) -> None:
        self._stores = stores
        self._summaries = ScopeSummaries(stores)
        self._now = now

    async def lines(
        self,
        selector: ScopeSelector,
        options: ExportOptions,
        /,
        *,
        reach: ScopeSelector | None = None,
        is_beyond_reach: bool = False,
    ) -> AsyncGenerator[Sequence[dict[str, Any]]]:
        """The lines in portions, as JSON objects: whoever asks writes them down. ``reach``: everything that the caller may see,
        when that is more than what is asked for. ``is_beyond_reach``: nothing, exactly as for what is not there.

        Raises BadRequest where the engine cannot be walked through.
        """
        holdings = self._stores.holdings
        if holdings is None:
            raise BadRequest("this engine cannot export what it holds")
        counts: dict[str, int] = {}
        yield [
            {
                "kind": "export",
                "format": FORMAT,
                "version": VERSION,
                "exported_at": self._now().astimezone(UTC).isoformat().replace("+00:00", "Z"),
                "namespace": selector.namespace,
                "user_id": selector.user_id,
                "vectors": options.vectors,
                "history": options.history,
            }
        ]
        portions = (
            self._memories(holdings, selector, options),
            *((self._gone(selector),) if options.history else ()),
            self._sessions(holdings, selector),
            self._views(holdings, selector, reach or selector),
        )
        for portion in () if is_beyond_reach else portions:
            async for lines in portion:
                for line in lines:
                    counts[line["kind"]] = counts.get(line["kind"], 0) + 1
                yield lines
        yield [{"kind": "end", "counts": counts}]

    async def _memories(
        self, holdings: Holdings, selector: ScopeSelector, options: ExportOptions
    ) -> AsyncGenerator[Sequence[dict[str, Any]]]:
        held_back: Sequence[MemoryRecord] = ()
        async for portion in holdings.listed_memories(selector, limit=_MEMORIES_AT_ONCE, vectors=options.vectors):
            records, held_back = _ordered([*held_back, *portion])
            yield await self._with_pasts(records, options)
        yield await self._with_pasts(_in_order(held_back), options)

    async def _with_pasts(self, records: Sequence[MemoryRecord], options: ExportOptions) -> Sequence[dict[str, Any]]:
        lines = [memory_line(record, vectors=options.vectors) for record in records]
        if not options.history:
            return lines
        pasts = await histories_told(self._stores.journal, [record.memory.key for record in records])
        told = [_until(record.memory, past) for record, past in zip(records, pasts, strict=True)]
        return [each for line, past in zip(lines, told, strict=True) for each in (line, *_revisions(past))]

    async def _gone(self, selector: ScopeSelector) -> AsyncGenerator[Sequence[dict[str, Any]]]:
        """Memories that are gone, and what they said: an undo can bring it back."""
        journal = self._stores.journal
        remembered = await journal.remembered(selector, limit=_GONE_MAX)
        keys = sorted(
            (key for key in remembered if selector.admits(Scope(key.tenant, key.namespace, key.user_id))),
            key=lambda key: (key.id, key.namespace or "", key.user_id or ""),
        )
        for first in range(0, len(keys), _MEMORIES_AT_ONCE):
            pasts = await histories_told(journal, keys[first : first + _MEMORIES_AT_ONCE])
            gone = [past for past in pasts if past.is_of_gone]
            yield [each for past in gone for each in (gone_line(past.memory_key), *_revisions(past))]

    async def _sessions(self, holdings: Holdings, selector: ScopeSelector) -> AsyncGenerator[Sequence[dict[str, Any]]]:
        # All at once: a list in pages by the time of change would lose what moves from one page to another.
        listed = await self._stores.overviews.sessions(selector, now=self._now(), limit=_SESSIONS_MAX)
        for line in sorted(listed.sessions, key=lambda each: _owner_first(each.scope)):
            record = await holdings.session(line.scope, now=self._now())
            if record is None:
                continue
            messages = await holdings.messages(line.scope, after=0, limit=_MESSAGES_AT_ONCE)
            if len(messages) < _MESSAGES_AT_ONCE:
                # These are all, and more than when the session was read if somebody is writing to it.
                archived = sum(each.archived for each in messages)
                counts = {"message_count": len(messages) - archived, "archived_count": archived}
                record = replace(record, session=replace(record.session, **counts))
            yield [session_line(record), *map(message_line, messages)]
            while len(messages) == _MESSAGES_AT_ONCE:
                after = messages[-1].sequence
                messages = await holdings.messages(line.scope, after=after, limit=_MESSAGES_AT_ONCE)
                yield [*map(message_line, messages)]

    async def _views(
        self, holdings: Holdings, selector: ScopeSelector, reach: ScopeSelector
    ) -> AsyncGenerator[Sequence[dict[str, Any]]]:
        """The views of the scope; and of wider ones what they say of it alone, with the view where the caller may see it."""
        found = [(view, None) for view in await self._stores.summary_views.list(selector)]
        wider = [each async for each in self._summaries.in_wider_views(selector, nameless=True)]
        for view, groups in sorted([*found, *wider], key=lambda each: (each[0].created_at, each[0].id)):
            is_seen = reach.admits(view.owner_scope)
            if is_seen:
                yield [view_line(ViewRecord(view=view))]
            async for partition in self._partitions(view) if groups is None else self._of_groups(view, groups):
                if is_seen:
                    sources = tuple(sorted(await holdings.sources(view, group=partition.group), key=repr))
                    record = PartitionRecord(tenant=selector.tenant, partition=partition, sources=sources)
                    yield [summary_line(record)]
                else:
                    yield [outside_summary_line(partition)]

    async def _partitions(self, view: SummaryView) -> AsyncGenerator[Partition]:
        offset = 0
        while True:
            page = await self._stores.summary_views.partitions(view, where={}, limit=_MEMORIES_AT_ONCE, offset=offset)
            for partition in page.partitions:
                yield partition
            offset += len(page.partitions)
            if not page.partitions or offset >= page.total:
                return

    async def _of_groups(self, view: SummaryView, groups: Sequence[Group]) -> AsyncGenerator[Partition]:
        for group in groups:
            partition = await self._stores.summary_views.partition(view, group=group)
            if partition is not None:
                yield partition


def _ordered(records: Sequence[MemoryRecord]) -> tuple[Sequence[MemoryRecord], Sequence[MemoryRecord]]:
    """In the order of listings and then of their owners, where engines have orders of their own; and the last ones, as others of
    the same time and id may follow them."""
    last = len(records) - 1
    while last > 0 and _time_and_id(records[last - 1]) == _time_and_id(records[-1]):
        last -= 1
    return _in_order(records[:last]), records[max(0, last) :]


def _in_order(records: Sequence[MemoryRecord]) -> Sequence[MemoryRecord]:
    groups = groupby(records, key=_time_and_id)
    return [each for _, group in groups for each in sorted(group, key=lambda each: _owner_first(each.memory.scope))]


def _time_and_id(record: MemoryRecord) -> tuple[datetime, str]:
    return record.memory.created_at, record.memory.id


def _owner_first(scope: Scope) -> tuple[str, str, str]:
    return scope.namespace or "", scope.user_id or "", scope.session_id or ""


def _until(memory: Memory, past: HistoryRecord) -> HistoryRecord:
    """What happened to the memory until it was as it was read: it may have been changed or removed since."""
    if past.revisions and past.revisions[-1].operation_id == memory.operation_id:
        return past
    revisions = list(past.revisions)
    while revisions and revisions[-1].operation_id != memory.operation_id:
        revisions.pop()
    if revisions:
        return replace(past, revisions=tuple(revisions))
    # Its last change is not told, as it came by an import; but what is there was not removed.
    return replace(past, revisions=past.revisions[:-1]) if past.is_of_gone else past


def _revisions(past: HistoryRecord) -> Sequence[dict[str, Any]]:
    return [revision_line(past.memory_key, each) for each in past.revisions]
