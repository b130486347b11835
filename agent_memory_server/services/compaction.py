"""Compaction: of exact duplicates one stays, and near duplicates become one where a language model says that they are.

Only memories that changed since they were last compared are looked at, so an idle run costs nothing. Each group is one commit:
a crash leaves whole groups, and the next run goes on with what is still due. Sources are superseded, never deleted; what
changes while a group is worked on wins over it. In local mode near duplicates are reported and left.

``deduplicate`` is the same at write time: what was just written, within the wider threshold for writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

import structlog

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.fusing import enriched
from agent_memory_server.domain.history import GROUP, GROUP_NAMED_MAX
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Effect, Operation, OperationKind, Put, Supersede
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.errors import Conflict, ModelAnswerUnusable, ModelUnavailable, StaleRevision
from agent_memory_server.ports.comparisons import ComparisonStore, Due, Stage
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.services.compaction_reports import Compacted, CompactionPlan, CompactionPolicy, PlannedGroup
from agent_memory_server.services.deduplication import NearDuplicates, Neighbourhood
from agent_memory_server.services.merging import MergingService

_PAGE = 1_000
_COMMITS_AT_ONCE = 16
_ROUNDS_MAX = 3
"""How often a run goes over what changed under its hands; after that it is the next run's."""
ANSWERS_MAX = 5
"""Unusable answers about one memory after which only a request or a change makes a model look at it again."""
DEDUPLICATION_ACTOR = "task:deduplicate_memories"
COMPACTION_ACTOR = "task:compact_long_term_memories"

_log = structlog.stdlib.get_logger(__name__)


class CompactionService:
    def __init__(
        self,
        *,
        store: MemoryStore,
        comparisons: ComparisonStore,
        near_duplicates: NearDuplicates,
        merging: MergingService | None,
        policy: CompactionPolicy,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._comparisons = comparisons
        self._near_duplicates = near_duplicates
        self._merging = merging
        self._policy = policy
        self._now = now
        self._new_id = new_id

    @property
    def merges(self) -> bool:
        """Whether near duplicates are ever merged: there is a language model, and nobody forbade it."""
        return self._merging is not None and self._policy.by_meaning

    async def compact(self, criteria: MemoryFilter, *, actor: str, within_s: float | None = None) -> Compacted:
        """Compact everything of the selection that is due; ``within_s`` bounds how long models are waited for.

        A model that does not answer is no failure here: what it was to decide stays due, and ``unfinished`` says why.
        """
        run = _Run(
            id=self._new_id(), actor=actor, distance_max=self._policy.thresholds.in_compaction, stage_max=Stage.REFUSED
        )
        run.deadline = None if within_s is None else time.monotonic() + within_s
        if not criteria.is_scope_only or criteria.namespace is not None or criteria.user_id is not None:
            run.criteria = criteria
        try:
            await self._run(criteria.selector, run)
        except ModelUnavailable as error:
            run.unfinished = error.detail
        return run.report(remaining=await self._store.count(criteria, now=self._now()))

    async def compact_changed(self, selector: ScopeSelector) -> Compacted:
        """The scheduled run. Raises ModelUnavailable when something is left to ask: what was done stays done."""
        stage_max = Stage.UNDECIDED if self.merges else Stage.CHANGED
        run = _Run(
            id=self._new_id(),
            actor=COMPACTION_ACTOR,
            distance_max=self._policy.thresholds.in_compaction,
            stage_max=stage_max,
        )
        await self._run(selector, run)
        return self._done(run, "compaction")

    async def deduplicate(self, selector: ScopeSelector) -> Compacted:
        """Compare by meaning what was written with ``deduplicate``. Raises ModelUnavailable as ``compact_changed``."""
        run = _Run(
            id=self._new_id(),
            actor=DEDUPLICATION_ACTOR,
            distance_max=self._policy.thresholds.at_write,
            stage_max=Stage.NEW,
            is_write=True,
        )
        await self._run(selector, run)
        return self._done(run, "deduplication")

    async def tenants_due(self) -> Sequence[str]:
        """Tenants where the scheduled run has something to do."""
        return await self._comparisons.tenants_due(stage_max=Stage.UNDECIDED if self.merges else Stage.CHANGED)

    async def plan(self, criteria: MemoryFilter) -> CompactionPlan:
        """What ``compact`` would do now, changing nothing and asking no model."""
        seen: set[frozenset[str]] = set()
        groups: list[PlannedGroup] = []
        after: Due | None = None
        while page := await self._page(criteria.selector, Stage.REFUSED, after):
            after = page[-1]
            found = [_planned_copies(group) for group in await self._exact_groups(page, criteria)]
            if self._policy.by_meaning:
                found += await self._planned_near(page, criteria)
            for planned in found:
                members = frozenset(repr(memory.key) for memory in planned.memories)
                if members not in seen:
                    seen.add(members)
                    if len(groups) < LIMITS.plan_groups_max:
                        groups.append(planned)
        remaining = await self._store.count(criteria, now=self._now())
        return CompactionPlan(groups=tuple(groups), total=len(seen), remaining=remaining)

    # -- a run

    def _done(self, run: _Run, name: str) -> Compacted:
        report = run.report(remaining=0)
        if report.compared:
            _log.info(
                name,
                compared=report.compared,
                superseded=report.superseded,
                merged=report.merged,
                near_duplicates=report.near_duplicates,
                unusable=report.unusable,
            )
        if run.unusable:
            raise ModelAnswerUnusable(f"the model's answers about {run.unusable} groups of memories could not be used")
        return report

    async def _run(self, selector: ScopeSelector, run: _Run) -> None:
        for _ in range(_ROUNDS_MAX):
            run.stale = False
            after: Due | None = None
            seen: set[Handle] = set()
            while page := await self._page(selector, run.stage_max, after):
                after = page[-1]
                fresh = [due for due in page if due.handle not in seen]
                seen.update(due.handle for due in fresh)
                if fresh:
                    await self._compare(fresh, run)
            if not run.stale:
                return

    async def _page(self, selector: ScopeSelector, stage_max: Stage, after: Due | None) -> Sequence[Due]:
        return await self._comparisons.due(selector, stage_max=stage_max, limit=_PAGE, after=after)

    async def _compare(self, page: Sequence[Due], run: _Run) -> None:
        run.compared += len(page)
        if not run.is_write and not await self._settle_copies(await self._exact_groups(page, run.criteria), run):
            return
        if not self._policy.by_meaning:
            await self._comparisons.compared(page, stage=Stage.UNDECIDED)
            return
        handles = [due.handle for due in page]
        neighbourhood = await self._near_duplicates.around(handles, distance_max=run.distance_max)
        outcomes = _Outcomes(page, neighbourhood, is_write=run.is_write)
        try:
            for group in outcomes.groups:
                await self._decide(group, neighbourhood, outcomes, run)
        finally:
            await self._note(outcomes)

    async def _note(self, outcomes: _Outcomes) -> None:
        for stage, failed, due in outcomes.to_note():
            await self._comparisons.compared(due, stage=stage, failed=failed)

    # -- exact duplicates

    async def _exact_groups(self, page: Sequence[Due], criteria: MemoryFilter | None) -> list[list[Memory]]:
        now = self._now()
        groups = [part for group in await self._comparisons.copies(page, now=now) for part in _parts(group)]
        if criteria is not None:
            groups = [[memory for memory in group if criteria.matches(memory, now)] for group in groups]
        return [group for group in groups if len(group) > 1]

    async def _settle_copies(self, groups: Sequence[Sequence[Memory]], run: _Run) -> bool:
        """Several commits at once, so that they share their way to the disk. False: something changed meanwhile, and all of
        the page stays due."""
        is_settled = True
        for start in range(0, len(groups), _COMMITS_AT_ONCE):
            settled = await asyncio.gather(
                *(self._settle(group, run) for group in groups[start : start + _COMMITS_AT_ONCE])
            )
            run.groups += sum(number is not None for number in settled)
            run.superseded += sum(number or 0 for number in settled)
            is_settled = is_settled and None not in settled
        run.stale |= not is_settled
        return is_settled

    async def _settle(self, group: Sequence[Memory], run: _Run) -> int | None:
        """Let one stand for all; how many stepped back. None: one of them changed meanwhile, and nothing happened."""
        at = self._now()
        survivor = _survivor(group)
        others = [memory for memory in group if memory.key != survivor.key and not memory.pinned]
        better = survivor if survivor.pinned else enriched(survivor, others, at=at)
        changes: list[Put | Supersede] = []
        if better is not survivor:
            # The text is the same, so its vector stays: nothing is embedded.
            tokens = index_tokens(better.text, better.name, better.topics, better.entities)
            changes.append(Put(memory=better, tokens=tokens, if_operation=survivor.operation_id))
        by_operation = None if changes else survivor.operation_id
        changes += [
            Supersede(key=memory.key, by=survivor.id, if_operation=memory.operation_id, if_by_operation=by_operation)
            for memory in others
        ]
        try:
            committed = await self._store.commit(
                Operation(
                    id=self._new_id(),
                    tenant=survivor.scope.tenant,
                    kind=OperationKind.COMPACT,
                    actor=run.actor,
                    at=at,
                    changes=tuple(changes),
                    reason=f"exact duplicates of {survivor.id}",
                    details={GROUP: [memory.id for memory in group[:GROUP_NAMED_MAX]]},
                    run=run.id,
                )
            )
        except (StaleRevision, Conflict):
            return None
        return sum(outcome.effect is Effect.SUPERSEDED for outcome in committed.outcomes)

    # -- near duplicates

    async def _decide(
        self, group: Sequence[Handle], neighbourhood: Neighbourhood, outcomes: _Outcomes, run: _Run
    ) -> None:
        """Have a group merged, or find out why not. Once a run: its memories may be due on different pages."""
        known = run.verdicts.get(frozenset(group))
        if known is None:
            memories = [neighbourhood.memories[handle] for handle in group]
            known = run.verdicts[frozenset(group)] = await self._verdict(group, memories, neighbourhood, run)
        outcomes.note(group, known)

    async def _verdict(
        self, group: Sequence[Handle], memories: Sequence[Memory], neighbourhood: Neighbourhood, run: _Run
    ) -> _Verdict:
        if run.criteria is not None and not all(run.criteria.matches(memory, self._now()) for memory in memories):
            return _Verdict.LEFT
        if self._merging is None:
            run.near_duplicates += 1
            return _Verdict.UNDECIDED
        try:
            merged = await self._merged(self._merging, memories, run)
            if merged == 0 and run.is_write:
                merged = await self._merge_closer(self._merging, group, neighbourhood, run)
        except TimeoutError:
            run.near_duplicates += 1
            run.unfinished = "time was up before every group was decided"
            return _Verdict.LEFT
        except ModelAnswerUnusable:
            run.unusable += 1
            return _Verdict.FAILED
        except ModelUnavailable:
            run.near_duplicates += 1
            raise
        except (StaleRevision, Conflict):
            run.stale = True
            return _Verdict.LEFT
        run.merged += merged > 0
        run.superseded += merged
        return _Verdict.DECIDED

    async def _merge_closer(
        self, merging: MergingService, group: Sequence[Handle], neighbourhood: Neighbourhood, run: _Run
    ) -> int:
        """A group that is not the same as a whole may hold a closer one that is: asked now, because what was decided at
        write time is not asked about again."""
        for closer in neighbourhood.groups(group, distance_max=self._policy.thresholds.in_compaction):
            if set(closer) != set(group):
                merged = await self._merged(merging, [neighbourhood.memories[handle] for handle in closer], run)
                if merged:
                    return merged
        return 0

    async def _merged(self, merging: MergingService, memories: Sequence[Memory], run: _Run) -> int:
        """How many memories were merged into one; 0: they are not the same."""
        limit_s = None if run.deadline is None else run.deadline - time.monotonic()
        if limit_s is not None and limit_s <= 0:
            raise TimeoutError
        async with asyncio.timeout(limit_s):
            text = await merging.ask(memories)
        if text is None:
            return 0
        await merging.merge(memories, text, actor=run.actor, run=run.id)
        return len(memories)

    async def _planned_near(self, page: Sequence[Due], criteria: MemoryFilter) -> list[PlannedGroup]:
        handles = [due.handle for due in page]
        neighbourhood = await self._near_duplicates.around(handles, distance_max=self._policy.thresholds.in_compaction)
        planned: list[PlannedGroup] = []
        for group in neighbourhood.groups(handles):
            memories = tuple(neighbourhood.memories[handle] for handle in group)
            hashes = {memory.memory_hash for memory in memories}
            if len(hashes) > 1 and all(criteria.matches(memory, self._now()) for memory in memories):
                planned.append(
                    PlannedGroup(
                        kind="near", memories=memories, survivor=None, reason=self._near_reason(neighbourhood, group)
                    )
                )
        return planned

    def _near_reason(self, neighbourhood: Neighbourhood, group: Sequence[Handle]) -> str:
        farthest = max(neighbourhood.near[one][other] for one in group for other in group if one != other)
        then = "a language model decides" if self.merges else "there is no language model, so they are left"
        return f"their meanings lie within {farthest:.3f} of each other; {then}"


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run as it goes."""

    id: str
    actor: str
    distance_max: float
    stage_max: Stage
    is_write: bool = False
    criteria: MemoryFilter | None = None
    """Set when more than the scope narrows the run: then groups have to lie within it."""
    deadline: float | None = None
    compared: int = 0
    groups: int = 0
    superseded: int = 0
    merged: int = 0
    near_duplicates: int = 0
    unusable: int = 0
    stale: bool = False
    unfinished: str | None = None
    verdicts: dict[frozenset[Handle], _Verdict] = field(default_factory=dict[frozenset[Handle], "_Verdict"])

    def report(self, *, remaining: int) -> Compacted:
        if self.unfinished is None and self.unusable:
            self.unfinished = "a model's answers could not be used"
        return Compacted(
            compared=self.compared,
            groups=self.groups,
            superseded=self.superseded,
            merged=self.merged,
            near_duplicates=self.near_duplicates,
            unusable=self.unusable,
            remaining=remaining,
            unfinished=self.unfinished,
            run=self.id if self.superseded or self.merged else None,
        )


class _Verdict(Enum):
    DECIDED = "merged, or not the same"
    UNDECIDED = "there is no language model"
    FAILED = "an answer could not be used"
    LEFT = "for the next run"


class _Outcomes:
    """How each due memory of a page is to be noted. Whatever stands in a group stays due until that is decided."""

    def __init__(self, page: Sequence[Due], neighbourhood: Neighbourhood, *, is_write: bool) -> None:
        self._due = {due.handle: due for due in page}
        self._stages: dict[Handle, tuple[Stage | None, bool] | None] = {}
        for handle in self._due:
            # Written near something without a group that holds together: compaction looks with its closer threshold.
            near = is_write and neighbourhood.has_neighbours(handle)
            self._stages[handle] = (Stage.CHANGED if near else None, False)
        self.groups = neighbourhood.groups(list(self._due))
        for group in self.groups:
            self.note(group, _Verdict.LEFT)

    def note(self, group: Sequence[Handle], verdict: _Verdict) -> None:
        for handle in group:
            due = self._due.get(handle)
            if due is None:
                continue
            if verdict is _Verdict.LEFT:
                self._stages[handle] = None
            elif verdict is _Verdict.FAILED:
                self._stages[handle] = (Stage.REFUSED if due.attempts + 1 >= ANSWERS_MAX else due.stage, True)
            else:
                self._stages[handle] = (None if verdict is _Verdict.DECIDED else Stage.UNDECIDED, False)

    def to_note(self) -> list[tuple[Stage | None, bool, list[Due]]]:
        noted: dict[tuple[Stage | None, bool], list[Due]] = {}
        for handle, outcome in self._stages.items():
            if outcome is not None:
                noted.setdefault(outcome, []).append(self._due[handle])
        return [(stage, failed, due) for (stage, failed), due in noted.items()]


def _parts(group: Sequence[Memory]) -> list[list[Memory]]:
    """Of memories with the same text those that tell of the same: about the same person, and not of different times."""
    parts: list[list[Memory]] = []
    for name in dict.fromkeys(memory.name for memory in group):
        named = [memory for memory in group if memory.name == name]
        dates = {memory.event_date for memory in named} - {None}
        if len(dates) <= 1:
            parts.append(named)
            continue
        parts.extend([memory for memory in named if memory.event_date == date] for date in (*dates, None))
    return parts


def _survivor(group: Sequence[Memory]) -> Memory:
    return max(group, key=lambda memory: (memory.pinned, memory.last_accessed, memory.created_at, memory.id))


def _planned_copies(group: Sequence[Memory]) -> PlannedGroup:
    return PlannedGroup(
        kind="exact",
        memories=tuple(group),
        survivor=_survivor(group).id,
        reason="they are equal in text, owner, session and type",
    )
