"""Summary views: define, run at once or in the background, read the partitions.

A run is incremental: a group whose memories, prompt and model are as they were is not summarised again. A failure leaves
every earlier summary as it is, and what was summarised before the failure stays, so that a retry goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_memory_server.domain.identity import Principal, ScopeSelector
from agent_memory_server.domain.jobs import IntentKind, Task
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Intent, TaskRequest
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.summary_views import (
    NO_MATCHING_MEMORIES,
    Group,
    Inputs,
    Member,
    Partition,
    SummaryView,
    ViewDraft,
    checked,
    checked_group,
    criteria,
    group_key,
    group_of,
)
from agent_memory_server.errors import Conflict, InvalidInput, ModelUnavailable, NotFound
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.summarizer import Summarizer
from agent_memory_server.ports.summary_views import PartitionPage, SummaryViewStore

_PAGE = 1_000
_MEMBERS_PAGE = 5_000
_VIEWS_PER_READ = 500
_STORE_ATTEMPTS_MAX = 3
"""How often a summary is made again because one of its memories was deleted meanwhile."""
_FAILURES_IN_A_ROW_MAX = 3
"""After so many the model is taken to be away, and the rest waits for the retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a full run did, in partitions."""

    summarized: int = 0
    unchanged: int = 0
    emptied: int = 0


class SummaryViewService:
    def __init__(
        self,
        *,
        store: SummaryViewStore,
        memories: MemoryStore,
        summarizer: Summarizer,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        wake: Callable[[], None],
        summary_timeout_s: float = 300.0,
    ) -> None:
        self._store = store
        self._memories = memories
        self._summarizer = summarizer
        self._now = now
        self._new_id = new_id
        self._wake = wake
        self._summary_timeout_s = summary_timeout_s

    # -- definitions

    async def create(self, caller: Principal, draft: ViewDraft) -> SummaryView:
        """Store a view of what the caller may read. Raises BadRequest, InvalidInput (nothing of a bad view is stored)."""
        view = SummaryView(
            id=self._new_id(),
            owner=caller.selector(),
            created_at=self._now(),
            created_by=caller.subject,
            draft=checked(draft),
        )
        if not await self._store.add(view, views_max=LIMITS.summary_views_max):
            raise InvalidInput(f"there are {LIMITS.summary_views_max} summary views already; delete one first")
        return view

    async def list(self, caller: Principal) -> Sequence[SummaryView]:
        """The views that summarise nothing but what the caller may read, oldest first."""
        return await self._store.list(caller.selector())

    async def get(self, caller: Principal, *, view_id: str) -> SummaryView:
        """Raises NotFound, also for a view that reads beyond the caller's reach."""
        view = await self._store.get(caller.selector(), view_id=view_id)
        if view is None:
            raise _absent(view_id)
        return view

    async def delete(self, caller: Principal, *, view_id: str) -> bool:
        """Remove the view, its partitions and its pending runs; False when there was none."""
        return await self._store.delete(caller.selector(), view_id=view_id, at=self._now())

    # -- partitions

    async def partitions(
        self, caller: Principal, *, view_id: str, where: Group, limit: int, offset: int = 0
    ) -> PartitionPage:
        """The partitions whose group holds every value of ``where``. Raises NotFound."""
        view = await self.get(caller, view_id=view_id)
        return await self._store.partitions(view, where=where, limit=limit, offset=offset)

    async def run_partition(self, caller: Principal, *, view_id: str, group: Group, force: bool = False) -> Partition:
        """The summary of one group as of now. Raises NotFound, BadRequest (wrong group keys), ModelUnavailable."""
        view = await self.get(caller, view_id=view_id)
        return await self._summarized(view, checked_group(view, group), force=force)

    # -- full runs

    async def run(self, caller: Principal, *, view_id: str, task_id: str | None = None, force: bool = False) -> Task:
        """Ask for a run of every partition and return its task, which is durable by then.

        A ``task_id`` that exists returns the task when it is an open run of this view, and raises Conflict when it is
        anything else. Raises NotFound.
        """
        view = await self.get(caller, view_id=view_id)
        intent = self._intent(view, force=force, task_id=task_id or self._new_id())
        started = await self._store.start(view, intent, at=self._now())
        if started is None:
            raise _absent(view_id)
        if not started.created and not (started.task.is_open and started.task.view_id == view_id):
            raise Conflict(f"a task with the id {started.task.id} exists already; leave task_id out to get a new one")
        self._wake()
        return started.task

    async def refresh(self, owner: ScopeSelector, *, view_id: str, force: bool = False) -> Refreshed:
        """Bring every partition up to date. A view that is gone is no work.

        Raises ModelUnavailable when a summary failed, after the others were tried: what succeeded is stored.
        """
        view = await self._store.get(owner, view_id=view_id)
        if view is None:
            return Refreshed()
        groups = await self._groups(view)
        stored = await self._store.fingerprints(view)
        nothing = self._inputs(view).fingerprint
        left = [key for key, fingerprint in stored.items() if key not in groups and fingerprint != nothing]
        emptied = await self._store.empty_partitions(view, group_keys=left, fingerprint=nothing, at=self._now())
        due = [group for key, (group, inputs) in groups.items() if force or stored.get(key) != inputs.fingerprint]
        await self._summarize_all(view, due, force=force)
        return Refreshed(summarized=len(due), unchanged=len(groups) - len(due), emptied=emptied)

    async def due_refreshes(self) -> Sequence[Intent]:
        """The work of one round of the schedule: a run of every continuous view, without a client's task."""
        intents: list[Intent] = []
        after: str | None = None
        while True:
            views = await self._store.continuous(limit=_VIEWS_PER_READ, after=after)
            intents.extend(self._intent(view, force=False, task_id=None) for view in views)
            if len(views) < _VIEWS_PER_READ:
                return intents
            after = views[-1].id

    # -- how

    def _intent(self, view: SummaryView, *, force: bool, task_id: str | None) -> Intent:
        """Runs that wait are one run: each further task follows the same intent."""
        return Intent(
            kind=IntentKind.REFRESH_SUMMARY_VIEW.value,
            key=f"{view.id} force" if force else view.id,
            tenant=view.owner.tenant,
            namespace=view.owner.namespace,
            user_id=view.owner.user_id,
            payload={"view_id": view.id, "force": force},
            task=None if task_id is None else TaskRequest(id=task_id, owner=view.owner_scope),
        )

    async def _groups(self, view: SummaryView) -> dict[str, tuple[Group, Inputs]]:
        """Every group that has memories, with their fingerprint; memories that lack a group field are skipped."""
        found: dict[tuple[str, ...], tuple[Group, Inputs]] = {}
        async for member in self._members(view):
            group = group_of(member, view.draft.group_by)
            if group is None:
                continue
            values = tuple(group.values())
            known = found.get(values)
            if known is None:
                if len(found) >= LIMITS.partitions_max:
                    raise InvalidInput(f"the view has more than {LIMITS.partitions_max} groups; narrow it by a filter")
                known = found[values] = (group, self._inputs(view))
            known[1].note(member)
        return {group_key(group): (group, inputs) for group, inputs in found.values()}

    async def _summarize_all(self, view: SummaryView, due: Sequence[Group], *, force: bool) -> None:
        failed = in_a_row = 0
        last: ModelUnavailable | None = None
        for group in due:
            try:
                await self._summarized(view, group, force=force)
                in_a_row = 0
            except ModelUnavailable as error:
                failed, in_a_row, last = failed + 1, in_a_row + 1, error
                if in_a_row >= _FAILURES_IN_A_ROW_MAX:
                    break
            except NotFound:
                return  # the view was deleted meanwhile
        if last is not None:
            raise ModelUnavailable(
                f"{failed} of {len(due)} summaries failed; the last one: {last.detail}",
                retry_after_s=last.retry_after_s,
            ) from last

    async def _summarized(self, view: SummaryView, group: Group, *, force: bool) -> Partition:
        """The group's partition, made anew unless nothing changed. Raises NotFound when the view is gone."""
        for _ in range(_STORE_ATTEMPTS_MAX):
            at = self._now()
            inputs = self._inputs(view)
            async for memory in self._memories_of(view, group, at):
                inputs.add(memory)
            if not force:
                stored = await self._store.partition(view, group=group)
                if stored is not None and stored.fingerprint == inputs.fingerprint:
                    return stored
            partition = Partition(
                view_id=view.id,
                group=group,
                summary=await self._text(view, group, inputs),
                memory_count=inputs.count,
                computed_at=at,
                fingerprint=inputs.fingerprint,
                empty_reason=None if inputs.count else NO_MATCHING_MEMORIES,
            )
            sources = tuple(memory.key for memory in inputs.newest)
            if await self._store.put_partition(view, partition, sources=sources):
                return partition
            if await self._store.get(view.owner, view_id=view.id) is None:
                raise _absent(view.id)
        raise Conflict("the memories of this group are being deleted while they are summarised; try again")

    async def _text(self, view: SummaryView, group: Group, inputs: Inputs) -> str:
        if inputs.count == 0:
            return ""
        try:
            async with asyncio.timeout(self._summary_timeout_s):
                text = await self._summarizer.summarize(
                    inputs.newest,
                    group=group,
                    total=inputs.count,
                    prompt=view.draft.prompt,
                    model_name=view.draft.model_name,
                )
        except TimeoutError:
            raise ModelUnavailable(f"the summary took longer than {self._summary_timeout_s:g} s") from None
        if not text.strip():
            raise ModelUnavailable("the summary came out empty")
        return text

    def _inputs(self, view: SummaryView) -> Inputs:
        return Inputs(self._summarizer.method(prompt=view.draft.prompt, model_name=view.draft.model_name))

    async def _members(self, view: SummaryView) -> AsyncIterator[Member]:
        """What decides about every memory of the view, read page by page."""
        at = self._now()
        wanted = criteria(view, now=at)
        cursor: str | None = None
        while True:
            page = await self._store.members(wanted, now=at, limit=_MEMBERS_PAGE, cursor=cursor)
            for member in page.members:
                yield member
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _memories_of(self, view: SummaryView, group: Group, at: datetime) -> AsyncIterator[Memory]:
        """The group's memories, read page by page."""
        wanted = criteria(view, now=at, group=group)
        cursor: str | None = None
        while True:
            page = await self._memories.list(wanted, now=at, limit=_PAGE, cursor=cursor)
            for memory in page.memories:
                yield memory
            cursor = page.next_cursor
            if cursor is None:
                return


def _absent(view_id: str) -> NotFound:
    return NotFound(f"SummaryView {view_id} not found")
