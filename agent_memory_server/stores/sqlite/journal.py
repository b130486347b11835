"""Reading the journal over SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.ports.journal import JournalledOperation, Revision
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.encoding import from_json, memory_of_document
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.rows import stored_memory
from agent_memory_server.stores.sqlite.scoping import known_scope, known_tenant, selected
from agent_memory_server.stores.values import instant

_NO_REVISION = "('unchanged', 'absent', 'spared')"


class SqliteJournal:
    """``ports.journal.Journal`` over one file."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def operations(
        self, selector: ScopeSelector, /, *, after: int = 0, limit: int = 100
    ) -> Sequence[JournalledOperation]:
        def work(connected: Connected) -> list[JournalledOperation]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            touched = selection.condition("e", has_tenant=False)
            if selection.scope_ids is None:
                source = (
                    "SELECT o.seq FROM operations AS o WHERE o.tenant_id = ? AND o.seq > ? "
                    "AND EXISTS (SELECT 1 FROM entries AS e WHERE e.operation = o.seq) ORDER BY o.seq LIMIT ?"
                )
                values = (selection.tenant_id, after, limit)
            else:
                source = (
                    f"SELECT DISTINCT e.operation FROM entries AS e WHERE {touched.sql} AND e.operation > ? "
                    "ORDER BY e.operation LIMIT ?"
                )
                values = (*touched.values, after, limit)
            rows = connected.rows(
                "SELECT o.seq, o.id, o.kind, o.actor, o.at, o.reason, (SELECT json_group_object(effect, held) FROM ("
                f"SELECT e.effect, count(*) AS held FROM entries AS e WHERE e.operation = o.seq AND {touched.sql} "
                f"GROUP BY e.effect)) FROM operations AS o WHERE o.seq IN ({source}) ORDER BY o.seq",
                (*touched.values, *values),
            )
            return [_operation(selector.tenant, row) for row in rows]

        return await self._readers.run(work)

    async def history(self, key: MemoryKey, /) -> Sequence[Revision]:
        def work(connected: Connected) -> list[Revision]:
            tenant_id = known_tenant(connected, key.tenant)
            scope_id = known_scope(connected, key.tenant, key.namespace, key.user_id)
            if tenant_id is None or scope_id is None:
                return []
            live = stored_memory(connected, tenant_id=tenant_id, scope_id=scope_id, memory_id=key.id)
            rows = connected.rows(
                "SELECT o.seq, o.id, o.kind, o.actor, o.at, o.reason, NULL, e.effect, e.scrubbed, e.before "
                "FROM entries AS e JOIN operations AS o ON o.seq = e.operation "
                f"WHERE e.scope_id = ? AND e.memory_id = ? AND e.effect NOT IN {_NO_REVISION} "
                "ORDER BY e.operation, e.change, e.part",
                (scope_id, key.id),
            )
            return _revisions(key, rows, None if live is None else live.memory)

        return await self._readers.run(work)


def _revisions(key: MemoryKey, rows: Sequence[Row], live: Memory | None) -> list[Revision]:
    """Each state after a change is the state before the next one, and at last what is stored."""
    found: list[Revision] = []
    after = live
    for row in reversed(rows):
        *operation, effect, scrubbed, document = row
        before = None if document is None else memory_of_document(from_json(str(document)))
        effect = Effect(str(effect))
        found.append(
            Revision(
                operation=_operation(key.tenant, tuple(operation)),
                key=key,
                effect=effect,
                before=before,
                after=None if effect is Effect.DELETED else after,
                scrubbed=bool(scrubbed),
            )
        )
        after = before
    found.reverse()
    return found


def _operation(tenant: str, row: Row) -> JournalledOperation:
    sequence, operation_id, kind, actor, at, reason, counts = row
    return JournalledOperation(
        sequence=sequence,
        id=str(operation_id),
        tenant=tenant,
        kind=OperationKind(str(kind)),
        actor=str(actor),
        at=instant(at),
        reason=str(reason),
        counts={} if counts is None else from_json(str(counts)),
    )
