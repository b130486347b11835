"""The tasks of this server for Docket: what ``docket worker --tasks agent_memory_server.docket_tasks:task_collection`` loads.

Each task notes what it was asked for in the store, does it there, and returns the report: so a task that is delivered twice,
or whose worker is killed, is neither lost nor done twice, and what keeps failing is a dead letter that can be replayed. The
queue carries names and ids, never anybody's text. A task's parameters are a contract with scripts; ``carry`` passes on what the
execution gave them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from docket import CurrentExecution, Execution, ExponentialRetry, Perpetual, Retry, Timeout

from agent_memory_server.domain.jobs import Lane
from agent_memory_server.services.public_tasks import COMPACTION, FORGETTING, SUMMARY_VIEWS, Report
from agent_memory_server.tasks.carrying import Carrier, carrier
from agent_memory_server.tasks.working import Work, task_timeout, working

_RETRY = ExponentialRetry(attempts=5, minimum_delay=timedelta(seconds=1), maximum_delay=timedelta(seconds=30))
"""For a store that cannot be reached; what fails in the work itself is retried by the store's own rules."""

_AFTER_FAILURE = timedelta(seconds=5)
"""When a periodic task that failed is tried again; one that succeeded says itself when it is due."""


# -- sessions


async def promote_working_memory_to_long_term(
    session_id: str,
    namespace: str | None = None,
    user_id: str | None = None,
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Promote what is not promoted yet; a session that is gone is no work."""
    return await carry(retry)


async def run_delayed_extraction(
    session_id: str,
    namespace: str | None = None,
    user_id: str | None = None,
    scheduled_timestamp: str | None = None,
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Extract memories from what was not extracted from yet."""
    return await carry(retry)


async def summarize_session(
    session_id: str,
    model: str | None = None,
    max_context_tokens: int | None = None,
    namespace: str | None = None,
    user_id: str | None = None,
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Summarise what has to leave a window of ``max_context_tokens``. The server's settings name the model."""
    return await carry(retry)


# -- memories


async def extract_memories_with_strategy(
    memory_ids: Sequence[str] | None = None,
    deduplicate: bool = True,
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Extract from the sessions whose messages these memories are."""
    return await carry(retry)


async def extract_memory_structure(
    memory_id: str, carry: Carrier = carrier(), retry: Retry = _RETRY, timeout: Timeout = task_timeout()
) -> Report:
    """Complete one memory."""
    return await carry(retry)


async def index_long_term_memories(
    memory_ids: Sequence[str],
    deduplicate: bool = False,
    vector_distance_threshold: float | None = None,
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Give the memories their vectors of the configured model."""
    return await carry(retry)


async def delete_long_term_memories(
    ids: Sequence[str], carry: Carrier = carrier(), retry: Retry = _RETRY, timeout: Timeout = task_timeout()
) -> Report:
    """Delete for good."""
    return await carry(retry)


async def update_last_accessed(
    ids: Sequence[str],
    min_interval_seconds: int = 900,
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Note an access where the last one is longer ago; never brings a deleted memory back."""
    return await carry(retry)


# -- upkeep


async def compact_long_term_memories(
    limit: int = 1000,
    namespace: str | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    vector_distance_threshold: float = 0.2,
    compact_hash_duplicates: bool = True,
    compact_semantic_duplicates: bool | None = None,
    work: Work = working(),
    execution: Execution = CurrentExecution(),
    perpetual: Perpetual = Perpetual(every=_AFTER_FAILURE, automatic=True),
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Compact the scope; by itself it is the round that is due every COMPACTION_EVERY_MINUTES."""
    if execution.key == compact_long_term_memories.__name__:
        return await _round(work, perpetual, COMPACTION)
    perpetual.cancel()
    return await carry(retry)


async def forget_long_term_memories(
    policy: Mapping[str, Any],
    namespace: str | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    limit: int = 1000,
    dry_run: bool = True,
    pinned_ids: Sequence[str] | None = None,
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Remove by policy, or say what would be removed (the default)."""
    return await carry(retry)


async def periodic_forget_long_term_memories(
    namespace: str | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    limit: int = 1000,
    dry_run: bool = False,
    work: Work = working(),
    execution: Execution = CurrentExecution(),
    perpetual: Perpetual = Perpetual(every=_AFTER_FAILURE, automatic=True),
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Forget by the configured policy; by itself it is the round that is due every FORGETTING_EVERY_MINUTES."""
    if execution.key == periodic_forget_long_term_memories.__name__:
        return await _round(work, perpetual, FORGETTING)
    perpetual.cancel()
    return await carry(retry)


# -- summary views


async def refresh_summary_view(
    view_id: str,
    task_id: str | None = None,
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(),
) -> Report:
    """Run the view now."""
    return await carry(retry)


async def periodic_refresh_summary_views(
    work: Work = working(),
    execution: Execution = CurrentExecution(),
    perpetual: Perpetual = Perpetual(every=_AFTER_FAILURE, automatic=True),
    carry: Carrier = carrier(),
    retry: Retry = _RETRY,
    timeout: Timeout = task_timeout(factor=5),
) -> Report:
    """The round of the continuous views that is due every SUMMARY_VIEW_REFRESH_EVERY_MINUTES."""
    if execution.key == periodic_refresh_summary_views.__name__:
        return await _round(work, perpetual, SUMMARY_VIEWS)
    perpetual.cancel()
    return await carry(retry)


# -- what the server itself asks for


async def work_through_pending_work(lane: str, work: Work = working(), retry: Retry = _RETRY) -> None:
    """Do what is due in the lane. The server asks for this after a write; what it misses, every worker's sweep finds."""
    await work.unless_stopping(work.app.lanes[Lane(lane)].run_due())


async def _round(work: Work, perpetual: Perpetual, schedule: str) -> Report:
    """Ask for the round if it is due: once for all workers and restarts, as the store remembers it."""
    due = await work.app.schedules.run_due(name=schedule)
    perpetual.after(await work.app.schedules.until_due(schedule))
    return {"due": due}


task_collection = (
    extract_memory_structure,
    summarize_session,
    index_long_term_memories,
    compact_long_term_memories,
    extract_memories_with_strategy,
    promote_working_memory_to_long_term,
    run_delayed_extraction,
    delete_long_term_memories,
    forget_long_term_memories,
    periodic_forget_long_term_memories,
    update_last_accessed,
    refresh_summary_view,
    periodic_refresh_summary_views,
    work_through_pending_work,
)
"""Every task that a worker knows."""
