"""Reading the journal over SQLite."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.ports.journal import Earlier, JournalledOperation, Position, Revision
from agent_memory_server.stores.sqlite import leaving, time_travel
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.deleting import NOTE_SCRUBBED
from agent_memory_server.stores.sqlite.encoding import from_json, memory_of_document
from agent_memory_server.stores.sqlite.lookups import rows_of_each
from agent_memory_server.stores.sqlite.past import (
    gone_owners,
    past_documents_of,
    past_of,
    past_revisions_of,
    thin_past,
    told_of_gone,
)
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.rows import Stored, stored_memory
from agent_memory_server.stores.sqlite.scoping import Selection, known_scope, known_tenant, selected
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.timelines import Timelines
from agent_memory_server.stores.values import instant, micros

_NO_REVISION = "('unchanged', 'absent', 'spared')"
_OPERATION = "o.seq, o.id, o.kind, o.actor, o.at, o.reason, o.details, o.run"
_OPERATION_COLUMNS = 9
"""Of ``_OPERATION`` and its counts."""
_EFFECTS = {effect.value: effect for effect in Effect}
_MARK_BYTES = 4


class SqliteJournal:
    """``ports.journal.Journal`` over one file."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer
        self._timelines: Timelines[str] = Timelines()

    async def operations(
        self, selector: ScopeSelector, /, *, after: int = 0, limit: int = 100, newest_first: bool = False
    ) -> Sequence[JournalledOperation]:
        def work(connected: Connected) -> list[JournalledOperation]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            beyond, direction = ("<", "DESC") if newest_first else (">", "ASC")
            place = after if after or not newest_first else 2**62
            if selection.scope_ids is None:
                # Those that changed no memory at all are left out.
                source = (
                    f"SELECT o.seq FROM operations AS o WHERE o.tenant_id = ? AND o.seq {beyond} ? "
                    f"AND EXISTS (SELECT 1 FROM entries AS e WHERE e.operation = o.seq) ORDER BY o.seq {direction} LIMIT ?"
                )
                values = (selection.tenant_id, place, limit)
            else:
                touched = selection.condition("e", has_tenant=False)
                source = (
                    f"SELECT DISTINCT e.operation FROM entries AS e WHERE {touched.sql} AND e.operation {beyond} ? "
                    f"ORDER BY e.operation {direction} LIMIT ?"
                )
                values = (*touched.values, place, limit)
            return _counted(connected, selector, selection, f"o.seq IN ({source})", values, direction)

        return await self._readers.run(work)

    async def operation(self, selector: ScopeSelector, operation_id: str, /) -> JournalledOperation | None:
        def work(connected: Connected) -> JournalledOperation | None:
            selection = selected(connected, selector)
            if selection is None:
                return None
            where = "o.tenant_id = ? AND o.id = ?"
            found = _counted(connected, selector, selection, where, (selection.tenant_id, operation_id), "ASC")
            return found[0] if found and found[0].counts else None

        return await self._readers.run(work)

    async def run(
        self, selector: ScopeSelector, run: str, /, *, after: int = 0, limit: int = 100
    ) -> Sequence[JournalledOperation]:
        def work(connected: Connected) -> list[JournalledOperation]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            touched = selection.condition("e", has_tenant=False)
            source = (
                "SELECT o.seq FROM operations AS o WHERE o.tenant_id = ? AND o.run = ? AND o.seq > ? AND EXISTS "
                f"(SELECT 1 FROM entries AS e WHERE e.operation = o.seq AND {touched.sql}) ORDER BY o.seq LIMIT ?"
            )
            values = (selection.tenant_id, run, after, *touched.values, limit)
            return _counted(connected, selector, selection, f"o.seq IN ({source})", values, "ASC")

        return await self._readers.run(work)

    async def changes(
        self, selector: ScopeSelector, operation_id: str, /, *, after: Position | None = None, limit: int = 1000
    ) -> Sequence[Revision]:
        def work(connected: Connected) -> list[Revision]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            touched = selection.condition("e", has_tenant=False)
            rows = connected.rows(
                f"SELECT {_OPERATION}, NULL, e.change, e.part, e.effect, e.scrubbed, e.is_copy, NULL, "
                "e.memory_id, s.namespace, s.user_id FROM operations AS o CROSS JOIN entries AS e ON e.operation = o.seq "
                "JOIN scopes AS s ON s.id = e.scope_id WHERE o.tenant_id = ? AND o.id = ? "
                f"AND e.effect NOT IN {_NO_REVISION} AND {touched.sql} AND (e.change, e.part) > (?, ?) "
                "ORDER BY e.change, e.part LIMIT ?",
                (
                    selection.tenant_id,
                    operation_id,
                    *touched.values,
                    *((-1, -1) if after is None else after[1:]),
                    limit,
                ),
            )
            return [
                _revision(
                    MemoryKey(selector.tenant, row[-2], row[-1], str(row[-3])),
                    _operation(selector.tenant, row[:_OPERATION_COLUMNS]),
                    row[_OPERATION_COLUMNS:-3],
                    after=None,
                )
                for row in rows
            ]

        return await self._readers.run(work)

    async def history(
        self, key: MemoryKey, /, *, after: Position | None = None, limit: int | None = None
    ) -> Sequence[Revision]:
        return await self._readers.run(lambda connected: _history(connected, key, after, limit))

    async def histories(self, keys: Sequence[MemoryKey], /, *, live: bool = True) -> Sequence[Sequence[Revision]]:
        return await self._readers.run(lambda connected: _histories(connected, keys, live=live))

    async def gone(self, selector: ScopeSelector, /, *, memory_id: str, limit: int = 2) -> Sequence[MemoryKey]:
        def work(connected: Connected) -> list[MemoryKey]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            touched = selection.condition("e", has_tenant=False)
            rows = connected.rows(
                "SELECT DISTINCT s.namespace, s.user_id FROM entries AS e INDEXED BY entries_gone "
                "JOIN scopes AS s ON s.id = e.scope_id "
                f"WHERE e.memory_id = ? AND e.effect = 'deleted' AND {touched.sql} AND NOT EXISTS (SELECT 1 FROM memories AS m "
                "WHERE m.tenant_id = ? AND m.id = e.memory_id AND m.scope_id = e.scope_id) ORDER BY e.scope_id LIMIT ?",
                (memory_id, *touched.values, selection.tenant_id, limit),
            )
            owners = dict.fromkeys([*rows, *gone_owners(connected, selection, memory_id=memory_id, limit=limit)])
            keys = [MemoryKey(selector.tenant, namespace, user_id, memory_id) for namespace, user_id in owners]
            return keys[:limit]

        return await self._readers.run(work)

    async def remembered(self, selector: ScopeSelector, /, *, limit: int) -> Sequence[MemoryKey]:
        def work(connected: Connected) -> list[MemoryKey]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            where = selection.condition("e", has_tenant=False)
            rows = connected.rows(
                "SELECT DISTINCT s.namespace, s.user_id, e.memory_id FROM entries AS e JOIN scopes AS s ON s.id = e.scope_id "
                f"WHERE {where.sql} AND e.before IS NOT NULL AND NOT EXISTS (SELECT 1 FROM memories AS m WHERE "
                "m.tenant_id = s.tenant_id AND m.id = e.memory_id AND m.scope_id = e.scope_id) LIMIT ?",
                (*where.values, limit),
            )
            found = dict.fromkeys([*rows, *told_of_gone(connected, selection, limit=limit)])
            keys = [
                MemoryKey(selector.tenant, namespace, user_id, memory_id) for namespace, user_id, memory_id in found
            ]
            return keys[:limit]

        return await self._readers.run(work)

    async def moved_away(self, selector: ScopeSelector, /, *, limit: int) -> Sequence[MemoryKey]:
        return await self._readers.run(lambda connected: leaving.moved_away(connected, selector, limit=limit))

    async def scrub_stay(self, selector: ScopeSelector, key: MemoryKey, /) -> None:
        await self._writer.run(lambda connected: leaving.scrub_stay(connected, selector, key))

    async def point(self, tenant: str, moment: datetime, /) -> int:
        """The newest sequence whose time is not after that moment."""
        return await self._readers.run(lambda connected: time_travel.sequence_at(connected, tenant, micros(moment)))

    async def earlier(
        self, selector: ScopeSelector, point: int, /, *, memory_id: str | None = None, limit: int
    ) -> Sequence[Earlier]:
        question = time_travel.Question(selector, point, limit, memory_id)
        held = self._timelines.held(selector) if memory_id is None else None
        timeline = await self._readers.run(lambda connected: question.answered(connected, held))
        if memory_id is None and timeline is not held:
            self._timelines.keep(selector, timeline)
        return (await timeline.at(point))[:limit]

    async def identity(self) -> str:
        def work(connected: Connected) -> str:
            # The key itself stays secret.
            return hashlib.blake2b(connected.token_key, digest_size=_MARK_BYTES).hexdigest()

        return await self._readers.run(work)

    async def newest(self) -> int:
        return await self._readers.run(
            lambda connected: connected.value("SELECT ifnull(max(seq), 0) FROM operations") or 0
        )

    async def thin(self, tenant: str, /, *, gone_before: datetime, limit: int) -> int:
        def work(connected: Connected) -> int:
            rows = connected.rows(
                "SELECT DISTINCT e.scope_id, e.memory_id FROM entries AS e INDEXED BY entries_to_thin "
                "JOIN operations AS o ON o.seq = e.operation WHERE e.effect = 'deleted' AND e.before IS NOT NULL "
                "AND o.tenant_id = ? AND o.at < ? AND NOT EXISTS (SELECT 1 FROM memories AS m WHERE "
                "m.tenant_id = o.tenant_id AND m.id = e.memory_id AND m.scope_id = e.scope_id) "
                # Gone, brought back and gone again: its last end counts.
                "AND NOT EXISTS (SELECT 1 FROM entries AS l JOIN operations AS p ON p.seq = l.operation "
                "WHERE l.scope_id = e.scope_id AND l.memory_id = e.memory_id AND l.effect = 'deleted' AND p.at >= ?) "
                "ORDER BY e.operation LIMIT ?",
                (known_tenant(connected, tenant), micros(gone_before), micros(gone_before), limit),
            )
            connected.many(
                "UPDATE entries SET before = NULL, scrubbed = 1 WHERE scope_id = ? AND memory_id = ? "
                f"AND effect NOT IN {_NO_REVISION}",
                rows,
            )
            connected.many(NOTE_SCRUBBED, [(scope_id,) for scope_id in {row[0] for row in rows}])
            connected.many("DELETE FROM imported_revisions WHERE scope_id = ? AND memory_id = ?", rows)
            tenant_id = known_tenant(connected, tenant)
            return len(rows) + thin_past(
                connected, tenant_id, gone_before_us=micros(gone_before), limit=limit - len(rows)
            )

        return await self._writer.run(work)


def _history(connected: Connected, key: MemoryKey, after: Position | None, limit: int | None) -> list[Revision]:
    tenant_id = known_tenant(connected, key.tenant)
    scope_id = known_scope(connected, key.tenant, key.namespace, key.user_id)
    if tenant_id is None or scope_id is None:
        return []
    place = Position(0) if after is None else after
    rows = connected.rows(
        f"SELECT {_OPERATION}, NULL, e.change, e.part, e.effect, e.scrubbed, e.is_copy, e.before "
        "FROM entries AS e JOIN operations AS o ON o.seq = e.operation "
        f"WHERE e.scope_id = ? AND e.memory_id = ? AND e.effect NOT IN {_NO_REVISION} "
        "AND e.operation >= ? AND (e.operation, e.change, e.part) > (?, ?, ?) "
        "ORDER BY e.operation, e.change, e.part LIMIT ?",
        (scope_id, key.id, place.sequence, *place, -1 if limit is None else limit + 1),
    )
    live: Memory | None = None
    if limit is None or len(rows) <= limit:
        stored = stored_memory(connected, tenant_id=tenant_id, scope_id=scope_id, memory_id=key.id)
        live = None if stored is None else stored.memory
    found = _revisions(key, rows, live, {})
    if place.sequence == 0:
        found = past_of(connected, key, scope_id=scope_id, after=place.change, own=found) + found
    return found if limit is None else found[:limit]


_MANY = 100
"""Histories that are not read on the event loop: it would be begun there in vain."""
_ENTRIES = (
    f"SELECT w.n, {_OPERATION}, NULL, e.change, e.part, e.effect, e.scrubbed, e.is_copy, e.before FROM wanted AS w "
    "CROSS JOIN entries AS e ON e.scope_id = w.scope_id AND e.memory_id = w.id "
    "CROSS JOIN operations AS o ON o.seq = e.operation "
    f"WHERE e.effect NOT IN {_NO_REVISION} ORDER BY w.n, e.operation, e.change, e.part"
)


def _histories(connected: Connected, keys: Sequence[MemoryKey], *, live: bool) -> list[list[Revision]]:
    if len(keys) > _MANY:
        connected.leave_event_loop()
    scopes = [known_scope(connected, key.tenant, key.namespace, key.user_id) for key in keys]
    wanted = [(scope_id, key.id) for key, scope_id in zip(keys, scopes, strict=True)]
    entries: dict[int, list[Row]] = {}
    for number, *row in rows_of_each(connected, ("scope_id", "id"), wanted, _ENTRIES):
        entries.setdefault(number, []).append(tuple(row))
    pasts = past_documents_of(connected, wanted)
    found: list[list[Revision]] = []
    # Memories that came together have an operation in common.
    known: dict[int, JournalledOperation] = {}
    for number, (key, scope_id) in enumerate(zip(keys, scopes, strict=True)):
        stored: Stored | None = None
        if live and scope_id is not None:
            stored = stored_memory(
                connected, tenant_id=known_tenant(connected, key.tenant), scope_id=scope_id, memory_id=key.id
            )
        own = _revisions(key, entries.get(number, ()), None if stored is None else stored.memory, known)
        found.append(past_revisions_of(key, pasts.get(number, ()), own=own) + own)
    return found


def _counted(
    connected: Connected,
    selector: ScopeSelector,
    selection: Selection,
    where: str,
    values: Sequence[object],
    direction: str,
) -> list[JournalledOperation]:
    touched = selection.condition("e", has_tenant=False)
    rows = connected.rows(
        f"SELECT {_OPERATION}, (SELECT json_group_object(effect, held) FROM ("
        f"SELECT e.effect, count(*) AS held FROM entries AS e WHERE e.operation = o.seq AND {touched.sql} "
        f"GROUP BY e.effect)) FROM operations AS o WHERE {where} ORDER BY o.seq {direction}",
        (*touched.values, *values),
    )
    return [_operation(selector.tenant, row) for row in rows]


def _revisions(
    key: MemoryKey, rows: Sequence[Row], live: Memory | None, known: dict[int, JournalledOperation]
) -> list[Revision]:
    """Each state after a change is the state before the next one, and at last what is stored. ``known``: operations by sequence;
    further ones are added."""
    found: list[Revision] = []
    after = live
    for row in reversed(rows):
        operation = known.get(row[0])
        if operation is None:
            operation = known[row[0]] = _operation(key.tenant, row[:_OPERATION_COLUMNS])
        revision = _revision(key, operation, row[_OPERATION_COLUMNS:], after=after)
        found.append(revision)
        after = revision.before
    found.reverse()
    return found


def _revision(key: MemoryKey, operation: JournalledOperation, row: Sequence[Any], *, after: Memory | None) -> Revision:
    change, part, effect, scrubbed, is_copy, document = row
    effect = _EFFECTS[effect]
    return Revision(
        operation=operation,
        key=key,
        effect=effect,
        before=None if document is None else memory_of_document(from_json(str(document))),
        after=None if effect is Effect.DELETED else after,
        scrubbed=bool(scrubbed),
        before_is_copy=bool(is_copy),
        position=Position(operation.sequence, change, part),
    )


def _operation(tenant: str, row: Row) -> JournalledOperation:
    sequence, operation_id, kind, actor, at, reason, details, run, counts = row
    return JournalledOperation(
        sequence=sequence,
        id=str(operation_id),
        tenant=tenant,
        kind=OperationKind(str(kind)),
        actor=str(actor),
        at=instant(at),
        reason=str(reason),
        counts={} if counts is None else from_json(str(counts)),
        details={} if details is None else from_json(str(details)),
        run=run,
    )
