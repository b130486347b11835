"""An operation that is being applied within a transaction, with the journal entry of each change."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.clock import note_time
from agent_memory_server.stores.redis.encoding import document_of, from_json
from agent_memory_server.stores.redis.rows import history_key
from agent_memory_server.stores.redis.scopes import pairs_of
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import micros, to_json

NO_REVISION = frozenset({Effect.UNCHANGED, Effect.ABSENT, Effect.SPARED})


def operation_key(tenant: str, operation_id: str) -> str:
    return naming.in_tenant(tenant, "operation", naming.digest(operation_id))


def operations_key(tenant: str, tag: str) -> str:
    """Sorted set of the operations that touched a selection, by sequence."""
    return naming.in_tenant(tenant, "operations", tag)


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
        scrubbed: bool = False,
    ) -> None:
        self.entries.append([key.namespace, key.user_id, effect.value])
        if part == 0:
            self.outcomes.append([key.namespace, key.user_id, key.id, effect.value, survivor])
        if effect in NO_REVISION:
            return
        entry = {
            "operation": [self.operation_id, self.kind.value, self.actor, micros(self.at), self.reason],
            "effect": effect.value,
            "scrubbed": scrubbed,
            "before": None if before is None or scrubbed else document_of(before),
        }
        self.transaction.command(
            "HSET",
            history_key(naming.handle_of(*key)),
            f"{self.transaction.token}:{number}:{part}",
            to_json(entry),
            sequenced=True,
        )

    def finish(self) -> None:
        key = operation_key(self.tenant, self.operation_id)
        document = to_json(
            {
                "id": self.operation_id,
                "kind": self.kind.value,
                "actor": self.actor,
                "at": micros(self.at),
                "reason": self.reason,
                "entries": self.entries,
                "outcomes": self.outcomes,
            }
        )
        self.transaction.command("SET", key, document)
        touched = {
            tag
            for namespace, user_id, _ in self.entries
            for tag in naming.tags_of(Scope(self.tenant, namespace, user_id))
        }
        member = naming.digest(self.operation_id)
        for tag in sorted(touched):
            self.transaction.command(
                "ZADD", operations_key(self.tenant, tag), self.transaction.token, member, sequenced=True
            )


async def begin_operation(
    transaction: Transaction,
    *,
    tenant: str,
    operation_id: str,
    kind: OperationKind,
    actor: str,
    at: datetime,
    reason: str,
) -> Journalling:
    await note_time(transaction, at)
    return Journalling(transaction, tenant, operation_id, kind, actor, at, reason)


def _scrubbed(text: str | bytes) -> str:
    return to_json({**from_json(text), "scrubbed": True, "before": None})


async def scrub_history(transaction: Transaction, handle: str) -> None:
    """Take the text out of every journal entry of a memory, this operation's too; who, when and which stays."""
    key = history_key(handle)
    for name, value in pairs_of(await transaction.link.read("HGETALL", key)).items():
        if not from_json(value)["scrubbed"]:
            transaction.command("HSET", key, name, _scrubbed(value))
    transaction.rewrite("HSET", key, _scrubbed)
