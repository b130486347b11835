"""What ``MCP_TOOLS=admin`` adds about the past: the history of a memory, what was done to memories, and taking it back."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agent_memory_server.api.schemas.history import (
    HistoryQuery,
    HistoryResponse,
    OperationsQuery,
    OperationsResponse,
    UndoResponse,
    history_wire,
    operations_wire,
    undo_wire,
)
from agent_memory_server.api.schemas.values import Id
from agent_memory_server.domain.identity import Permission
from agent_memory_server.mcp.arguments import Arguments
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool


class HistoryArguments(HistoryQuery, Arguments):
    memory_id: Id


class OperationsArguments(OperationsQuery, Arguments):
    """Which part of the list."""


class UndoArguments(Arguments):
    operation_id: Id = Field(description="Of an operation, or the run_id of all operations of a run.")
    dry_run: bool = Field(default=True, description="Only say what would happen.")


async def get_memory_history(call: ToolCall, asked: HistoryArguments) -> dict[str, Any]:
    """Also of a memory that is gone, as far as the journal remembers it."""
    history = await call.long_term.history.history(
        call.caller,
        memory_id=asked.memory_id,
        namespace=call.namespace(asked.namespace),
        user_id=call.user_id(asked.user_id),
        after=asked.after,
        limit=asked.limit,
    )
    return history_wire(history)


async def list_operations(call: ToolCall, asked: OperationsArguments) -> dict[str, Any]:
    """With counts of what lies within the caller's reach."""
    page = await call.long_term.history.operations(
        call.caller,
        namespace=call.namespace(asked.namespace),
        user_id=call.user_id(asked.user_id),
        after=asked.after,
        limit=asked.limit,
        newest_first=asked.order == "desc",
    )
    return operations_wire(page)


async def undo_operation(call: ToolCall, asked: UndoArguments) -> dict[str, Any]:
    """What came later is never overwritten: the error names it."""
    undoing = call.long_term.undo
    if asked.dry_run:
        return undo_wire(await undoing.plan(call.caller, operation_id=asked.operation_id), dry_run=True)
    return undo_wire(await undoing.undo(call.caller, operation_id=asked.operation_id), dry_run=False)


TOOLS = (
    Tool(
        name="get_memory_history", title="Read a memory's history", arguments=HistoryArguments, answers=HistoryResponse,
        handler=get_memory_history, effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="list_operations", title="List what changed memories", arguments=OperationsArguments,
        answers=OperationsResponse, handler=list_operations, effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="undo_operation", title="Take an operation back", arguments=UndoArguments, answers=UndoResponse,
        handler=undo_operation, effect=Effect.CHANGES, permission=Permission.WRITE,
    ),
)  # fmt: skip
