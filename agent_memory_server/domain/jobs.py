"""Pending work as the store remembers it (the outbox), and the tasks in which a caller sees it.

An *intent* is one row of the outbox. A *task* is what a client was given an id for: it follows an intent, and its status
changes in the same commit as the intent's. Several tasks may follow one intent that was asked for again while it waited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from agent_memory_server.domain.identity import Scope


class IntentKind(StrEnum):
    """What can be pending. The value is stored: never rename one."""

    PROMOTE_WORKING_MEMORY = "promote_working_memory_to_long_term"
    """payload: session_id (scope in the intent's own columns), epoch."""
    EMBED_MEMORIES = "embed_memories"
    """payload: ids of one owner scope."""
    RUN_DELAYED_EXTRACTION = "run_delayed_extraction"
    """payload: session_id. Asked for anew with each message, so it runs when the session has been quiet (debounce)."""
    SUMMARIZE_SESSION = "summarize_session"
    """payload: session_id, window (tokens)."""
    REFRESH_SUMMARY_VIEW = "refresh_summary_view"
    """payload: view_id, force. The scope is the view's owner."""
    EXTRACT_MEMORY_STRUCTURE = "extract_memory_structure"
    """payload: ids of memories of one owner scope that lack topics or entities."""
    DEDUPLICATE_MEMORIES = "deduplicate_memories"
    """No payload: what was written to the tenant with ``deduplicate`` and not compared yet."""
    COMPACT_MEMORIES = "compact_long_term_memories"
    """No payload: what changed within the tenant (and the intent's namespace and user) and was not compared yet."""
    FORGET_MEMORIES = "periodic_forget_long_term_memories"
    """No payload: the configured policy, for every owner of the tenant."""
    PURGE_EXPIRED_SESSIONS = "purge_expired_sessions"
    """No payload: expired sessions of all tenants."""
    PURGE_EXPIRED_MEMORIES = "purge_expired_memories"
    """No payload: memories of all tenants whose time to live is over."""
    THIN_JOURNAL = "thin_journal"
    """No payload: texts that the journal keeps of memories which the tenant has had no more for long."""
    ERASE = "erase"
    """payload: erasure (the task's id), actor, namespace, user, requested_at. Everything of that scope is erased for good."""
    END_STATEMENTS = "end_statements"
    """payload: ids of new memories of one owner scope: a model says which earlier ones are not so any more."""
    DELIVER_WEBHOOK = "deliver_webhook"
    """payload: webhook (its id). What was committed behind its position is posted to it."""
    RUN_TASK = "run_task"
    """payload: task (the name of one of the public tasks), arguments. Asked for by name, by a person or by another program."""


class Lane(StrEnum):
    """Kinds of work that wait for each other; different lanes go on side by side."""

    SESSIONS = "sessions"
    """Everything that a write causes: promotion, extraction, summaries of sessions, vectors."""
    SUMMARIES = "summaries"
    """Runs of summary views."""
    WEBHOOKS = "webhooks"
    """Telling others of changes: they may be slow."""
    TASKS = "tasks"
    """Tasks that were asked for by name."""
    UPKEEP = "upkeep"
    """Deduplication, compaction, forgetting, and the end of expired sessions."""


SESSION_INTENTS = (
    IntentKind.PROMOTE_WORKING_MEMORY,
    IntentKind.RUN_DELAYED_EXTRACTION,
    IntentKind.SUMMARIZE_SESSION,
)
"""What is pending of a session, and goes with it when it is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedIntent:
    """An intent that this process works on until ``claimed_until``; after that another may take it."""

    id: int
    kind: str
    key: str
    tenant: str
    namespace: str | None
    user_id: str | None
    payload: Mapping[str, Any]
    attempts: int
    """Failed attempts so far."""
    generation: int
    """Completing an intent that was asked for again meanwhile (a newer generation) leaves it pending."""
    created_at: datetime
    task_id: str
    traceparent: str | None = None
    """The request that asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWork:
    """``pending`` counts what is still to be done, ``dead`` what failed for good and can be replayed."""

    pending: int
    oldest_age_s: float
    dead: int


class TaskStatus(StrEnum):
    """What a client reads. The value is on the wire and stored: never rename one."""

    PENDING = "pending"
    RUNNING = "running"
    """An attempt was made and the outcome is still open: it works, or waits for its next attempt."""
    SUCCESS = "success"
    FAILED = "failed"
    DEAD = "dead"
    """Failed for good and can be replayed. Only listings by this status and intents without a task say so."""


ERASED = "what it was for was erased"
"""Why a task fails that followed work of somebody who was erased."""
SUMMARY_VIEW_FULL_RUN = "summary_view_full_run"
"""The one task type that the wire contract names; every other task's type is its intent's kind."""

TASK_LIFE = timedelta(days=7)
"""How long a task can be read after it last changed."""

_NEXT: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.PENDING: frozenset({TaskStatus.RUNNING, TaskStatus.SUCCESS, TaskStatus.FAILED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.SUCCESS, TaskStatus.FAILED}),
    TaskStatus.SUCCESS: frozenset(),
    TaskStatus.FAILED: frozenset({TaskStatus.PENDING}),
    TaskStatus.DEAD: frozenset({TaskStatus.PENDING}),
}


def may_become(current: TaskStatus, following: TaskStatus) -> bool:
    """Whether a task may change so. The same status again is no change; only a replay leaves ``failed`` and ``dead``.

    ``pending`` to ``success`` is for a task whose work another task's attempt has done.
    """
    return current is following or following in _NEXT[current]


def task_kind(kind: str, payload: Mapping[str, Any]) -> str:
    """What a task that follows such an intent is of: the intent's kind, or the task that it names."""
    return str(payload.get("task", kind)) if kind == IntentKind.RUN_TASK.value else kind


def task_type(kind: str) -> str:
    """The wire's type of a task of this kind."""
    return SUMMARY_VIEW_FULL_RUN if kind == IntentKind.REFRESH_SUMMARY_VIEW.value else kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Long work as a client sees it. ``scope`` is its owner scope: within it the id is unique."""

    id: str
    scope: Scope
    type: str
    status: TaskStatus
    created_at: datetime
    view_id: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error_message: str | None = None
    """Why it failed; while it is running: why the last attempt failed."""
    result: Mapping[str, Any] | None = None
    """The report of work that succeeded and has one: counts and ids, never anybody's text."""

    @property
    def is_open(self) -> bool:
        return self.status in (TaskStatus.PENDING, TaskStatus.RUNNING)
