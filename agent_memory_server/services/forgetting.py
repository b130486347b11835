"""Forgetting by policy, over all rows of the selection, spared where the rules say so, recoverable from the journal.

What a policy says about age is not acted upon while the clock is in doubt (``domain.clock_guard``): a clock that jumps a year
ahead makes everything old at once. Budgets go by order, which no clock changes much, and are applied as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from agent_memory_server.domain import clock_guard
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Delete, Effect, Operation, OperationKind
from agent_memory_server.domain.retention import ForgettingPolicy, RetentionPolicy, beyond_budget, too_old
from agent_memory_server.domain.search import Handle
from agent_memory_server.ports.clock import ClockStore
from agent_memory_server.ports.memories import Aged, MemoryStore

_PAGE = 10_000
_COMMIT_BATCH = 500
PERIODIC_ACTOR = "task:periodic_forget_long_term_memories"
EXPIRY_ACTOR = "task:purge_expired_memories"

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """``deleted`` counts what went, or on a dry run what would go."""

    scanned: int
    deleted: int
    deleted_ids: tuple[str, ...]
    dry_run: bool
    held_back: int = 0
    """What is too old by a clock that is in doubt, and therefore stays."""
    reason: str | None = None
    """Why something was held back."""
    run: str | None = None
    """What to undo to bring back what went; None when nothing did."""


class ForgettingService:
    def __init__(
        self, *, store: MemoryStore, clock: ClockStore, now: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._clock = clock
        self._now = now
        self._new_id = new_id

    async def forget(
        self,
        criteria: MemoryFilter,
        *,
        policy: ForgettingPolicy,
        actor: str,
        limit: int,
        dry_run: bool = True,
        pinned_ids: Collection[str] = (),
        trust_clock: bool = False,
        owner: Scope | None = None,
        run: str | None = None,
        named: str | None = None,
    ) -> Forgotten:
        """Apply the policy to every memory that matches; at most ``limit`` are removed, the least recently used first.

        Pinned memories and ``pinned_ids`` are spared. What goes leaves the journal entry that undo reads. The budget counts
        the whole selection, or with ``owner`` exactly that owner's. ``trust_clock``: somebody says that the clock is right.
        ``run``: of which this is a part; ``named``: what a person calls the policy.
        """
        at = self._now()
        doubt = await self._doubt(at, trust_clock=trust_clock, dry_run=dry_run) if policy.looks_at_age else None
        scan = await self._scan(criteria, policy, frozenset(pinned_ids), at, owner)
        old = too_old(scan.created_us, scan.accessed_us, policy, at)
        held_back = 0
        if doubt is not None:
            held_back, old = int(old.sum()), np.zeros_like(old)
        doomed: NDArray[np.int64] = _least_recent_first(scan, old)
        if policy.budget is not None:
            kept = np.flatnonzero(~old)
            surplus = beyond_budget(scan.created_us[kept], scan.accessed_us[kept], policy.budget, at)
            doomed = np.concatenate([doomed, kept[surplus]])
        places: list[int] = [int(place) for place in doomed[:limit]]
        run = run or self._new_id()
        if dry_run:
            ids = tuple(scan.ids[place] for place in places)
        else:
            accessed = scan.accessed_us
            doomed_at = [(scan.handles[place], int(accessed[place])) for place in places]
            ids = await self._remove(doomed_at, _Why.of(policy, named, actor, run))
        reason = doubt if held_back else None
        return Forgotten(
            scanned=scan.scanned,
            deleted=len(ids),
            deleted_ids=ids,
            dry_run=dry_run,
            held_back=held_back,
            reason=reason,
            run=run if ids and not dry_run else None,
        )

    async def forget_for_every_owner(self, tenant: str, *, policy: ForgettingPolicy) -> int:
        """The periodic run over one tenant; returns how many memories went.

        The budget is each owner's own (tenant, namespace, user): nobody's memories go because somebody else has many.
        """
        if policy.removes_nothing:
            return 0
        criteria = MemoryFilter(selector=ScopeSelector(tenant))
        gone = held_back = 0
        reason: str | None = None
        run = self._new_id()
        owners: Sequence[Scope | None] = [None]
        if policy.budget is not None:
            owners = await self._store.owners(criteria.selector)
        for owner in owners:
            forgotten = await self.forget(
                criteria,
                policy=policy,
                actor=PERIODIC_ACTOR,
                limit=LIMITS.forget_limit_max,
                dry_run=False,
                owner=owner,
                run=run,
            )
            gone += forgotten.deleted
            held_back += forgotten.held_back
            reason = reason or forgotten.reason
        if held_back:
            _log.warning("forgetting held back", memories=held_back, reason=reason)
        _log.info("forgetting by policy", forgotten=gone, held_back=held_back)
        return gone

    async def retain(self, tenant: str, *, policies: Sequence[RetentionPolicy]) -> int:
        """Apply the retention policies within one tenant; returns how many went. Each is one run, and says its name."""
        gone = 0
        for retention in policies:
            forgotten = await self.forget(
                MemoryFilter(selector=ScopeSelector(tenant, retention.namespace)),
                policy=retention.policy,
                actor=PERIODIC_ACTOR,
                limit=LIMITS.forget_limit_max,
                dry_run=False,
                named=retention.name,
            )
            gone += forgotten.deleted
            if forgotten.held_back:
                _log.warning("retention held back", policy=retention.name, reason=forgotten.reason)
        return gone

    async def any_expired(self) -> bool:
        return bool(await self._store.expired(now=self._now(), limit=1))

    async def purge_expired(self) -> int:
        """Remove every memory whose time to live is over, pinned ones too; returns how many. Nobody sees them as it is, so
        they can wait while the clock is in doubt."""
        at = self._now()
        doubt = clock_guard.doubt(await self._clock.observe(at))
        if doubt is not None:
            _log.warning("expired memories are kept for now", reason=doubt)
            return 0
        run, gone = self._new_id(), 0
        while keys := await self._store.expired(now=at, limit=_COMMIT_BATCH):
            before = gone
            for tenant in dict.fromkeys(key.tenant for key in keys):
                committed = await self._store.commit(
                    Operation(
                        id=self._new_id(),
                        tenant=tenant,
                        kind=OperationKind.FORGET,
                        actor=EXPIRY_ACTOR,
                        at=at,
                        changes=tuple(
                            Delete(key=key, scrub=False, expired_by=at) for key in keys if key.tenant == tenant
                        ),
                        reason="their time to live was over",
                        details={"policy": {"name": "time to live"}},
                        run=run,
                    )
                )
                gone += sum(each.effect is Effect.DELETED for each in committed.outcomes)
            if gone == before:
                break
        return gone

    async def _doubt(self, at: datetime, *, trust_clock: bool, dry_run: bool) -> str | None:
        if not trust_clock:
            return clock_guard.doubt(await self._clock.observe(at))
        if not dry_run:
            await self._clock.trust(at)
        return None

    async def _scan(
        self,
        criteria: MemoryFilter,
        policy: ForgettingPolicy,
        spared: frozenset[str],
        at: datetime,
        owner: Scope | None,
    ) -> _Scan:
        scan = _Scan()
        after: Handle | None = None
        while True:
            page = await self._store.ages(criteria, now=at, limit=_PAGE, after=after, owner=owner)
            scan.add(page, policy, spared)
            if len(page) < _PAGE:
                return scan
            after = page[-1].handle

    async def _remove(self, doomed: Sequence[tuple[Handle, int]], why: _Why) -> tuple[str, ...]:
        """Delete in batches; what was used since it was looked at stays."""
        removed: list[str] = []
        for start in range(0, len(doomed), _COMMIT_BATCH):
            batch = dict(doomed[start : start + _COMMIT_BATCH])
            keys = await self._store.keys(list(batch))
            times = await self._store.times(list(batch))
            gone = [handle for handle, accessed in batch.items() if handle in times and times[handle][1] == accessed]
            changes = tuple(Delete(key=keys[handle], scrub=False) for handle in gone if handle in keys)
            if not changes:
                continue
            committed = await self._store.commit(
                Operation(
                    id=self._new_id(),
                    tenant=changes[0].key.tenant,
                    kind=OperationKind.FORGET,
                    actor=why.actor,
                    at=self._now(),
                    changes=changes,
                    reason=why.reason,
                    details=why.details,
                    run=why.run,
                )
            )
            removed.extend(each.key.id for each in committed.outcomes if each.effect is Effect.DELETED)
        return tuple(removed)


class _Scan:
    """What was looked at: how many in all, and of those that the policy may touch their times side by side."""

    def __init__(self) -> None:
        self.scanned = 0
        self.handles: list[Handle] = []
        self.ids: list[str] = []
        self._created: list[int] = []
        self._accessed: list[int] = []

    def add(self, page: Sequence[Aged], policy: ForgettingPolicy, spared: frozenset[str]) -> None:
        self.scanned += len(page)
        for each in page:
            if each.pinned or each.id in spared:
                continue
            if policy.memory_types is not None and each.memory_type not in policy.memory_types:
                continue
            self.handles.append(each.handle)
            self.ids.append(each.id)
            self._created.append(each.created_us)
            self._accessed.append(each.accessed_us)

    @property
    def created_us(self) -> NDArray[np.int64]:
        return np.array(self._created, dtype=np.int64)

    @property
    def accessed_us(self) -> NDArray[np.int64]:
        return np.array(self._accessed, dtype=np.int64)


def _least_recent_first(scan: _Scan, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    places = np.flatnonzero(chosen).astype(np.int64)
    return places[np.argsort(scan.accessed_us[places], kind="stable")]


@dataclass(frozen=True, slots=True)
class _Why:
    """What the journal says about what goes."""

    actor: str
    reason: str
    details: Mapping[str, Any]
    run: str

    @staticmethod
    def of(policy: ForgettingPolicy, named: str | None, actor: str, run: str) -> _Why:
        parts = {
            "max_age_days": policy.max_age_days,
            "max_inactive_days": policy.max_inactive_days,
            "budget": policy.budget,
        }
        said = {name: value for name, value in parts.items() if value is not None}
        title = "policy" if named is None else f"policy {named}"
        reason = f"{title}: " + ", ".join(f"{name}={value}" for name, value in said.items())
        return _Why(actor, reason, {"policy": {**({} if named is None else {"name": named}), **said}}, run)
