"""Marks of memories that are due to be compared, set and removed within the changes that cause them."""

from __future__ import annotations

from agent_memory_server.domain.records import MESSAGE_STRATEGY, Memory, MemoryType
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.stores.sqlite.connections import Connected


def is_compared(memory: Memory) -> bool:
    """Whether this memory is ever due: live, and not the copy of a session's message."""
    is_message = memory.memory_type is MemoryType.MESSAGE and memory.extraction_strategy == MESSAGE_STRATEGY
    return memory.superseded_by is None and not is_message


def mark_due(connected: Connected, handle: int, *, tenant_id: int, scope_id: int, stage: Stage = Stage.CHANGED) -> None:
    """Within the change that causes it. What is due already stays at least as urgent."""
    connected.execute(
        "INSERT INTO comparisons_due (handle, tenant_id, scope_id, stage, stamp) VALUES (?, ?, ?, ?, random()) "
        "ON CONFLICT (handle) DO UPDATE SET tenant_id = excluded.tenant_id, scope_id = excluded.scope_id, "
        "stage = min(stage, excluded.stage), attempts = 0, stamp = excluded.stamp",
        (handle, tenant_id, scope_id, stage.value),
    )


def forget_due(connected: Connected, handle: int) -> None:
    connected.execute("DELETE FROM comparisons_due WHERE handle = ?", (handle,))
