"""Taking operations back: an edit, a merge, a whole compaction or forgetting run. An undo is an operation itself.

Everything is looked at first. Each memory must still be as the operation left it: what came later is never overwritten, and
is named instead. Explicit deletion is final, and so is what left no text. Only then is anything changed, up to ``BATCH`` memories
in one commit; a crash between two commits leaves an undo that goes on when it is asked for again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent_memory_server.domain.history import (
    NEVER_UNDONE,
    UNDOES,
    UndoAction,
    UndoConflict,
    UndoStep,
)
from agent_memory_server.domain.identity import Principal, ScopeSelector
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Operation, OperationKind, Restore
from agent_memory_server.domain.past import IMPORTED
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.errors import Conflict, NotFound, NotUndoable
from agent_memory_server.ports.journal import Journal, JournalledOperation, Position, Revision
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.services.indexing import Indexer

BATCH = 500
_PAGE = 1_000
_NAMED_MAX = 5
"""Conflicts that a refusal names; a dry run lists them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoReport:
    """What an undo does, or on a dry run would do. ``undone_before``: memories that an earlier undo has put back already."""

    undoes: str
    kinds: tuple[OperationKind, ...]
    steps: tuple[UndoStep, ...]
    conflicts: tuple[UndoConflict, ...]
    undone_before: int
    notices: tuple[str, ...]
    operation_ids: tuple[str, ...] = ()
    """The operations that the undo itself made; empty on a dry run."""
    run: str | None = None
    """What to undo to take the whole undo back, when it made several operations."""

    @property
    def counts(self) -> Mapping[str, int]:
        return Counter(step.action.value for step in self.steps)


class UndoService:
    def __init__(
        self,
        *,
        journal: Journal,
        memories: MemoryStore,
        indexer: Indexer,
        retention: timedelta,
        forgets: bool,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        wake: Callable[[], None],
    ) -> None:
        """``retention``: how old an operation may be; ``forgets``: whether a policy is applied periodically."""
        self._journal = journal
        self._memories = memories
        self._indexer = indexer
        self._retention = retention
        self._forgets = forgets
        self._now = now
        self._new_id = new_id
        self._wake = wake

    async def plan(self, caller: Principal, *, operation_id: str) -> UndoReport:
        """What ``undo`` would do, with everything that stands against it. Raises NotFound, and NotUndoable for what no later
        look can change: it is final, too old, or changed nothing."""
        selector = caller.selector()
        operations = await self._meant(selector, operation_id)
        self._check(operations)
        ids = frozenset(each.id for each in operations)
        firsts = await self._touched(selector, operations)
        steps: list[UndoStep] = []
        conflicts: list[UndoConflict] = []
        undone_before = 0
        for key, first in firsts.items():
            since = await self._journal.history(key, after=first._replace(part=first.part - 1))
            found = _step(key, since, ids)
            if isinstance(found, UndoStep) and not _lies_within(selector, found.memory):
                conflicts.append(UndoConflict(key=key, reason="it belonged to an owner beyond your reach before"))
            elif isinstance(found, UndoStep):
                steps.append(found)
            elif isinstance(found, UndoConflict):
                conflicts.append(found)
            else:
                undone_before += found
        if not steps and not conflicts:
            raise NotUndoable(
                f"{operation_id} was undone already; an undo can be undone itself"
                if undone_before
                else f"{operation_id} changed no memory that can be put back"
            )
        kinds = tuple(dict.fromkeys(each.kind for each in operations))
        steps, expired = self._without_expiry(steps)
        return UndoReport(
            undoes=operation_id,
            kinds=kinds,
            steps=tuple(sorted(steps, key=_place)),
            conflicts=tuple(conflicts),
            undone_before=undone_before,
            notices=tuple(self._notices(kinds, expired)),
        )

    async def undo(self, caller: Principal, *, operation_id: str, skip_conflicts: bool = False) -> UndoReport:
        """Take it back. Raises as ``plan`` does, and NotUndoable that names what came later: then nothing was changed.

        ``skip_conflicts``: leave those memories as they are and take back the rest.
        """
        plan = await self.plan(caller, operation_id=operation_id)
        if plan.conflicts and not (skip_conflicts and plan.steps):
            raise NotUndoable(_refusal(plan))
        batches = [plan.steps[first : first + BATCH] for first in range(0, len(plan.steps), BATCH)]
        run = self._new_id() if len(batches) > 1 else None
        made: list[str] = []
        for batch in batches:
            try:
                made.append(await self._commit(caller, plan, batch, run))
            except Conflict as error:
                done = f" {len(made) * BATCH} memories were put back before; ask again for the rest." if made else ""
                raise NotUndoable(f"{operation_id} cannot be undone now: {error.detail}{done}") from error
        return replace(plan, operation_ids=tuple(made), run=run)

    # -- looking

    async def _meant(self, selector: ScopeSelector, operation_id: str) -> Sequence[JournalledOperation]:
        """The operation with this id, or all of the run."""
        if operation_id.startswith(IMPORTED):
            raise NotUndoable(
                "what an import told of another store was not done here and cannot be undone here: edit or delete the memory, "
                "or undo the import, which is an operation itself"
            )
        single = await self._journal.operation(selector, operation_id)
        if single is not None:
            return [single]
        found: list[JournalledOperation] = []
        while page := await self._journal.run(
            selector, operation_id, after=found[-1].sequence if found else 0, limit=_PAGE
        ):
            found.extend(page)
        if not found:
            raise NotFound(f"Operation {operation_id} not found")
        return found

    def _check(self, operations: Sequence[JournalledOperation]) -> None:
        oldest = min(operations, key=lambda each: each.at)
        if any(each.kind in NEVER_UNDONE for each in operations):
            raise NotUndoable(f"{oldest.id} deleted for good: nothing is left that could be brought back")
        if oldest.at < self._now() - self._retention:
            days = self._retention / timedelta(days=1)
            raise NotUndoable(
                f"{oldest.id} is of {oldest.at:%Y-%m-%d}: operations can be undone for {days:g} days (UNDO_RETENTION_DAYS)"
            )

    async def _touched(
        self, selector: ScopeSelector, operations: Sequence[JournalledOperation]
    ) -> Mapping[MemoryKey, Position]:
        """Each memory that they changed, with the first of these changes."""
        firsts: dict[MemoryKey, Position] = {}
        for operation in operations:
            after: Position | None = None
            while page := await self._journal.changes(selector, operation.id, after=after, limit=_PAGE):
                after = page[-1].position
                for revision in page:
                    firsts.setdefault(revision.key, revision.position)
                if len(firsts) > LIMITS.undo_memories_max:
                    raise NotUndoable(
                        f"more than {LIMITS.undo_memories_max} memories would change: undo its operations one by one"
                    )
                if len(page) < _PAGE:
                    break
        return firsts

    def _without_expiry(self, steps: Sequence[UndoStep]) -> tuple[list[UndoStep], int]:
        """What comes back after its time to live was over comes back without one: else it would be gone at once."""
        now = self._now()
        kept: list[UndoStep] = []
        expired = 0
        for step in steps:
            memory = step.memory
            if memory is not None and memory.expires_at is not None and memory.expires_at <= now:
                kept.append(replace(step, memory=replace(memory, expires_at=None)))
                expired += 1
            else:
                kept.append(step)
        return kept, expired

    def _notices(self, kinds: Sequence[OperationKind], expired: int) -> list[str]:
        notices: list[str] = []
        if expired:
            notices.append(f"{expired} memories had a time to live that is over: they come back without one.")
        if OperationKind.FORGET in kinds and self._forgets:
            notices.append(
                "A forgetting policy is in force and may remove them again: pin what is to stay, or change the policy."
            )
        return notices

    # -- doing

    async def _commit(self, caller: Principal, plan: UndoReport, steps: Sequence[UndoStep], run: str | None) -> str:
        states = [step.memory for step in steps if step.memory is not None]
        indexed = await self._indexer.prepare(states) if states else None
        ready = {put.memory.key: put for put in indexed.puts} if indexed else {}
        changes: list[Restore] = []
        for step in steps:
            put = None if step.memory is None else ready[step.memory.key]
            changes.append(
                Restore(
                    key=step.key,
                    memory=step.memory,
                    if_operation=step.if_operation,
                    tokens={} if put is None else put.tokens,
                    embedded=None if put is None else put.embedded,
                    is_copy=step.is_copy,
                )
            )
        operation = Operation(
            id=self._new_id(),
            tenant=caller.tenant,
            kind=OperationKind.UNDO,
            actor=caller.subject,
            at=self._now(),
            changes=tuple(changes),
            reason=f"undo of {', '.join(kind.value for kind in plan.kinds)} {plan.undoes}",
            details={UNDOES: plan.undoes},
            run=run,
            intents=indexed.intents if indexed else (),
        )
        await self._memories.commit(operation)
        if operation.intents:
            self._wake()
        return operation.id


def _step(key: MemoryKey, since: Sequence[Revision], ids: frozenset[str]) -> UndoStep | UndoConflict | int:
    """What is to be done about one memory; a number: nothing, and how often it was put back before."""
    standing = _in_force(since)
    later = next((each for each in standing if each.operation.id not in ids), None)
    if not any(each.operation.id in ids for each in standing):
        return 1
    if later is not None:
        reason = f"{later.operation.kind.value} by {later.operation.actor} came later"
        return UndoConflict(key=key, reason=reason, operation_id=later.operation.id)
    if any(each.scrubbed for each in since):
        return UndoConflict(key=key, reason="its text was deleted for good, or is not kept any more")
    state, present = since[0].before, since[-1].after
    if state is None and present is None:
        return 0
    return UndoStep(
        key=key,
        action=_action(state, present),
        memory=state,
        is_copy=since[0].before_is_copy,
        if_operation=since[-1].operation.id,
    )


def _lies_within(selector: ScopeSelector, state: Memory | None) -> bool:
    return state is None or selector.admits(state.scope)


def _in_force(since: Sequence[Revision]) -> Sequence[Revision]:
    """The revisions that were not taken back, or whose undo was taken back itself. An undo of something in here is not among
    them: what it did is that others are missing."""
    standing: list[Revision] = []
    taken_back: list[tuple[Revision, list[Revision]]] = []
    for revision in since:
        target = revision.operation.details.get(UNDOES)
        gone = [each for each in standing if target is not None and _is_of(each, target)]
        again = [pair for pair in taken_back if target is not None and _is_of(pair[0], target)]
        if gone:
            standing = [each for each in standing if not _is_of(each, str(target))]
            taken_back.append((revision, gone))
        elif again:
            standing += [each for _, back in again for each in back]
            taken_back = [pair for pair in taken_back if not _is_of(pair[0], str(target))]
        else:
            standing.append(revision)
    return standing


def _is_of(revision: Revision, name: str) -> bool:
    """Whether it belongs to the operation or the run with this id."""
    return name in (revision.operation.id, revision.operation.run)


def _action(state: Memory | None, present: Memory | None) -> UndoAction:
    if state is None:
        return UndoAction.REMOVE
    return UndoAction.BRING_BACK if present is None else UndoAction.REVERT


def _place(step: UndoStep) -> int:
    """First who stands for itself again, then who steps back behind another, and at last who goes."""
    if step.memory is None:
        return 2
    return int(step.memory.superseded_by is not None)


def _refusal(plan: UndoReport) -> str:
    named = "; ".join(
        f"memory {each.key.id}: {each.reason}" + (f" ({each.operation_id})" if each.operation_id else "")
        for each in plan.conflicts[:_NAMED_MAX]
    )
    more = len(plan.conflicts) - _NAMED_MAX
    return f"{plan.undoes} cannot be undone: {named}" + (f"; and {more} more" if more > 0 else "")
