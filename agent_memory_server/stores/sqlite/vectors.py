"""Writing vectors: a row for each (space, memory), clustered by owner scope, with a log of changes for packed copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent_memory_server.domain.operations import Embedded
from agent_memory_server.domain.search import Handle
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.values import to_json

TEXT_KIND = "text"
TOKENS_KIND = "tokens"
"""The packed vectors of a text's words: beside its vector, never without it."""
CHANGES_KEPT = 20_000
"""Newest vector changes that the file remembers; a packed copy that is further behind is built anew."""


def known_space(connected: Connected, model: str, kind: str = TEXT_KIND) -> int | None:
    """The number of a vector space, or None when nothing was ever stored in it."""
    known = connected.spaces.get((model, kind))
    if known is None:
        known = connected.value("SELECT id FROM spaces WHERE model = ? AND kind = ?", (model, kind))
        if known is not None:
            connected.spaces[(model, kind)] = known
    return known


def interned_space(connected: Connected, model: str, kind: str) -> int:
    known = known_space(connected, model, kind)
    if known is None:
        connected.execute("INSERT INTO spaces (model, kind) VALUES (?, ?)", (model, kind))
        known = connected.spaces[(model, kind)] = connected.last_id
    return known


def marks(connected: Connected, embedded: Embedded | None) -> tuple[int | None, int]:
    """``space_id`` and ``has_vector`` of a memory with this vector of its text; without one it has still to be embedded."""
    if embedded is None or embedded.kind != TEXT_KIND:
        return None, 0
    return interned_space(connected, embedded.model, embedded.kind), int(embedded.vector is not None)


def store_vector(
    connected: Connected,
    embedded: Embedded,
    *,
    handle: int,
    tenant_id: int,
    scope_id: int,
    live: bool,
    is_marked: bool = False,
) -> None:
    """Store a vector, or the mark that there is nothing to embed, and note it on the memory (``is_marked``: that is done)."""
    space_id = interned_space(connected, embedded.model, embedded.kind)
    place = (space_id, tenant_id, scope_id, handle)
    if embedded.vector is None:
        connected.execute(
            "DELETE FROM vectors WHERE space_id = ? AND tenant_id = ? AND scope_id = ? AND handle = ?", place
        )
    else:
        packed = np.ascontiguousarray(embedded.vector, dtype="<f4").tobytes()
        connected.execute(
            "INSERT OR REPLACE INTO vectors (space_id, tenant_id, scope_id, handle, live, vector) VALUES (?, ?, ?, ?, ?, ?)",
            (*place, int(live), packed),
        )
    if embedded.kind == TEXT_KIND and not is_marked:
        connected.execute(
            "UPDATE memories SET space_id = ?, has_vector = ? WHERE handle = ?",
            (*marks(connected, embedded), handle),
        )
    connected.execute(
        "INSERT INTO vector_changes (space_id, tenant_id, handle) VALUES (?, ?, ?)", (space_id, tenant_id, handle)
    )
    _trim_changes(connected)
    if embedded.kind == TEXT_KIND:
        _store_tokens(connected, embedded, (tenant_id, scope_id, handle), live=live)


def _store_tokens(connected: Connected, embedded: Embedded, place: tuple[int, int, int], *, live: bool) -> None:
    """Put the words' vectors beside the text's, or take away those that were there."""
    if embedded.tokens is not None and embedded.vector is not None:
        connected.execute(
            "INSERT OR REPLACE INTO vectors (space_id, tenant_id, scope_id, handle, live, vector) VALUES (?, ?, ?, ?, ?, ?)",
            (interned_space(connected, embedded.model, TOKENS_KIND), *place, int(live), embedded.tokens),
        )
        return
    space_id = known_space(connected, embedded.model, TOKENS_KIND)
    if space_id is not None:
        connected.execute(
            "DELETE FROM vectors WHERE space_id = ? AND tenant_id = ? AND scope_id = ? AND handle = ?",
            (space_id, *place),
        )


def token_vectors(connected: Connected, handles: Sequence[int], *, model: str) -> dict[Handle, bytes]:
    """The port's ``token_vectors``."""
    space_id = known_space(connected, model, TOKENS_KIND)
    if space_id is None or not handles:
        return {}
    rows = connected.rows(
        "SELECT m.handle, v.vector FROM json_each(?) AS h CROSS JOIN memories AS m ON m.handle = h.value "
        "CROSS JOIN vectors AS v ON v.space_id = ? AND v.tenant_id = m.tenant_id AND v.scope_id = m.scope_id "
        "AND v.handle = m.handle",
        (to_json(list(handles)), space_id),
    )
    return {int(handle): bytes(packed) for handle, packed in rows}


def note_changes(connected: Connected, handle: int) -> None:
    """Log that a memory's vectors change or go, before they do."""
    connected.execute(
        "INSERT INTO vector_changes (space_id, tenant_id, handle) SELECT space_id, tenant_id, handle FROM vectors "
        "WHERE handle = ?",
        (handle,),
    )


def drop_vectors(connected: Connected, handle: int) -> None:
    note_changes(connected, handle)
    connected.execute("DELETE FROM vectors WHERE handle = ?", (handle,))


def move_vectors(connected: Connected, handle: int, *, scope_id: int, live: bool) -> None:
    """Follow the memory to another owner scope of its tenant, or into or out of the superseded."""
    note_changes(connected, handle)
    connected.execute("UPDATE vectors SET scope_id = ?, live = ? WHERE handle = ?", (scope_id, int(live), handle))


def _trim_changes(connected: Connected) -> None:
    newest = connected.last_id
    if newest % 256 == 0:
        connected.execute("DELETE FROM vector_changes WHERE seq <= ?", (newest - CHANGES_KEPT,))
