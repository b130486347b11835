"""Everything that is held on a user (or on all that a caller may see) as lines of JSON, in portions: memory stays flat.

What is written while the export runs is in it or not; what was acknowledged before it began is in it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent_memory_server.domain.export_lines import (
    FORMAT,
    VERSION,
    memory_line,
    message_line,
    session_line,
    summary_line,
    view_line,
)
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.transfer import PartitionRecord, ViewRecord
from agent_memory_server.errors import BadRequest
from agent_memory_server.ports.journal import Revision
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Holdings

_NEVER_EXPIRED = datetime(1, 1, 1, tzinfo=UTC)
_MEMORIES_AT_ONCE = 500
_MESSAGES_AT_ONCE = 500
_SESSIONS_MAX = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    vectors: bool = False
    """Larger by far, and only worth it where the same embedding model is used again."""
    history: bool = True
    """Every revision of every memory, for people and programs to read: an import counts them and does not take them over."""


class ExportService:
    def __init__(self, *, stores: Stores, now: Callable[[], datetime]) -> None:
        self._stores = stores
        self._now = now

    async def lines(
        self, selector: ScopeSelector, options: ExportOptions, /, *, is_beyond_reach: bool = False
    ) -> AsyncGenerator[Sequence[dict[str, Any]]]:
        """The lines in portions, as JSON objects: whoever asks writes them down. ``is_beyond_reach``: nothing, exactly as for
        what is not there.

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
            self._sessions(holdings, selector),
            self._views(holdings, selector),
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
        criteria = MemoryFilter(selector=selector, include_superseded=True)
        cursor: str | None = None
        while True:
            page = await self._stores.memories.list(
                criteria, now=_NEVER_EXPIRED, limit=_MEMORIES_AT_ONCE, cursor=cursor
            )
            records = await holdings.memories([memory.key for memory in page.memories])
            yield [memory_line(record, vectors=options.vectors) for record in records if record is not None]
            if options.history:
                for memory in page.memories:
                    yield await self._history(memory.key)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _history(self, key: MemoryKey) -> Sequence[dict[str, Any]]:
        revisions = await self._stores.journal.history(key)
        return [_revision(each) for each in revisions]

    async def _sessions(self, holdings: Holdings, selector: ScopeSelector) -> AsyncGenerator[Sequence[dict[str, Any]]]:
        # All at once: a list in pages by the time of change would lose what moves from one page to another.
        listed = await self._stores.overviews.sessions(selector, now=self._now(), limit=_SESSIONS_MAX)
        for line in listed.sessions:
            record = await holdings.session(line.scope, now=self._now())
            if record is None:
                continue
            yield [session_line(record)]
            after = 0
            while messages := await holdings.messages(line.scope, after=after, limit=_MESSAGES_AT_ONCE):
                yield [message_line(each) for each in messages]
                after = messages[-1].sequence

    async def _views(self, holdings: Holdings, selector: ScopeSelector) -> AsyncGenerator[Sequence[dict[str, Any]]]:
        views = self._stores.summary_views
        for view in await views.list(selector):
            yield [view_line(ViewRecord(view=view))]
            offset = 0
            while True:
                page = await views.partitions(view, where={}, limit=_MEMORIES_AT_ONCE, offset=offset)
                for partition in page.partitions:
                    sources = tuple(await holdings.sources(view, group=partition.group))
                    record = PartitionRecord(tenant=selector.tenant, partition=partition, sources=sources)
                    yield [summary_line(record)]
                offset += len(page.partitions)
                if not page.partitions or offset >= page.total:
                    break


def _revision(revision: Revision) -> dict[str, Any]:
    operation = revision.operation
    return {
        "kind": "revision",
        "id": revision.key.id,
        "namespace": revision.key.namespace,
        "user_id": revision.key.user_id,
        "effect": revision.effect.value,
        "scrubbed": revision.scrubbed,
        "operation": {
            "id": operation.id,
            "kind": operation.kind.value,
            "actor": operation.actor,
            "at": operation.at.astimezone(UTC).isoformat(),
            "reason": operation.reason,
            "details": dict(operation.details),
            "run_id": operation.run,
        },
        "before": _state(revision.before),
        "after": _state(revision.after),
    }


def _state(memory: Memory | None) -> dict[str, Any] | None:
    """What a revision says of a memory: its text and what somebody decided about it."""
    if memory is None:
        return None
    return {
        "text": memory.text,
        "memory_type": memory.memory_type.value,
        "topics": list(memory.topics),
        "entities": list(memory.entities),
        "pinned": memory.pinned,
        "event_date": None if memory.event_date is None else memory.event_date.astimezone(UTC).isoformat(),
        "superseded_by": memory.superseded_by,
    }
