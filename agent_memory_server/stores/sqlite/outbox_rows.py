"""Asking for work within a caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.records import derived_id
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.scoping import interned_scope
from agent_memory_server.stores.sqlite.task_rows import record_task
from agent_memory_server.stores.values import micros, to_json


def task_id_of(intent: Intent) -> str:
    """The task that a client may ask about: the same for each request of the same kind and key in one owner scope."""
    given = intent.payload.get("task_id")
    if isinstance(given, str) and given:
        return given
    return derived_id("task", to_json([intent.tenant, intent.namespace, intent.user_id]), intent.kind, intent.key)


_REQUEST = """
INSERT INTO outbox (scope_id, kind, key, payload, created_at, requested_at, not_before, task_id, traceparent)
VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)
ON CONFLICT (scope_id, kind, key) DO UPDATE SET
    payload = excluded.payload,
    requested_at = excluded.requested_at,
    not_before = CASE WHEN dead THEN excluded.not_before
        ELSE min(excluded.not_before, created_at + 10 * (excluded.not_before - excluded.requested_at)) END,
    generation = generation + 1,
    traceparent = coalesce(excluded.traceparent, traceparent),
    created_at = CASE WHEN dead THEN excluded.created_at ELSE created_at END,
    attempts = CASE WHEN dead THEN 0 ELSE attempts END,
    reason = CASE WHEN dead THEN NULL ELSE reason END,
    dead = 0
RETURNING id, generation
"""


def request_work(connected: Connected, intents: Iterable[Intent], *, at: datetime) -> None:
    """Record what is to be done. What is waiting already is not doubled; what failed for good begins anew.

    A delay that is asked for again and again (debounce) holds work back at most ten times as long as it is.
    """
    for intent in intents:
        outbox_id, generation = connected.sure(
            _REQUEST,
            (
                interned_scope(connected, intent.tenant, intent.namespace, intent.user_id),
                intent.kind,
                intent.key,
                to_json(dict(intent.payload)),
                micros(at),
                micros(intent.not_before or at),
                task_id_of(intent),
                intent.traceparent,
            ),
        )
        if intent.task is not None:
            record_task(connected, intent.task, intent, outbox_id=outbox_id, generation=generation, at=at)
