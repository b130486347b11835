"""An operation that is being applied within a transaction, with the journal entry of each change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory
from agent_memory_server.stores.sqlite.clock import note_time
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import document_of
from agent_memory_server.stores.values import micros, to_json


@dataclass(frozen=True, slots=True)
class Journalling:
    """An operation that is being applied; each change goes into the journal beside it."""

    connected: Connected
    sequence: int
    tenant: str
    tenant_id: int
    operation_id: str
    kind: OperationKind
    at: datetime

    def entry(
        self,
        number: int,
        part: int,
        *,
        scope_id: int,
        memory_id: str,
        effect: Effect,
        survivor: str,
        before: Memory | None = None,
        scrubbed: bool = False,
    ) -> None:
        document = None if before is None or scrubbed else to_json(document_of(before))
        self.connected.execute(
            "INSERT INTO entries (operation, change, part, scope_id, memory_id, effect, survivor, scrubbed, before) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self.sequence, number, part, scope_id, memory_id, effect.value, survivor, int(scrubbed), document),
        )


def begin_operation(
    connected: Connected,
    *,
    tenant_id: int,
    tenant: str,
    operation_id: str,
    kind: OperationKind,
    actor: str,
    at: datetime,
    reason: str,
) -> Journalling:
    connected.execute(
        "INSERT INTO operations (tenant_id, id, kind, actor, at, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (tenant_id, operation_id, kind.value, actor, micros(at), reason),
    )
    sequence = connected.last_id
    note_time(connected, at)
    return Journalling(connected, sequence, tenant, tenant_id, operation_id, kind, at)
