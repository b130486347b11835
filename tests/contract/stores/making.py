"""Builders of test data for the contract suite: the smallest record that is right, with what a test cares about on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Change, Embedded, Operation, OperationKind, Put, Vector
from agent_memory_server.domain.records import Memory, content_hash
from agent_memory_server.domain.sessions import Message

T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
MODEL = "test-model"
ALICE = Scope("acme", "work", "alice")
_numbers = count(1)


def memory(memory_id: str, text: str = "likes tea", *, scope: Scope = ALICE, **fields: Any) -> Memory:
    made = Memory(id=memory_id, scope=scope, text=text, created_at=T0, updated_at=T0, last_accessed=T0)
    made = replace(made, **fields)
    return made if made.memory_hash else replace(made, memory_hash=content_hash(text, scope, made.memory_type))


def put(made: Memory, *, tokens: Mapping[str, int] | None = None, vector: Vector | None = None, **options: Any) -> Put:
    embedded = None if vector is None else Embedded(model=MODEL, vector=vector)
    return Put(memory=made, tokens={"tea": 1} if tokens is None else tokens, embedded=embedded, **options)


def operation(*changes: Change, operation_id: str | None = None, tenant: str = "acme", **options: Any) -> Operation:
    options = {"kind": OperationKind.CREATE, "actor": "tester", "at": T0, **options}
    return Operation(id=operation_id or f"operation-{next(_numbers)}", tenant=tenant, changes=changes, **options)


def message(message_id: str, content: str = "hello", **fields: Any) -> Message:
    return replace(Message(id=message_id, role="user", content=content, created_at=T0), **fields)


def session_scope(session_id: str = "s1", owner: Scope = ALICE) -> Scope:
    return replace(owner, session_id=session_id)


def selector(scope: Scope = ALICE) -> ScopeSelector:
    return ScopeSelector(scope.tenant, scope.namespace, scope.user_id)


def unit_vectors(number: int, dimensions: int = 64, seed: int = 0) -> Vector:
    """Random unit vectors, shape (number, dimensions)."""
    drawn = np.random.default_rng(seed).standard_normal((number, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
