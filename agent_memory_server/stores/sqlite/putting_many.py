"""An operation of many new memories: each table is written with a few statements for all of them, not with ten for each.

Whatever asks for a look at what is stored (an id that is taken, a copy of something, an edit) is left to ``committing``, which
applies it afterwards, one by one. What is stored in the end is the same either way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent_memory_server.domain.operations import Change, Effect, Embedded, Outcome, Put
from agent_memory_server.domain.records import Memory
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.stores.sqlite.comparison_marks import is_compared
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.filtering import ENTITY, TOPIC
from agent_memory_server.stores.sqlite.inserting import insert_many, insert_values
from agent_memory_server.stores.sqlite.journalling import ENTRY_COLUMNS, Journalling
from agent_memory_server.stores.sqlite.rows import MEMORY_VALUES, memory_values
from agent_memory_server.stores.sqlite.scoping import interned_scope
from agent_memory_server.stores.sqlite.vectors import (
    CHANGES_KEPT,
    TEXT_KIND,
    TOKENS_KIND,
    interned_space,
    known_space,
)
from agent_memory_server.stores.values import COUNT_BITS, COUNT_MAX, packed, sorted_terms, unpack_terms

MANY = 8
"""Fewer are not worth it."""
_LOOKED_UP_AT_ONCE = 200
_Owned = tuple[str, int]


@dataclass(slots=True)
class _New:
    """A memory that is about to be inserted."""

    number: int
    change: Put
    scope_id: int
    handle: int = 0

    @property
    def memory(self) -> Memory:
        return self.change.memory

    @property
    def live(self) -> bool:
        return self.change.memory.superseded_by is None

    @property
    def embedded(self) -> Sequence[Embedded]:
        change = self.change
        mine = () if change.embedded is None else (change.embedded,)
        return mine if change.carried is None else (*mine, *change.carried.vectors)


def put_many(journalling: Journalling, changes: Sequence[Change]) -> Mapping[int, Outcome]:
    """Insert those of the changes that are nothing but new memories; the outcomes by the number of the change."""
    if len(changes) < MANY:
        return {}
    puts = [change for change in changes if isinstance(change, Put) and change.previous_key is None]
    if len(puts) < len(changes) or any(each.memory.scope.tenant != journalling.tenant for each in puts):
        return {}
    new = _new(journalling, puts)
    if len(new) < MANY:
        return {}
    connected, tenant_id = journalling.connected, journalling.tenant_id
    first: int = (connected.value("SELECT max(seq) FROM sqlite_sequence WHERE name = 'memories'") or 0) + 1
    for handle, each in enumerate(new, first):
        each.handle = handle
    _insert_records(journalling, new)
    _insert_tags(connected, new, tenant_id=tenant_id)
    _insert_vectors(connected, new, tenant_id=tenant_id)
    _insert_due(connected, new, tenant_id=tenant_id)
    outcomes = {
        each.number: Outcome(
            key=each.memory.key, effect=Effect.CREATED, survivor=each.memory.superseded_by or each.memory.id
        )
        for each in new
    }
    insert_many(
        connected,
        "entries",
        ENTRY_COLUMNS,
        [
            journalling.row(
                each.number,
                0,
                scope_id=each.scope_id,
                memory_id=each.memory.id,
                effect=Effect.CREATED,
                survivor=outcomes[each.number].survivor,
            )
            for each in new
        ],
    )
    return outcomes


# -- which of them are new --------------------------------------------------------------------------------------------


def _new(journalling: Journalling, puts: Sequence[Put]) -> list[_New]:
    """Those whose identity is free, and, where copies step back, whose hash nothing else has in the same scope."""
    connected = journalling.connected
    owners = [each.memory.scope for each in puts]
    scopes = [interned_scope(connected, owner.tenant, owner.namespace, owner.user_id) for owner in owners]
    ids: list[_Owned] = [(put.memory.id, scope) for put, scope in zip(puts, scopes, strict=True)]
    hashes: list[_Owned] = [(put.memory.memory_hash, scope) for put, scope in zip(puts, scopes, strict=True)]
    wanted = {each for put, each in zip(puts, hashes, strict=True) if put.deduplicate and each[0]}
    taken = _standing(journalling, "id", ids) | _repeated(ids)
    # Which of several that say the same comes first decides what becomes of the others.
    copied = _standing(journalling, "memory_hash", list(wanted)) | (wanted & _repeated(hashes))
    return [
        _New(number, put, scopes[number])
        for number, put in enumerate(puts)
        if put.if_operation is None and ids[number] not in taken and hashes[number] not in copied
    ]


def _repeated(values: Sequence[_Owned]) -> set[_Owned]:
    return {value for value, count in Counter(values).items() if count > 1}


def _standing(journalling: Journalling, column: str, values: Sequence[_Owned]) -> set[_Owned]:
    """Which of these are there already, in the tenant."""
    found: set[_Owned] = set()
    for first in range(0, len(values), _LOOKED_UP_AT_ONCE):
        some = values[first : first + _LOOKED_UP_AT_ONCE]
        rows = journalling.connected.rows(
            f"WITH wanted (value, scope_id) AS (VALUES {','.join(['(?,?)'] * len(some))}) "
            f"SELECT w.value, w.scope_id FROM wanted AS w CROSS JOIN memories AS m "
            f"ON m.tenant_id = ? AND m.{column} = w.value AND m.scope_id = w.scope_id",
            (*(part for each in some for part in each), journalling.tenant_id),
        )
        found.update((value, scope_id) for value, scope_id in rows)
    return found


# -- table by table ---------------------------------------------------------------------------------------------------


def _insert_records(journalling: Journalling, new: Sequence[_New]) -> None:
    """The memories with their index terms, and the statistics of their scopes."""
    connected = journalling.connected
    known: dict[str, int] = {}
    records: list[tuple[object, ...]] = []
    terms_of: list[bytes] = []
    for each in new:
        memory, carried = each.memory, each.change.carried
        terms = packed(sorted_terms(connected.token_key, each.change.tokens, known))
        terms_of.append(terms)
        values = memory_values(
            memory,
            tenant_id=journalling.tenant_id,
            scope_id=each.scope_id,
            is_copy=carried is not None and carried.is_copy,
            terms=terms,
            revision=1,
            operation_id=journalling.operation_id,
        )
        origin = journalling.kind.value if carried is None else carried.origin
        newest = next((one for one in reversed(each.embedded) if one.kind == TEXT_KIND), None)
        space_id = None if newest is None else interned_space(connected, newest.model, newest.kind)
        has_vector = newest is not None and newest.vector is not None
        records.append((each.handle, *values, origin, space_id, has_vector))
    insert_many(connected, "memories", ("handle", *MEMORY_VALUES, "origin", "space_id", "has_vector"), records)
    _insert_postings(connected, new, terms_of)


def _insert_postings(connected: Connected, new: Sequence[_New], terms_of: Sequence[bytes]) -> None:
    """Which terms each memory has and how often, and how much text its scope holds now.

    There are twenty times as many as memories: they are made as columns of numbers.
    """
    terms = unpack_terms(b"".join(terms_of))
    sizes = np.array([len(each) // terms.itemsize for each in terms_of])
    counts = terms & COUNT_MAX
    added_up = np.concatenate(([0], np.cumsum(counts)))
    ends = np.cumsum(sizes)
    lengths = added_up[ends] - added_up[ends - sizes]
    of_memories = np.array([(each.scope_id, each.handle, each.live) for each in new], dtype=np.int64)
    scopes, handles, live, length = np.repeat(np.column_stack((of_memories, lengths)), sizes, axis=0).T
    tokens = terms >> COUNT_BITS
    # In the order of the table: side by side on its pages.
    order = np.lexsort((handles, tokens, scopes))
    rows = np.column_stack((scopes, tokens, handles, live, counts, length))[order]
    columns = ("scope_id", "token", "handle", "live", "count", "length")
    insert_values(connected, "postings", columns, rows.ravel().tolist())
    documents: Counter[int] = Counter()
    words: Counter[int] = Counter()
    for each, held in zip(new, lengths.tolist(), strict=True):
        if each.live:
            documents[each.scope_id] += 1
            words[each.scope_id] += held
    connected.many(
        "UPDATE scopes SET documents = documents + ?, terms = terms + ? WHERE id = ?",
        [(count, words[scope_id], scope_id) for scope_id, count in documents.items()],
    )


def _insert_tags(connected: Connected, new: Sequence[_New], *, tenant_id: int) -> None:
    tags = {
        (tenant_id, kind, value, each.scope_id, each.handle)
        for each in new
        for kind, values in ((TOPIC, each.memory.topics), (ENTITY, each.memory.entities))
        for value in values
    }
    insert_many(connected, "tags", ("tenant_id", "kind", "value", "scope_id", "handle"), sorted(tags))


def _insert_vectors(connected: Connected, new: Sequence[_New], *, tenant_id: int) -> None:
    """Each space holds one vector of a memory: the last one that is given for it."""
    vectors: dict[tuple[int, int], tuple[Any, ...]] = {}
    changes: list[tuple[int, int, int]] = []
    for each in new:
        for embedded in each.embedded:
            space_id = interned_space(connected, embedded.model, embedded.kind)
            changes.append((space_id, tenant_id, each.handle))
            vector = None if embedded.vector is None else np.ascontiguousarray(embedded.vector, dtype="<f4").tobytes()
            placed = [(space_id, vector)]
            if embedded.kind == TEXT_KIND:
                tokens = None if vector is None else embedded.tokens
                known = interned_space if tokens is not None else known_space
                tokens_id = known(connected, embedded.model, TOKENS_KIND)
                placed += [] if tokens_id is None else [(tokens_id, tokens)]
            for place, held in placed:
                vectors.pop((each.handle, place), None)
                if held is not None:
                    vectors[each.handle, place] = (place, tenant_id, each.scope_id, each.handle, each.live, held)
    columns = ("space_id", "tenant_id", "scope_id", "handle", "live", "vector")
    insert_many(connected, "vectors", columns, list(vectors.values()))
    insert_many(connected, "vector_changes", ("space_id", "tenant_id", "handle"), changes)
    if changes:
        connected.execute("DELETE FROM vector_changes WHERE seq <= ?", (connected.last_id - CHANGES_KEPT,))


def _insert_due(connected: Connected, new: Sequence[_New], *, tenant_id: int) -> None:
    """Marks of those that are to be compared with others."""
    due = [
        (each.handle, tenant_id, each.scope_id, (Stage.NEW if each.change.deduplicate else Stage.CHANGED).value)
        for each in new
        if is_compared(each.memory) and not (each.change.carried is not None and each.change.carried.compared)
    ]
    columns = ("handle", "tenant_id", "scope_id", "stage", "stamp")
    insert_many(connected, "comparisons_due", columns, due, computed="random()")
