"""A packed copy of a tenant's vectors: one sign bit a dimension, in memory, to pick what is worth comparing exactly.

It is a cache of the file and of nothing else: each use first applies the changes that the file has logged since, by this
process or another, or builds the copy anew when the log does not reach back far enough.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.operations import Vector
from agent_memory_server.stores.sqlite.connections import Connected

RESCORED_MIN = 1_000
RESCORED_PER_RESULT = 40
"""How many of the nearest by sign bits are compared exactly, for each result that is asked for."""
COPIES_MAX = 4
"""Copies held at once. One of a million vectors of 384 dimensions takes about 56 MB."""
_CHUNK = 20_000


class PackedCopy:
    """Sorted handles with their sign bits, as of one sequence of the change log. Immutable: updates make another."""

    def __init__(self, handles: NDArray[np.int64], bits: NDArray[np.uint64], *, dimensions: int, sequence: int) -> None:
        self.handles = handles
        self.bits = bits
        self.dimensions = dimensions
        self.sequence = sequence

    def nearest(self, query: Vector, *, allowed: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
        """Handles of the allowed ones nearest by sign bits: enough to hold the true nearest in almost every case."""
        bits, handles = self.bits, self.handles
        if len(allowed) != len(handles) or not np.array_equal(allowed, handles):
            places = np.searchsorted(handles, allowed)
            places = places[places < len(handles)]
            places = places[np.isin(handles[places], allowed)]
            bits, handles = bits[places], handles[places]
        wanted = max(RESCORED_MIN, RESCORED_PER_RESULT * limit)
        if len(handles) <= wanted:
            return handles
        target = _pack(query[None, :])[0]
        differing = np.zeros(len(handles), dtype=np.uint16)
        for word in range(bits.shape[1]):
            differing += np.bitwise_count(bits[:, word] ^ target[word])
        return handles[np.argpartition(differing, wanted)[:wanted]]


def _pack(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Sign bits in 64-bit words, padded with zeros."""
    signs = np.packbits(vectors > 0, axis=1)
    width = -(-signs.shape[1] // 8) * 8
    padded = np.zeros((len(vectors), width), dtype=np.uint8)
    padded[:, : signs.shape[1]] = signs
    return padded.view(np.uint64)


class PackedVectors:
    """The copies of one store, by (space, tenant); the least recently used goes first. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copies: OrderedDict[tuple[int, int, int], PackedCopy] = OrderedDict()

    def current(self, connected: Connected, *, space_id: int, tenant_id: int, dimensions: int) -> PackedCopy | None:
        """The copy as this read sees the file. None when numpy lacks the bit count that makes it worthwhile."""
        if not hasattr(np, "bitwise_count"):
            return None
        key = (space_id, tenant_id, dimensions)
        with self._lock:
            copy = self._copies.get(key)
            copy = _updated(connected, copy, key) if copy is not None else None
            if copy is None:
                copy = _built(connected, key)
            self._copies[key] = copy
            self._copies.move_to_end(key)
            while len(self._copies) > COPIES_MAX:
                self._copies.popitem(last=False)
            return copy


def _newest(connected: Connected) -> int:
    return connected.value("SELECT ifnull(max(seq), 0) FROM vector_changes")


def _built(connected: Connected, key: tuple[int, int, int]) -> PackedCopy:
    space_id, tenant_id, dimensions = key
    handles: list[NDArray[np.int64]] = []
    bits: list[NDArray[np.uint64]] = []
    place = (-1, -1)
    while True:
        row = connected.one(
            "SELECT json_group_array(handle), CAST(group_concat(CAST(vector AS TEXT), '') AS BLOB), max(scope_id) FROM ("
            "SELECT scope_id, handle, vector FROM vectors WHERE space_id = ? AND tenant_id = ? "
            "AND (scope_id, handle) > (?, ?) AND length(vector) = ? ORDER BY scope_id, handle LIMIT ?)",
            (space_id, tenant_id, *place, dimensions * 4, _CHUNK),
        )
        if row is None or row[1] is None:
            break
        numbers = np.array(orjson.loads(row[0]), dtype=np.int64)
        handles.append(numbers)
        bits.append(_pack(np.frombuffer(row[1], dtype="<f4").reshape(len(numbers), dimensions)))
        place = (row[2], int(numbers[-1]))
    if not handles:
        words = -(-dimensions // 64)
        return PackedCopy(
            np.empty(0, dtype=np.int64),
            np.empty((0, words), dtype=np.uint64),
            dimensions=dimensions,
            sequence=_newest(connected),
        )
    joined, packed = np.concatenate(handles), np.concatenate(bits)
    order = np.argsort(joined, kind="stable")
    return PackedCopy(joined[order], packed[order], dimensions=dimensions, sequence=_newest(connected))


def _updated(connected: Connected, copy: PackedCopy, key: tuple[int, int, int]) -> PackedCopy | None:
    """The copy with the logged changes since; None when the log does not reach back to it."""
    space_id, tenant_id, dimensions = key
    newest = _newest(connected)
    if newest <= copy.sequence:
        return copy
    oldest = connected.value("SELECT min(seq) FROM vector_changes")
    if oldest > copy.sequence + 1:
        return None
    text = connected.value(
        "SELECT json_group_array(DISTINCT handle) FROM vector_changes WHERE seq > ? AND space_id = ? AND tenant_id = ?",
        (copy.sequence, space_id, tenant_id),
    )
    changed = np.array(orjson.loads(text), dtype=np.int64)
    if not len(changed):
        return PackedCopy(copy.handles, copy.bits, dimensions=dimensions, sequence=newest)
    row = connected.one(
        "SELECT json_group_array(v.handle), CAST(group_concat(CAST(v.vector AS TEXT), '') AS BLOB) FROM json_each(?) AS h "
        "JOIN vectors AS v ON v.handle = h.value AND v.space_id = ? AND v.tenant_id = ? AND length(v.vector) = ?",
        (text, space_id, tenant_id, dimensions * 4),
    )
    kept = ~np.isin(copy.handles, changed)
    handles, bits = copy.handles[kept], copy.bits[kept]
    if row is not None and row[1] is not None:
        numbers = np.array(orjson.loads(row[0]), dtype=np.int64)
        fresh = _pack(np.frombuffer(row[1], dtype="<f4").reshape(len(numbers), dimensions))
        handles, bits = np.concatenate([handles, numbers]), np.concatenate([bits, fresh])
        order = np.argsort(handles, kind="stable")
        handles, bits = handles[order], bits[order]
    return PackedCopy(handles, bits, dimensions=dimensions, sequence=newest)
