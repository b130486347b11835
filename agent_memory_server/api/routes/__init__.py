"""All endpoints: a new one is an Operation in a module here and a line in this list."""

from __future__ import annotations

from agent_memory_server.api.operations import Operation
from agent_memory_server.api.routes import (
    compaction,
    erasure,
    events,
    extraction,
    forgetting,
    history,
    hydration,
    memories,
    pending_work,
    readiness,
    search,
    summary_views,
    tasks,
    transfer,
    webhooks,
    working_memory,
)

OPERATIONS: tuple[Operation, ...] = (
    *search.OPERATIONS,
    *working_memory.OPERATIONS,
    *forgetting.OPERATIONS,
    *compaction.OPERATIONS,
    *extraction.OPERATIONS,
    *erasure.OPERATIONS,
    *memories.OPERATIONS,
    *history.OPERATIONS,
    *events.OPERATIONS,
    *hydration.OPERATIONS,
    *readiness.OPERATIONS,
    *pending_work.OPERATIONS,
    *summary_views.OPERATIONS,
    *tasks.OPERATIONS,
    *webhooks.OPERATIONS,
    *transfer.OPERATIONS,
)
