"""An operation that is being applied within a transaction, with the journal entry of each change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory
from agent_memory_server.stores.sqlite.clock import note_time
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import document_of
from agent_memory_server.stores.sqlite.rows import Stored
from agent_memory_server.stores.values import micros, to_json

ENTRY_COLUMNS = (
    "operation", "change", "part", "scope_id", "memory_id", "effect", "survivor", "scrubbed", "before", "is_copy",
    "scope_then",
)  # fmt: skip
_INSERT_ENTRY = f"INSERT INTO entries ({', '.join(ENTRY_COLUMNS)}) VALUES ({', '.join('?' * len(ENTRY_COLUMNS))})"


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

    def change(
        self, number: int, *, scope_id: int, memory_id: str, effect: Effect, survivor: str, previous: Stored | None
    ) -> None:
        """The entry of a change that was asked for; ``previous``: the memory as and where it stood before."""
        self.entry(
            number,
            0,
            scope_id=scope_id,
            memory_id=memory_id,
            effect=effect,
            survivor=survivor,
            before=None if previous is None else previous.memory,
            is_copy=previous is not None and previous.is_copy,
            scope_then=None if previous is None or previous.scope_id == scope_id else previous.scope_id,
        )

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
        is_copy: bool = False,
        scope_then: int | None = None,
        scrubbed: bool = False,
    ) -> None:
        """``before`` and ``is_copy``: the state before; ``scope_then``: where it was, when that is another scope."""
        self.connected.execute(
            _INSERT_ENTRY,
            self.row(
                number,
                part,
                scope_id=scope_id,
                memory_id=memory_id,
                effect=effect,
                survivor=survivor,
                before=before,
                is_copy=is_copy,
                scope_then=scope_then,
                scrubbed=scrubbed,
            ),
        )

    def row(
        self,
        number: int,
        part: int,
        *,
        scope_id: int,
        memory_id: str,
        effect: Effect,
        survivor: str,
        before: Memory | None = None,
        is_copy: bool = False,
        scope_then: int | None = None,
        scrubbed: bool = False,
    ) -> tuple[object, ...]:
        """The same as the values of ``ENTRY_COLUMNS``, for those that write many at once."""
        document = None if before is None or scrubbed else to_json(document_of(before))
        return (
            self.sequence,
            number,
            part,
            scope_id,
            memory_id,
            effect.value,
            survivor,
            int(scrubbed),
            document,
            int(is_copy),
            scope_then,
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
    details: Mapping[str, Any] | None = None,
    run: str | None = None,
) -> Journalling:
    connected.execute(
        "INSERT INTO operations (tenant_id, id, kind, actor, at, reason, details, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            tenant_id,
            operation_id,
            kind.value,
            actor,
            micros(at),
            reason,
            to_json(dict(details)) if details else None,
            run,
        ),
    )
    sequence = connected.last_id
    note_time(connected, at)
    return Journalling(connected, sequence, tenant, tenant_id, operation_id, kind, at)
