"""An operation that is being applied within a transaction, with the journal entry of each change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.clock import note_time
from agent_memory_server.stores.redis.encoding import document_of, from_json
from agent_memory_server.stores.redis.memory_keys import (
    SCRUBBED,
    history_key,
    statistics_beside,
)
from agent_memory_server.stores.redis.rows import (
    Stored,
)
from agent_memory_server.stores.redis.scopes import pairs_of
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import micros, to_json

NO_REVISION = frozenset({Effect.UNCHANGED, Effect.ABSENT, Effect.SPARED})


def operation_key(tenant: str, operation_id: str) -> str:
    return naming.in_tenant(tenant, "operation", naming.digest(operation_id))


def operations_key(tenant: str, tag: str) -> str:
    """Sorted set of the operations that touched a selection, by sequence."""
    return naming.in_tenant(tenant, "operations", tag)


def run_key(tenant: str, run: str) -> str:
    """Sorted set of the operations of a run, by sequence."""
    return naming.in_tenant(tenant, "operations-of-run", naming.digest(run))


def gone_key(tenant: str, tag: str) -> str:
    """Sorted set of the memories that left a selection (removed, or moved to another owner), by when."""
    return naming.in_tenant(tenant, "gone", tag)


def owners_key(tenant: str, memory_id: str) -> str:
    """Set of the owners who had a memory with this id, and have it no more."""
    return naming.in_tenant(tenant, "gone-owners", naming.digest(memory_id))


def to_thin_key(tenant: str) -> str:
    """Sorted set of the memories that were removed and whose text the journal still has, by when."""
    return naming.in_tenant(tenant, "to-thin")


def moved_key(handle: str) -> str:
    """Set of the handles to which memories with this one moved, with their histories."""
    return naming.beside(handle, "moved")


@dataclass(slots=True)
class Journalling:
    """Collects what an operation did; ``finish`` writes it down. The sequence is given when all of it is applied."""

    transaction: Transaction
    tenant: str
    operation_id: str
    kind: OperationKind
    actor: str
    at: datetime
    reason: str
    details: dict[str, Any]
    run: str | None
    entries: list[list[Any]] = field(default_factory=list[list[Any]])
    outcomes: list[list[Any]] = field(default_factory=list[list[Any]])

    def entry(
        self,
        number: int,
        part: int,
        *,
        key: MemoryKey,
        effect: Effect,
        survivor: str,
        before: Memory | None = None,
        is_copy: bool = False,
        scrubbed: bool = False,
    ) -> None:
        """``before`` and ``is_copy``: the state before, with the key that it had then."""
        self.entries.append([key.namespace, key.user_id, effect.value, key.id, number, part])
        if part == 0:
            self.outcomes.append([key.namespace, key.user_id, key.id, effect.value, survivor])
        if effect in NO_REVISION:
            return
        handle = naming.handle_of(*key)
        told = [self.operation_id, self.kind.value, self.actor, micros(self.at), self.reason]
        entry: dict[str, Any] = {
            "operation": [*told, self.details, self.run] if self.details or self.run is not None else told,
            "effect": effect.value,
            "scrubbed": scrubbed,
            "before": None if before is None or scrubbed else document_of(before),
        }
        if is_copy:
            entry["copy"] = True
        if effect is Effect.DELETED:
            self.note_gone(key, handle)
            if not scrubbed:
                self.transaction.command("ZADD", to_thin_key(self.tenant), micros(self.at), handle)
        else:
            self.transaction.amend_row(naming.memory_key(handle), {"chg": micros(self.at)})
        self.transaction.command(
            "HSET",
            history_key(handle),
            f"{self.transaction.token}:{number}:{part}",
            to_json(entry),
            sequenced=True,
        )

    def change(self, number: int, *, key: MemoryKey, effect: Effect, survivor: str, previous: Stored | None) -> None:
        """The entry of a change that was asked for; ``previous``: the memory as and where it stood before."""
        self.entry(
            number,
            0,
            key=key,
            effect=effect,
            survivor=survivor,
            before=None if previous is None else previous.memory,
            is_copy=previous is not None and previous.is_copy,
        )

    def note_gone(self, key: MemoryKey, handle: str) -> None:
        """The memory is no more under this key: those of its selections find the handle where its history is."""
        owner = Scope(self.tenant, key.namespace, key.user_id)
        for tag in naming.tags_of(owner):
            self.transaction.command("ZADD", gone_key(self.tenant, tag), micros(self.at), handle)
        self.transaction.command("SADD", owners_key(self.tenant, key.id), to_json([key.namespace, key.user_id]))

    def finish(self) -> None:
        key = operation_key(self.tenant, self.operation_id)
        document = to_json(
            {
                "id": self.operation_id,
                "kind": self.kind.value,
                "actor": self.actor,
                "at": micros(self.at),
                "reason": self.reason,
                "details": self.details,
                "run": self.run,
                "entries": self.entries,
                "outcomes": self.outcomes,
            }
        )
        self.transaction.command("SET", key, document)
        touched = {
            tag
            for namespace, user_id, *_ in self.entries
            for tag in naming.tags_of(Scope(self.tenant, namespace, user_id))
        }
        member = naming.digest(self.operation_id)
        places = [operations_key(self.tenant, tag) for tag in sorted(touched)]
        if self.run is not None:
            places.append(run_key(self.tenant, self.run))
        for place in places:
            self.transaction.command("ZADD", place, self.transaction.token, member, sequenced=True)


async def begin_operation(
    transaction: Transaction,
    *,
    tenant: str,
    operation_id: str,
    kind: OperationKind,
    actor: str,
    at: datetime,
    reason: str,
    details: Mapping[str, Any] | None = None,
    run: str | None = None,
) -> Journalling:
    await note_time(transaction, at)
    return Journalling(transaction, tenant, operation_id, kind, actor, at, reason, dict(details or {}), run)


PAST = "0:"
"""How the field of a revision begins that an import brought: no operation of this store has the sequence 0."""


def is_past(name: bytes) -> bool:
    """Whether a field of a history is a revision that an import brought."""
    return name.startswith(PAST.encode())


def _scrubbed(text: str | bytes) -> str:
    return to_json({**from_json(text), "scrubbed": True, "before": None})


async def scrub_history(transaction: Transaction, handle: str) -> None:
    """Take the text out of every journal entry of a memory, this operation's too; who, when and which stays. What an import told
    of its past goes wholly."""
    key = history_key(handle)
    for name, value in pairs_of(await transaction.link.read("HGETALL", key)).items():
        if is_past(name):
            transaction.command("HDEL", key, name)
        elif not from_json(value)["scrubbed"]:
            transaction.command("HSET", key, name, _scrubbed(value))
    transaction.rewrite("HSET", key, _scrubbed)
    # Whoever keeps earlier states in memory lets them go.
    transaction.command("HINCRBY", statistics_beside(handle), SCRUBBED, 1)


async def scrub_entries(transaction: Transaction, handle: str, is_meant: Callable[[bytes], bool]) -> None:
    """The same for those entries of this store that are meant."""
    key = history_key(handle)
    for name, value in pairs_of(await transaction.link.read("HGETALL", key)).items():
        if not is_past(name) and is_meant(value):
            transaction.command("HSET", key, name, _scrubbed(value))
    transaction.command("HINCRBY", statistics_beside(handle), SCRUBBED, 1)
