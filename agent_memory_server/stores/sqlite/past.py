"""What happened to memories in other stores, as imports brought it: each function runs within its caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.transfer import HistoryRecord
from agent_memory_server.ports.journal import Revision
from agent_memory_server.stores.past_documents import past_documents, past_revisions
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import document_of, from_json, memory_of_document
from agent_memory_server.stores.sqlite.inserting import insert_many
from agent_memory_server.stores.sqlite.lookups import rows_of_each
from agent_memory_server.stores.sqlite.scoping import Selection, interned_scope
from agent_memory_server.stores.values import micros, to_json


def put_past(connected: Connected, records: Sequence[HistoryRecord]) -> None:
    """In place of what was brought before. A past without its memory was left behind by a deletion meanwhile: it goes too."""
    places = [
        (interned_scope(connected, each.memory_key.tenant, each.memory_key.namespace, each.memory_key.user_id), each)
        for each in records
    ]
    present = _present(connected, [(scope_id, each.memory_key.id) for scope_id, each in places])
    rows: dict[tuple[int, str], list[tuple[object, ...]]] = {}
    for index, (scope_id, record) in enumerate(places):
        if record.is_of_gone is (index in present):
            continue
        memory_id = record.memory_key.id
        documents = past_documents(record.revisions, document_of)
        rows[scope_id, memory_id] = [
            (scope_id, memory_id, number, micros(revision.at), revision.effect.value, to_json(document))
            for number, (revision, document) in enumerate(zip(record.revisions, documents, strict=True))
        ]
    for index in past_documents_of(connected, list(rows)):
        scope_id, memory_id = list(rows)[index]
        drop_past(connected, scope_id=scope_id, memory_id=memory_id)
    columns = ("scope_id", "memory_id", "number", "at", "effect", "document")
    insert_many(connected, "imported_revisions", columns, [row for each in rows.values() for row in each])


def _present(connected: Connected, keys: Sequence[tuple[int, str]]) -> set[int]:
    """Which of these memories, named by scope and id, are there: by the number of the key."""
    found = rows_of_each(
        connected,
        ("scope_id", "id"),
        keys,
        "SELECT w.n FROM wanted AS w CROSS JOIN scopes AS c ON c.id = w.scope_id CROSS JOIN memories AS m "
        "ON m.tenant_id = c.tenant_id AND m.id = w.id AND m.scope_id = w.scope_id ORDER BY w.n",
    )
    return {number for (number,) in found}


def past_of(
    connected: Connected, key: MemoryKey, *, scope_id: int, after: int, own: Sequence[Revision]
) -> list[Revision]:
    """The revisions behind number ``after``, in order; ``own``: what happened here since."""
    rows: list[Any] = connected.rows(
        "SELECT number, document FROM imported_revisions WHERE scope_id = ? AND memory_id = ? AND number > ? ORDER BY number",
        (scope_id, key.id, after),
    )
    return past_revisions_of(key, rows, own=own)


def past_documents_of(
    connected: Connected, keys: Sequence[tuple[int | None, str]]
) -> Mapping[int, Sequence[tuple[int, str]]]:
    """What was told of each of many memories, named by scope and id: by the number of the key, numbers and documents in order."""
    found: dict[int, list[tuple[int, str]]] = {}
    for key, number, document in rows_of_each(
        connected,
        ("scope_id", "id"),
        keys,
        "SELECT w.n, i.number, i.document FROM wanted AS w CROSS JOIN imported_revisions AS i ON i.scope_id = w.scope_id "
        "AND i.memory_id = w.id ORDER BY w.n, i.number",
    ):
        found.setdefault(key, []).append((number, document))
    return found


def past_revisions_of(key: MemoryKey, rows: Sequence[tuple[int, str]], *, own: Sequence[Revision]) -> list[Revision]:
    """The revisions of numbers and documents; ``own``: what happened here since."""
    if not rows:
        return []
    documents = [(number, from_json(document)) for number, document in rows]
    return past_revisions(key, documents, memory_of_document, own=own)


def drop_past(connected: Connected, *, scope_id: int, memory_id: str) -> None:
    """The memory's text goes, and with it everything that was told of it."""
    connected.execute("DELETE FROM imported_revisions WHERE scope_id = ? AND memory_id = ?", (scope_id, memory_id))


def move_past(connected: Connected, *, scope_id: int, memory_id: str, new_scope_id: int, new_memory_id: str) -> None:
    """The memory has another key from now on."""
    connected.execute(
        "UPDATE OR REPLACE imported_revisions SET scope_id = ?, memory_id = ? WHERE scope_id = ? AND memory_id = ?",
        (new_scope_id, new_memory_id, scope_id, memory_id),
    )


_IS_GONE = (
    "NOT EXISTS (SELECT 1 FROM memories AS m WHERE m.tenant_id = s.tenant_id AND m.id = i.memory_id "
    "AND m.scope_id = i.scope_id)"
)


def gone_owners(connected: Connected, selection: Selection, *, memory_id: str, limit: int) -> list[tuple[str, str]]:
    """Namespace and user of those who had a memory with this id, as an import told, and have none."""
    where = selection.condition("i", has_tenant=False)
    return [
        (namespace, user_id)
        for namespace, user_id in connected.rows(
            "SELECT DISTINCT s.namespace, s.user_id FROM imported_revisions AS i INDEXED BY imported_revisions_gone "
            "JOIN scopes AS s ON s.id = i.scope_id "
            f"WHERE i.memory_id = ? AND i.effect = 'deleted' AND {where.sql} AND {_IS_GONE} ORDER BY i.scope_id LIMIT ?",
            (memory_id, *where.values, limit),
        )
    ]


def told_of_gone(connected: Connected, selection: Selection, *, limit: int) -> list[tuple[str, str, str]]:
    """Namespace, user and id of memories that are gone, of which an import told."""
    where = selection.condition("i", has_tenant=False)
    return [
        (namespace, user_id, memory_id)
        for namespace, user_id, memory_id in connected.rows(
            "SELECT DISTINCT s.namespace, s.user_id, i.memory_id FROM imported_revisions AS i "
            f"JOIN scopes AS s ON s.id = i.scope_id WHERE {where.sql} AND {_IS_GONE} LIMIT ?",
            (*where.values, limit),
        )
    ]


def thin_past(connected: Connected, tenant_id: int | None, *, gone_before_us: int, limit: int) -> int:
    """Drop what was told of memories that went before that time elsewhere, and were never here."""
    rows = connected.rows(
        "SELECT DISTINCT i.scope_id, i.memory_id FROM imported_revisions AS i JOIN scopes AS s ON s.id = i.scope_id "
        f"WHERE s.tenant_id = ? AND i.effect = 'deleted' AND i.at < ? AND {_IS_GONE} "
        # What was here and went has its own time.
        "AND NOT EXISTS (SELECT 1 FROM entries AS e WHERE e.scope_id = i.scope_id AND e.memory_id = i.memory_id "
        "AND e.before IS NOT NULL) LIMIT ?",
        (tenant_id, gone_before_us, limit),
    )
    connected.many("DELETE FROM imported_revisions WHERE scope_id = ? AND memory_id = ?", rows)
    return len(rows)
