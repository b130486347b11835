"""One memory's rows: the record, its tags, its index terms with the scope's statistics, its vectors.

What keeps these tables in step is here and nowhere else; each function runs within its caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent_memory_server.domain.operations import Embedded
from agent_memory_server.domain.records import Memory
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.stores.sqlite import vectors
from agent_memory_server.stores.sqlite.comparison_marks import forget_due, is_compared, mark_due
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.encoding import MEMORY_COLUMNS, MEMORY_TABLES, extra_of, memory_of
from agent_memory_server.stores.sqlite.filtering import ENTITY, TOPIC
from agent_memory_server.stores.values import COUNT_MAX, micros, micros_or_none, terms_length, to_json, unpack_terms


@dataclass(frozen=True, slots=True)
class Stored:
    """A memory as it stands in the file, with what belongs to its row."""

    handle: int
    tenant_id: int
    scope_id: int
    is_copy: bool
    terms: bytes
    memory: Memory

    @property
    def live(self) -> bool:
        return self.memory.superseded_by is None


_SELECT = f"SELECT m.handle, m.tenant_id, m.scope_id, m.is_copy, m.terms, {MEMORY_COLUMNS} FROM {MEMORY_TABLES} "


def stored_memory(connected: Connected, *, tenant_id: int | None, scope_id: int, memory_id: str) -> Stored | None:
    row = connected.one(
        _SELECT + "WHERE m.tenant_id = ? AND m.id = ? AND m.scope_id = ?", (tenant_id, memory_id, scope_id)
    )
    return None if row is None else _stored(row)


def stored_by_handle(connected: Connected, handle: int) -> Stored | None:
    row = connected.one(_SELECT + "WHERE m.handle = ?", (handle,))
    return None if row is None else _stored(row)


def _stored(row: Row) -> Stored:
    handle, tenant_id, scope_id, is_copy, terms, *columns = row
    return Stored(handle, tenant_id, scope_id, bool(is_copy), terms, memory_of(columns))


MEMORY_VALUES = (
    "tenant_id", "scope_id", "id", "session_id", "superseded_by", "is_copy", "created_at", "updated_at",
    "last_accessed", "access_count", "expires_at", "event_date", "memory_type", "strategy", "memory_hash", "pinned",
    "revision", "operation_id", "extra", "topics", "entities", "terms", "text",
)  # fmt: skip
_INSERTED = (*MEMORY_VALUES, "origin", "space_id", "has_vector")
_INSERT = f"INSERT INTO memories ({', '.join(_INSERTED)}) VALUES ({', '.join('?' * len(_INSERTED))})"
_UPDATE = f"UPDATE memories SET {', '.join(f'{name} = ?' for name in MEMORY_VALUES)} WHERE handle = ?"


def _values(memory: Memory, *, tenant_id: int, scope_id: int, is_copy: bool, terms: bytes) -> tuple[object, ...]:
    return memory_values(
        memory,
        tenant_id=tenant_id,
        scope_id=scope_id,
        is_copy=is_copy,
        terms=terms,
        revision=memory.revision,
        operation_id=memory.operation_id,
    )


def memory_values(
    memory: Memory, *, tenant_id: int, scope_id: int, is_copy: bool, terms: bytes, revision: int, operation_id: str
) -> tuple[object, ...]:
    """The values of ``MEMORY_VALUES``, in that order."""
    return (
        tenant_id,
        scope_id,
        memory.id,
        memory.scope.session_id,
        memory.superseded_by,
        int(is_copy),
        micros(memory.created_at),
        micros(memory.updated_at),
        micros(memory.last_accessed),
        memory.access_count,
        micros_or_none(memory.expires_at),
        micros_or_none(memory.event_date),
        memory.memory_type.value,
        memory.extraction_strategy,
        memory.memory_hash,
        int(memory.pinned),
        revision,
        operation_id,
        extra_of(memory),
        to_json(memory.topics) if memory.topics else None,
        to_json(memory.entities) if memory.entities else None,
        terms,
        memory.text,
    )


def insert_memory(
    connected: Connected,
    memory: Memory,
    *,
    tenant_id: int,
    scope_id: int,
    is_copy: bool,
    terms: bytes,
    origin: str,
    due: Stage,
    embedded: Embedded | None = None,
) -> int:
    """A new record, to be compared at this stage; returns its handle.

    It is marked with the vector of its text that the caller is about to store.
    """
    values = _values(memory, tenant_id=tenant_id, scope_id=scope_id, is_copy=is_copy, terms=terms)
    connected.execute(_INSERT, (*values, origin, *vectors.marks(connected, embedded)))
    handle = connected.last_id
    _add_tags(connected, memory, handle=handle, tenant_id=tenant_id, scope_id=scope_id)
    _add_terms(connected, terms, handle=handle, scope_id=scope_id, live=memory.superseded_by is None)
    if is_compared(memory):
        mark_due(connected, handle, tenant_id=tenant_id, scope_id=scope_id, stage=due)
    return handle


def update_memory(
    connected: Connected, stored: Stored, memory: Memory, *, scope_id: int, is_copy: bool, terms: bytes
) -> None:
    """Replace the record under its handle; vectors of another text go, others follow."""
    live = memory.superseded_by is None
    moved = scope_id != stored.scope_id
    if moved or memory.topics != stored.memory.topics or memory.entities != stored.memory.entities:
        connected.execute("DELETE FROM tags WHERE handle = ?", (stored.handle,))
        _add_tags(connected, memory, handle=stored.handle, tenant_id=stored.tenant_id, scope_id=scope_id)
    if moved or terms != stored.terms or live != stored.live:
        _remove_terms(connected, stored)
        _add_terms(connected, terms, handle=stored.handle, scope_id=scope_id, live=live)
    if memory.text != stored.memory.text:
        vectors.drop_vectors(connected, stored.handle)
        connected.execute("UPDATE memories SET space_id = NULL, has_vector = 0 WHERE handle = ?", (stored.handle,))
    elif moved or live != stored.live:
        vectors.move_vectors(connected, stored.handle, scope_id=scope_id, live=live)
    values = _values(memory, tenant_id=stored.tenant_id, scope_id=scope_id, is_copy=is_copy, terms=terms)
    connected.execute(_UPDATE, (*values, stored.handle))
    if not is_compared(memory):
        forget_due(connected, stored.handle)
    elif moved or not stored.live or _compares_anew(memory, stored.memory):
        mark_due(connected, stored.handle, tenant_id=stored.tenant_id, scope_id=scope_id)


def _compares_anew(new: Memory, old: Memory) -> bool:
    """Whether something changed that decides about duplicates."""
    return (
        new.text != old.text
        or new.memory_hash != old.memory_hash
        or new.memory_type is not old.memory_type
        or new.name != old.name
        or new.pinned != old.pinned
        or (new.event_date, new.valid_from, new.valid_to) != (old.event_date, old.valid_from, old.valid_to)
    )


def renew_handle(connected: Connected, stored: Stored) -> Stored:
    """Give a memory that changes its owner a new handle, so that a search in its old scope cannot return it any more."""
    vectors.note_changes(connected, stored.handle)
    handle: int = connected.value("SELECT max(seq) FROM sqlite_sequence WHERE name = 'memories'") + 1
    connected.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'memories'", (handle,))
    forget_due(connected, stored.handle)
    for table in ("memories", "tags", "vectors"):
        connected.execute(f"UPDATE {table} SET handle = ? WHERE handle = ?", (handle, stored.handle))
    connected.execute(
        "UPDATE postings SET handle = ? WHERE scope_id = ? AND handle = ? "
        "AND token IN (SELECT value >> 15 FROM json_each(?))",
        (handle, stored.scope_id, stored.handle, to_json(unpack_terms(stored.terms).tolist())),
    )
    return Stored(handle, stored.tenant_id, stored.scope_id, stored.is_copy, stored.terms, stored.memory)


def remove_memory(connected: Connected, stored: Stored) -> None:
    """Take away the record and everything that was made of it."""
    _remove_terms(connected, stored)
    forget_due(connected, stored.handle)
    vectors.drop_vectors(connected, stored.handle)
    connected.execute("DELETE FROM tags WHERE handle = ?", (stored.handle,))
    connected.execute("DELETE FROM memories WHERE handle = ?", (stored.handle,))


def _add_tags(connected: Connected, memory: Memory, *, handle: int, tenant_id: int, scope_id: int) -> None:
    tags = [(TOPIC, value) for value in memory.topics] + [(ENTITY, value) for value in memory.entities]
    if tags:
        connected.many(
            "INSERT OR IGNORE INTO tags (tenant_id, kind, value, scope_id, handle) VALUES (?, ?, ?, ?, ?)",
            [(tenant_id, kind, value, scope_id, handle) for kind, value in tags],
        )


def _add_terms(connected: Connected, terms: bytes, *, handle: int, scope_id: int, live: bool) -> None:
    """One statement whatever their number: each statement gives up the interpreter lock.

    ``OR FAIL``: a failure undoes the whole job anyway, and SQLite then keeps no journal of the statement, whose cost grows with
    what the transaction has written so far.
    """
    length = terms_length(terms)
    if terms:
        connected.execute(
            "INSERT OR FAIL INTO postings (scope_id, token, handle, live, count, length) "
            f"SELECT ?, value >> 15, ?, ?, value & {COUNT_MAX}, ? FROM json_each(?)",
            (scope_id, handle, int(live), length, to_json(unpack_terms(terms).tolist())),
        )
    if live:
        _count(connected, scope_id, documents=1, terms=length)


def _remove_terms(connected: Connected, stored: Stored) -> None:
    if stored.terms:
        connected.execute(
            "DELETE FROM postings WHERE scope_id = ? AND token IN (SELECT value >> 15 FROM json_each(?)) AND handle = ?",
            (stored.scope_id, to_json(unpack_terms(stored.terms).tolist()), stored.handle),
        )
    if stored.live:
        _count(connected, stored.scope_id, documents=-1, terms=-terms_length(stored.terms))


def _count(connected: Connected, scope_id: int, *, documents: int, terms: int) -> None:
    connected.execute(
        "UPDATE scopes SET documents = documents + ?, terms = terms + ? WHERE id = ?", (documents, terms, scope_id)
    )
