"""The revisions of an export: lines that stand directly behind the memory that they tell of, oldest first.

A state is told without what is usual (an empty list, no date, the owner that the line itself names). What came of a change is
what the next one began with, and of the last one the memory itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from agent_memory_server.domain.export_lines import read_memory
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.line_reading import BadLine, Reading, SureReading, moment_said
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.past import PastRevision, stated
from agent_memory_server.domain.records import Memory, MemoryKey

_NEVER_TOLD = frozenset(
    {"scope", "last_accessed", "access_count", "memory_hash", "persisted_at", "extracted"}
    | {"embedding", "revision", "operation_id", "id", "text", "created_at", "updated_at", "memory_type"}
)
_USUAL: tuple[tuple[str, Any], ...] = tuple(
    (spec.name, spec.default_factory() if callable(spec.default_factory) else spec.default)
    for spec in fields(Memory)
    if spec.name not in _NEVER_TOLD
)


def gone_line(key: MemoryKey) -> dict[str, Any]:
    """A memory that is gone, of which an undo can still bring back what it said. Its revisions follow."""
    return {"kind": "gone", "id": key.id, "namespace": key.namespace, "user_id": key.user_id}


def revision_line(key: MemoryKey, revision: PastRevision) -> dict[str, Any]:
    line: dict[str, Any] = {
        "kind": "revision",
        "id": key.id,
        "namespace": key.namespace,
        "user_id": key.user_id,
        "effect": revision.effect.value,
        "operation": {
            "id": revision.operation_id,
            "kind": revision.kind.value,
            "actor": revision.actor,
            "at": revision.at,
            "reason": revision.reason,
            "details": dict(revision.details),
            "run_id": revision.run,
        },
        "before": None if revision.before is None else _state(key, revision.before),
    }
    if revision.scrubbed:
        line["scrubbed"] = True
    if revision.before_is_copy:
        line["is_copy"] = True
    return line


def read_gone(line: Reading, tenant: str) -> MemoryKey:
    return MemoryKey(tenant, line.scope_part("namespace"), line.scope_part("user_id"), line.text("id"))


def read_revision(line: Reading, key: MemoryKey) -> PastRevision:
    """A revision of the memory with this key. Raises BadLine, also when it is of another one."""
    if isinstance(line, SureReading):
        return _sure_revision(line.fields, key)
    held = line.fields.get
    if (held("namespace"), held("user_id"), held("id")) != key[1:] and read_gone(line, key.tenant) != key:
        raise BadLine("it tells of another memory than the line that it follows")
    operation = line.part("operation")
    if operation is None:
        raise BadLine("operation must be an object")
    state = line.part("before")
    return PastRevision(
        operation_id=operation.text("id"),
        kind=operation.one_of("kind", OperationKind),
        actor=operation.text("actor"),
        at=operation.time("at"),
        reason=operation.text_or_none("reason", length_max=LIMITS.text_length_max) or "",
        details=operation.object_or_none("details") or {},
        run=operation.text_or_none("run_id"),
        effect=line.one_of("effect", Effect),
        scrubbed=line.truth("scrubbed"),
        before=None if state is None else _read_state(state, key),
        before_is_copy=line.truth("is_copy"),
    )


def _sure_revision(line: Mapping[str, Any], key: MemoryKey) -> PastRevision:
    """The same of a line that was read before and is right."""
    operation, state = line["operation"], line.get("before")
    return PastRevision(
        operation_id=operation["id"],
        kind=OperationKind(operation["kind"]),
        actor=operation["actor"],
        at=moment_said(operation["at"]),
        reason=operation.get("reason") or "",
        details=operation.get("details") or {},
        run=operation.get("run_id"),
        effect=Effect(line["effect"]),
        scrubbed=line.get("scrubbed", False),
        before=None if state is None else _read_state(SureReading(state), key),
        before_is_copy=line.get("is_copy", False),
    )


def _state(key: MemoryKey, memory: Memory) -> dict[str, Any]:
    state: dict[str, Any] = {"text": memory.text, "memory_type": memory.memory_type.value}
    state["created_at"], state["updated_at"] = memory.created_at, memory.updated_at
    owner = (memory.id, memory.scope.namespace, memory.scope.user_id)
    if owner != (key.id, key.namespace, key.user_id):
        state["id"], state["namespace"], state["user_id"] = owner
    if memory.scope.session_id is not None:
        state["session_id"] = memory.scope.session_id
    for name, usual in _USUAL:
        value = getattr(memory, name)
        if value != usual:
            state[name] = _plain(value)
    return state


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return dict(value) if isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _read_state(state: Reading, key: MemoryKey) -> Memory:
    usual = {
        "id": key.id,
        "namespace": key.namespace,
        "user_id": key.user_id,
        "extraction_strategy": "discrete",
        "last_accessed": state.time("updated_at").isoformat(),
    }
    return stated(read_memory(state.with_defaults(usual), key.tenant).memory)
