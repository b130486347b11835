"""POST /v1/long-term-memory/forget."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.forgetting import ForgetQuery, ForgetRequest, ForgetResponse, forgotten_wire
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import OutsideReach, Permission
from agent_memory_server.services.forgetting import Forgotten

_PYTHON_CLIENT = "agent-memory-client/"


async def forget(call: Call) -> Answer:
    """Remove memories by policy, pinned ones spared; a dry run unless ``dry_run=false``.

    The published Python client says ``dry_run=False`` by leaving it out, and is understood so.

    While the clock is in doubt, nothing goes for its age: ``held_back`` counts what stays for that, ``reason`` says why, and
    ``trust_clock=true`` says that the clock is right.
    """
    query = call.query(ForgetQuery)
    dry_run = query.dry_run and not _means_it(call, query)
    body = await call.body(ForgetRequest)
    try:
        selector = call.caller.selector(query.namespace, query.user_id)
    except OutsideReach:
        return answer(forgotten_wire(Forgotten(scanned=0, deleted=0, deleted_ids=(), dry_run=dry_run)))
    forgotten = await call.app.forgetting.forget(
        MemoryFilter(
            selector=selector, session_id=None if query.session_id is None else TextFilter(eq=query.session_id)
        ),
        policy=body.policy.to_policy(),
        actor=call.caller.subject,
        limit=query.limit,
        dry_run=dry_run,
        pinned_ids=body.pinned_ids or (),
        trust_clock=query.trust_clock,
    )
    return answer(forgotten_wire(forgotten))


def _means_it(call: Call, query: ForgetQuery) -> bool:
    """Whether an absent ``dry_run`` stands for False: agent-memory-client for Python sends it only when it is True."""
    return "dry_run" not in query.model_fields_set and (call.header(b"user-agent") or "").startswith(_PYTHON_CLIENT)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/long-term-memory/forget",
        handler=forget,
        permission=Permission.ADMIN,
        query=ForgetQuery,
        body=ForgetRequest,
        answers=ForgetResponse,
    ),
)
