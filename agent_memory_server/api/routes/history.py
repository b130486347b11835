"""What happened: the history of a memory, the operations, and taking them back."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.history import (
    HistoryQuery,
    HistoryResponse,
    OperationResponse,
    OperationsQuery,
    OperationsResponse,
    UndoQuery,
    UndoResponse,
    history_wire,
    operations_wire,
    told_wire,
    undo_wire,
)
from agent_memory_server.domain.identity import Permission


async def get_memory_history(call: Call) -> Answer:
    """Every revision, oldest first: who, when, which operation and why, and what it changed; where the memory came from and
    what came of it. Of a memory that is gone too, as far as the journal remembers it."""
    query = call.query(HistoryQuery)
    history = await call.long_term.history.history(
        call.caller,
        memory_id=call.path_id("memory_id"),
        namespace=query.namespace,
        user_id=query.user_id,
        after=query.after,
        limit=query.limit,
    )
    return answer(history_wire(history))


async def list_operations(call: Call) -> Answer:
    """Everything that changed memories within the caller's reach, with counts of what lies within it."""
    query = call.query(OperationsQuery)
    page = await call.long_term.history.operations(
        call.caller,
        namespace=query.namespace,
        user_id=query.user_id,
        after=query.after,
        limit=query.limit,
        newest_first=query.order == "desc",
    )
    return answer(operations_wire(page))


async def get_operation(call: Call) -> Answer:
    """One operation with the memories that it changed."""
    told = await call.long_term.history.operation(call.caller, operation_id=call.path_id("operation_id"))
    return answer(told_wire(told))


async def undo_operation(call: Call) -> Answer:
    """Take an operation back, or all operations of a run by its ``run_id``. 409 names what came later; nothing is overwritten.

    Only what lies within the caller's reach is put back. Explicit deletion is final. An undo is an operation, and can be undone.
    """
    query = call.query(UndoQuery)
    operation_id = call.path_id("operation_id")
    undoing = call.long_term.undo
    if query.dry_run:
        return answer(undo_wire(await undoing.plan(call.caller, operation_id=operation_id), dry_run=True))
    report = await undoing.undo(call.caller, operation_id=operation_id, skip_conflicts=query.skip_conflicts)
    return answer(undo_wire(report, dry_run=False))


OPERATIONS = (
    Operation(
        method="GET", path="/v1/long-term-memory/{memory_id}/history", handler=get_memory_history,
        permission=Permission.READ, query=HistoryQuery, answers=HistoryResponse, fails=(404, 409),
    ),
    Operation(
        method="GET", path="/v1/operations", handler=list_operations, permission=Permission.READ, query=OperationsQuery,
        answers=OperationsResponse,
    ),
    Operation(
        method="GET", path="/v1/operations/{operation_id}", handler=get_operation, permission=Permission.READ,
        answers=OperationResponse, fails=(404,),
    ),
    Operation(
        method="POST", path="/v1/operations/{operation_id}/undo", handler=undo_operation, permission=Permission.WRITE,
        query=UndoQuery, answers=UndoResponse, fails=(404, 409),
    ),
)  # fmt: skip
