"""Summary views and their partitions as a store offers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.jobs import Task
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.summary_views import Group, Member, Partition, SummaryView


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionPage:
    """``total`` counts every partition that matches."""

    partitions: tuple[Partition, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """``created`` False: a task with this id was there before, and nothing was changed."""

    task: Task
    created: bool


class MemberPage(Protocol):
    @property
    def members(self) -> Sequence[Member]: ...
    @property
    def next_cursor(self) -> str | None: ...


class SummaryViewStore(Protocol):
    async def add(self, view: SummaryView, /, *, views_max: int) -> bool:
        """Store a new view; False when its owner has ``views_max`` already."""
        ...

    async def get(self, selector: ScopeSelector, /, *, view_id: str) -> SummaryView | None:
        """The view, when its owner lies within the selector."""
        ...

    async def list(self, selector: ScopeSelector, /) -> Sequence[SummaryView]:
        """Every view whose owner lies within the selector, oldest first."""
        ...

    async def continuous(self, *, limit: int, after: str | None = None) -> Sequence[SummaryView]:
        """Views of every tenant that are refreshed on a schedule, in the order of their ids."""
        ...

    async def delete(self, selector: ScopeSelector, /, *, view_id: str, at: datetime) -> bool:
        """Remove the view, its partitions and its pending runs, whose tasks fail with that reason. False: no such view."""
        ...

    async def start(self, view: SummaryView, intent: Intent, /, *, at: datetime) -> Started | None:
        """Record the intent and its task in one commit; None when the view is gone. A task id is never given twice."""
        ...

    async def members(
        self, criteria: MemoryFilter, /, *, now: datetime, limit: int, cursor: str | None = None
    ) -> MemberPage:
        """A page of the memories that match, without their text, in a stable order: cheap enough to read them all."""
        ...

    async def put_partition(self, view: SummaryView, partition: Partition, /, *, sources: Sequence[MemoryKey]) -> bool:
        """Store a summary with the memories that it was made of.

        False, and nothing is stored, when the view or one of the ``sources`` is gone: a deleted memory does not come back
        in a summary. A source that is deleted for good later takes the summary's text with it (``SOURCE_DELETED``).
        """
        ...

    async def partition(self, view: SummaryView, /, *, group: Group) -> Partition | None: ...

    async def partitions(self, view: SummaryView, /, *, where: Group, limit: int, offset: int = 0) -> PartitionPage:
        """The partitions whose group holds every value of ``where``, in the order of their ``group_key``."""
        ...

    async def fingerprints(self, view: SummaryView, /) -> dict[str, str | None]:
        """Fingerprint by ``group_key`` of every stored partition."""
        ...

    async def drop_partitions(self, view: SummaryView, /, *, groups: Sequence[Group]) -> int:
        """Remove stored partitions with the values of their groups; returns how many there were."""
        ...

    async def empty_partitions(
        self, view: SummaryView, /, *, group_keys: Sequence[str], fingerprint: str, at: datetime
    ) -> int:
        """Mark stored partitions as empty because no memory is in their group any more; returns how many were not."""
        ...
