"""Erasing a memory, a session, or everything of a user or a namespace: resumable after any crash, shown by a signed receipt.

One memory or session goes in one commit, with what was made of it. Of a scope its sessions go first, so that nothing which is
being made of them can come back: late background work misses their epoch. Then summaries of the scope alone, the memories with
their histories and whatever repeats their text, what the journal still keeps of memories that were gone before, summary views
and webhooks that belong to the scope, and its tasks and pending work.

What is counted is noted before and after each portion, so that an erasure that was killed goes on and its receipt is right.
What is written to the scope while it runs goes too, as far as it is there when the last look finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from agent_memory_server.domain.erasure import VERSION, Erased, Target, is_genuine, receipt_key, signed
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import OutsideReach, Principal, Scope, ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind, Task, TaskStatus
from agent_memory_server.domain.operations import Delete, Effect, Intent, Operation, OperationKind, TaskRequest
from agent_memory_server.domain.records import MemoryKey, derived_id
from agent_memory_server.errors import AmbiguousScope, BadRequest, InvalidInput, NotFound
from agent_memory_server.ports.stores import Purges, Stores
from agent_memory_server.services import audit
from agent_memory_server.services.scope_summaries import ScopeSummaries

_AT_ONCE = 100
_NEVER_EXPIRED = datetime(1, 1, 1, tzinfo=UTC)
"""A time at which nothing had expired yet: what has since is erased with the rest."""
ERASE_TYPE = IntentKind.ERASE.value
DRY_RUN = "dry-run"
"""The id of a task that is not kept."""
_PLANNED = "planned"
"""In the payload of an intent: the counts of a dry run, which are all that its task is about."""
_ONE = "one"
"""In the payload of an intent: the place of the one memory or session that is erased; None or absent: everything of the scope."""
_NOTHING = "There is nothing here that you may erase."


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class _Run:
    """One erasure under way. ``doing``: the portion that was begun, by its kind; counted when it is found to be gone."""

    id: str
    actor: str
    selector: ScopeSelector
    erased: Erased
    doing: dict[str, Any] | None
    portion: int

    def state(self) -> dict[str, Any]:
        return {"erased": self.erased.as_counts(), "doing": self.doing, "portion": self.portion}


class ErasureService:
    def __init__(
        self,
        *,
        stores: Stores,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        new_key: Callable[[], bytes],
        wake: Callable[[], None],
    ) -> None:
        """``new_key``: the store's own key, if it has none yet."""
        self._stores = stores
        self._summaries = ScopeSummaries(stores)
        self._now = now
        self._new_id = new_id
        self._new_key = new_key
        self._wake = wake

    async def plan(self, caller: Principal, target: Target) -> Task:
        """A task that was never begun, whose result counts what would go; of one memory or session itself, not what was made
        of it. Raises as ``begin``, but counts nothing of a scope beyond the caller's."""
        selector = self._selected(caller, target)
        at = self._now()
        one = None if selector is None else await self._one(selector, target)
        counts = Erased()
        if one is not None:
            counts = Erased(memories=1) if isinstance(one, MemoryKey) else await self._counted_session(one)
        elif selector is not None:
            counts = await self._counted(selector)
        return Task(
            id=DRY_RUN,
            scope=caller.owner(),
            type=ERASE_TYPE,
            status=TaskStatus.SUCCESS,
            created_at=at,
            started_at=at,
            completed_at=at,
            result={"dry_run": True, **target.as_names(), "counts": counts.as_counts()},
        )

    async def plan_as_task(self, caller: Principal, target: Target) -> Task:
        """As ``plan``, with a task that can be read by its id afterwards, as that of an erasure can."""
        planned = await self.plan(caller, target)
        task_id = self._new_id()
        intent = Intent(
            kind=ERASE_TYPE,
            key=task_id,
            tenant=caller.tenant,
            payload={_PLANNED: planned.result},
            task=TaskRequest(id=task_id, owner=caller.owner()),
        )
        await self._stores.outbox.request([intent], at=planned.created_at)
        self._wake()
        return replace(planned, id=task_id)

    async def begin(self, caller: Principal, target: Target) -> Task:
        """Have it erased; the task's result will be the receipt. A durable intent, so a crash only delays it.

        Raises InvalidInput when nothing is named, NotFound for a scope beyond the caller's and for a memory or session that
        is not there, AmbiguousScope when several of different owners have its id.
        """
        selector = self._selected(caller, target)
        if selector is None:
            raise NotFound(_NOTHING)
        one = await self._one(selector, target)
        task_id, at = self._new_id(), self._now()
        intent = Intent(
            kind=IntentKind.ERASE.value,
            key=task_id,
            tenant=caller.tenant,
            payload={
                "erasure": task_id,
                "actor": caller.subject,
                "namespace": selector.namespace,
                "user": selector.user_id,
                "requested_at": _iso(at),
                _ONE: None if one is None else _placed(one),
            },
            task=TaskRequest(id=task_id, owner=caller.owner()),
        )
        await self._stores.outbox.request([intent], at=at)
        self._wake()
        return Task(id=task_id, scope=caller.owner(), type=ERASE_TYPE, status=TaskStatus.PENDING, created_at=at)

    async def carry_out(self, intent: ClaimedIntent) -> Mapping[str, Any]:
        """Erase, or go on with what was begun; returns the receipt. Of a dry run: what it counted."""
        payload = intent.payload
        if _PLANNED in payload:
            return payload[_PLANNED]
        selector = ScopeSelector(intent.tenant, payload["namespace"], payload["user"])
        run = await self._resumed(str(payload["erasure"]), str(payload["actor"]), selector)
        target = await self._erase(run, payload.get(_ONE))
        receipt = {
            "receipt_version": VERSION,
            "erasure_id": run.id,
            "tenant": selector.tenant,
            **target.as_names(),
            "requested_by": run.actor,
            "requested_at": payload["requested_at"],
            "completed_at": _iso(self._now()),
            "counts": run.erased.as_counts(),
        }
        audit.erased(
            subject=run.actor,
            tenant=selector.tenant,
            what="everything of a scope" if payload.get(_ONE) is None else "one record with what was made of it",
            count=sum(run.erased.as_counts().values()),
        )
        return signed(receipt, await self._key())

    async def is_genuine(self, receipt: Mapping[str, Any]) -> bool:
        """Whether this store's server signed exactly this."""
        return is_genuine(receipt, await self._key())

    async def purge(self) -> str:
        """Leave nothing of what was deleted in the data files; a sentence for an operator. Raises BadRequest where the engine
        cannot, and what the store raises."""
        engine = self._stores.engine
        if not isinstance(engine, Purges):
            raise BadRequest("this engine cannot write its files anew: purge them with its own tools")
        return await engine.purge()

    # -- what is there

    def _selected(self, caller: Principal, target: Target) -> ScopeSelector | None:
        """None: beyond the caller's reach."""
        if not any(target.as_names().values()):
            raise InvalidInput("name a user or a namespace to erase", field=("query", "user_id"))
        try:
            return caller.selector(target.namespace, target.user_id)
        except OutsideReach:
            return None

    async def _one(self, selector: ScopeSelector, target: Target) -> MemoryKey | Scope | None:
        """The memory or session that is meant; None where everything of the scope is."""
        if target.memory_id is not None:
            found = await self._stores.memories.find(selector, memory_id=target.memory_id)
            if found:
                return _only([memory.key for memory in found])
            gone = await self._stores.journal.gone(selector, memory_id=target.memory_id)
            return _only([key for key in gone if await self._is_remembered(key)])
        if target.session_id is not None:
            return _only(
                await self._stores.working_memory.find(selector, session_id=target.session_id, now=_NEVER_EXPIRED)
            )
        return None

    async def _is_remembered(self, key: MemoryKey) -> bool:
        """Whether the journal still has the text of a memory that is gone: it was forgotten by policy, or merged away."""
        revisions = await self._stores.journal.history(key)
        return bool(revisions) and not revisions[-1].scrubbed

    async def _counted_session(self, scope: Scope) -> Erased:
        """It with its messages, archived ones too; nothing where there is none."""
        page = await self._stores.working_memory.page(scope, now=_NEVER_EXPIRED, limit=1, include_archived=True)
        return Erased() if page is None else Erased(sessions=1, messages=page.total)

    async def _counted(self, selector: ScopeSelector) -> Erased:
        everything = MemoryFilter(selector=selector, include_superseded=True)
        erased = Erased(
            memories=await self._stores.memories.count(everything, now=_NEVER_EXPIRED),
            histories=len(await self._stores.journal.remembered(selector, limit=1_000_000))
            + len(await self._stores.journal.moved_away(selector, limit=1_000_000)),
            summary_views=len(await self._stores.summary_views.list(selector)),
            summaries=sum(
                [len(groups) async for _, groups in self._summaries.in_wider_views(selector, nameless=False)]
            ),
            webhooks=len(await self._stores.webhooks.list(selector)),
        )
        offset = 0
        while True:
            found = await self._stores.overviews.sessions(selector, now=_NEVER_EXPIRED, limit=1_000, offset=offset)
            messages = sum(line.messages + line.archived for line in found.sessions)
            erased = erased.plus(sessions=len(found.sessions), messages=messages)
            offset += len(found.sessions)
            if not found.sessions or offset >= found.total:
                return erased

    # -- going on where it was

    async def _resumed(self, erasure_id: str, actor: str, selector: ScopeSelector) -> _Run:
        run = _Run(erasure_id, actor, selector, Erased(), None, 0)
        ledger = self._stores.ledger
        state = None if ledger is None else await ledger.state(self._place(run))
        if state is None:
            return run
        run.erased, run.doing, run.portion = Erased(**state["erased"]), state["doing"], state["portion"]
        if run.doing is not None:
            await self._settle(run, run.doing)
            await self._note(run, None)
        return run

    async def _settle(self, run: _Run, doing: Mapping[str, Any]) -> None:
        """Count a portion by what the journal says of it: the same after a crash in the middle of it."""
        operation = await self._stores.journal.operation(run.selector, doing["operation"])
        deleted = 0 if operation is None else operation.counts.get(Effect.DELETED.value, 0)
        run.erased = run.erased.plus(memories=deleted)
        if "session" in doing and not await self._is_there(run, doing["session"]):
            run.erased = run.erased.plus(sessions=1, messages=doing["messages"])
        if "histories" in doing and operation is not None:
            run.erased = run.erased.plus(histories=doing["histories"])
        if "moved" in doing:
            await self._stores.journal.scrub_stay(run.selector, MemoryKey(run.selector.tenant, *doing["moved"]))
            run.erased = run.erased.plus(histories=1)
        run.doing = None

    async def _is_there(self, run: _Run, session: Sequence[str | None]) -> bool:
        session_id, namespace, user_id = session
        assert session_id is not None
        owner = ScopeSelector(run.selector.tenant, namespace, user_id)
        scopes = await self._stores.working_memory.find(owner, session_id=session_id, now=_NEVER_EXPIRED, limit=100)
        return any((scope.namespace, scope.user_id) == (namespace, user_id) for scope in scopes)

    async def _begin(self, run: _Run, **doing: Any) -> dict[str, Any]:
        """Note what is about to be done, under the id of the operation that does it."""
        begun = {"operation": derived_id("erasure", run.id, str(run.portion + 1)), **doing}
        await self._note(run, begun)
        return begun

    async def _note(self, run: _Run, doing: dict[str, Any] | None) -> None:
        run.doing = doing
        run.portion += 1
        if self._stores.ledger is not None:
            await self._stores.ledger.save(self._place(run), run.state())

    def _place(self, run: _Run) -> str:
        return f"erasure:{run.id}"

    # -- erasing

    async def _erase(self, run: _Run, one: Mapping[str, Any] | None) -> Target:
        """Returns what was erased, as the receipt names it."""
        tenant = run.selector.tenant
        if one is None:
            while await self._round(run):
                pass
            return Target(namespace=run.selector.namespace, user_id=run.selector.user_id)
        if "memory" in one:
            key = MemoryKey(tenant, *one["memory"])
            await self._memory(run, key)
            return Target(namespace=key.namespace, user_id=key.user_id, memory_id=key.id)
        session_id, namespace, user_id = one["session"]
        scope = Scope(tenant, namespace, user_id, session_id)
        if (counted := await self._counted_session(scope)).sessions:
            await self._session(run, scope, messages=counted.messages, cascade=True)
        return Target(namespace=namespace, user_id=user_id, session_id=session_id)

    async def _round(self, run: _Run) -> bool:
        """One look at everything; False when there was nothing left."""
        before = run.erased
        await self._sessions(run)
        # What names nobody loses its text with its sources, and that is enough.
        async for view, groups in self._summaries.in_wider_views(run.selector, nameless=False):
            dropped = await self._stores.summary_views.drop_partitions(view, groups=groups)
            run.erased = run.erased.plus(summaries=dropped)
            await self._note(run, None)
        await self._memories(run)
        await self._histories(run)
        await self._stays(run)
        for view in await self._stores.summary_views.list(run.selector):
            owner = ScopeSelector(view.owner.tenant, view.owner.namespace, view.owner.user_id)
            if await self._stores.summary_views.delete(owner, view_id=view.id, at=self._now()):
                run.erased = run.erased.plus(summary_views=1)
                await self._note(run, None)
        for webhook in await self._stores.webhooks.list(run.selector):
            if await self._stores.webhooks.remove(run.selector.tenant, webhook.id):
                run.erased = run.erased.plus(webhooks=1)
                await self._note(run, None)
        # Receipts of erasures stay as long as tasks do: they prove that it was done.
        work = await self._stores.jobs.erase(run.selector, kept_kinds=(ERASE_TYPE,), at=self._now())
        return work > 0 or run.erased != before

    async def _sessions(self, run: _Run) -> None:
        while True:
            found = await self._stores.overviews.sessions(run.selector, now=_NEVER_EXPIRED, limit=_AT_ONCE)
            if not found.sessions:
                return
            for line in found.sessions:
                await self._session(run, line.scope, messages=line.messages + line.archived, cascade=False)

    async def _session(self, run: _Run, scope: Scope, *, messages: int, cascade: bool) -> None:
        begun = await self._begin(run, **_placed(scope), messages=messages)
        await self._stores.working_memory.delete(
            scope, cascade=cascade, operation_id=begun["operation"], actor=run.actor, at=self._now()
        )
        await self._settle(run, begun)

    async def _memory(self, run: _Run, key: MemoryKey) -> None:
        is_there = await self._stores.memories.get(key) is not None
        if is_there or await self._is_remembered(key):
            begun = await self._begin(run, histories=int(not is_there))
            await self._delete(run, begun["operation"], [key])
            await self._settle(run, begun)

    async def _memories(self, run: _Run) -> None:
        everything = MemoryFilter(selector=run.selector, include_superseded=True)
        while True:
            page = await self._stores.memories.list(everything, now=_NEVER_EXPIRED, limit=_AT_ONCE)
            if not page.memories:
                return
            begun = await self._begin(run)
            await self._delete(run, begun["operation"], [memory.key for memory in page.memories])
            await self._settle(run, begun)

    async def _histories(self, run: _Run) -> None:
        while keys := await self._stores.journal.remembered(run.selector, limit=_AT_ONCE):
            begun = await self._begin(run, histories=len(keys))
            await self._delete(run, begun["operation"], keys)
            await self._settle(run, begun)

    async def _stays(self, run: _Run) -> None:
        """What belongs to another owner by now stays his, without what it said here."""
        while keys := await self._stores.journal.moved_away(run.selector, limit=_AT_ONCE):
            for key in keys:
                await self._settle(run, await self._begin(run, moved=list(key[1:])))

    async def _delete(self, run: _Run, operation_id: str, keys: Sequence[MemoryKey]) -> None:
        await self._stores.memories.commit(
            Operation(
                id=operation_id,
                tenant=run.selector.tenant,
                kind=OperationKind.DELETE,
                actor=run.actor,
                at=self._now(),
                changes=tuple(Delete(key=key, scrub=True) for key in keys),
                reason="erasure",
                run=run.id,
            )
        )

    async def _key(self) -> bytes:
        return receipt_key(await self._stores.access_tokens.digest_key(self._new_key()))


Record = TypeVar("Record", MemoryKey, Scope)


def _only(found: Sequence[Record]) -> Record:
    """Raises NotFound, AmbiguousScope."""
    if len(found) > 1:
        raise AmbiguousScope(
            "several of different owners have this id: name the one you mean with user_id or namespace"
        )
    if not found:
        raise NotFound(_NOTHING)
    return found[0]


def _placed(one: MemoryKey | Scope) -> dict[str, Any]:
    """Which one, within the tenant."""
    if isinstance(one, MemoryKey):
        return {"memory": [one.namespace, one.user_id, one.id]}
    return {"session": [one.session_id, one.namespace, one.user_id]}
