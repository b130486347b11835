"""POST /v1/long-term-memory/compact."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.compaction import (
    MODEL_WAIT_S,
    CompactQuery,
    CompactResponse,
    compacted_wire,
    plan_wire,
)
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import OutsideReach, Permission
from agent_memory_server.services.compaction_reports import Compacted, CompactionPlan


async def compact(call: Call) -> Answer:
    """Let one of each group of duplicates stand for all; the others stay readable by id as superseded.

    Exact duplicates are settled before the answer. Near duplicates are merged where a language model says that they are the
    same; what it did not decide within 15 seconds is done by the task ``task_id``. Without a model they are counted and left.
    With ``dry_run=true`` nothing is changed, and ``plan`` shows the groups, their texts, the survivor, and why.
    """
    app = call.long_term
    query = call.query(CompactQuery)
    try:
        selector = call.caller.selector(query.namespace, query.user_id)
    except OutsideReach:
        if query.dry_run:
            return answer(plan_wire(CompactionPlan(groups=(), total=0, remaining=0)))
        return answer(compacted_wire(Compacted(), task_id=None))
    criteria = MemoryFilter(selector=selector)
    if query.dry_run:
        return answer(plan_wire(await app.compaction.plan(criteria)))
    done = await app.compaction.compact(criteria, actor=call.caller.subject, within_s=MODEL_WAIT_S)
    task_id = None if done.unfinished is None else await app.upkeep.compact_later(call.caller, selector)
    return answer(compacted_wire(done, task_id=task_id))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/long-term-memory/compact",
        handler=compact,
        permission=Permission.ADMIN,
        query=CompactQuery,
        answers=CompactResponse,
    ),
)
