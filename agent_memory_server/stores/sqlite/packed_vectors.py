"""A packed copy of a tenant's vectors: one byte a dimension, in memory, to pick what is worth comparing exactly.

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
from agent_memory_server.stores.sqlite.connections import Connected, Row

RESCORED_MORE = 100
"""How many more than asked for are compared exactly: the bytes err by less than a thousandth."""
BYTES_MAX = 512 * 1024 * 1024
"""All copies together; the least recently used go first. A million vectors of 256 dimensions take 270 MB."""
_CHUNK = 20_000
_SPARE_MIN = 1_024
"""Rows of room behind a copy that has grown; with an eighth of it, growing row by row copies it a few times, not each time."""
_ROWS_AT_ONCE = 2_048
"""Rows that are widened and multiplied together: what fits the processor's cache."""
_JOINED = "json_group_array(handle), json_group_array(live), CAST(group_concat(CAST(vector AS TEXT), '') AS BLOB)"


class PackedCopy:
    """Sorted handles with their vectors in bytes, as of one sequence of the change log. Immutable: updates make another."""

    def __init__(
        self,
        handles: NDArray[np.int64],
        live: NDArray[np.bool_],
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
        *,
        sequence: int,
        room: _Room | None = None,
    ) -> None:
        """``room``: where more rows can be added behind these, which are its first."""
        self.handles = handles
        self.live = live
        self.codes = codes
        self.scales = scales
        self.sequence = sequence
        self.room = room

    @property
    def size_bytes(self) -> int:
        return self.codes.nbytes + self.handles.nbytes + self.scales.nbytes + self.live.nbytes

    def chosen(
        self, *, allowed: NDArray[np.int64] | None, without: NDArray[np.int64], include_superseded: bool
    ) -> NDArray[np.bool_]:
        """Which rows take part: the allowed handles (None: all that are live), less those ``without``."""
        if allowed is None:
            mask = np.ones(len(self.handles), dtype=np.bool_) if include_superseded else self.live.copy()
        else:
            mask = np.isin(self.handles, allowed)
        if len(without):
            mask &= ~np.isin(self.handles, without)
        return mask

    def nearest(self, query: Vector, *, mask: NDArray[np.bool_], limit: int) -> NDArray[np.int64]:
        """Handles of the nearest by the packed vectors: some more than ``limit``, to be compared exactly."""
        scores = np.empty(len(self.handles), dtype=np.float32)
        for start in range(0, len(scores), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            # Not np.dot: BLAS would start threads of its own, which fight with the server's for the same cores.
            np.einsum("ij,j->i", self.codes[part].astype(np.float32), query, out=scores[part])
        scores *= self.scales
        scores[~mask] = -np.inf
        wanted = min(limit + RESCORED_MORE, int(mask.sum()))
        if wanted == 0:
            return self.handles[:0]
        return self.handles[np.argpartition(-scores, wanted - 1)[:wanted]]

    def changed(self, handles: NDArray[np.int64], fresh: PackedCopy) -> PackedCopy:
        """The copy without these handles, and with the fresh rows. What was only added costs no more than itself."""
        if not len(self.handles) or not len(handles) or int(handles.min()) > int(self.handles[-1]):
            return self._extended(fresh)
        kept = ~np.isin(self.handles, handles)
        return _sorted(
            np.concatenate([self.handles[kept], fresh.handles]),
            np.concatenate([self.live[kept], fresh.live]),
            np.concatenate([self.codes[kept], fresh.codes]),
            np.concatenate([self.scales[kept], fresh.scales]),
            sequence=fresh.sequence,
        )

    def _extended(self, fresh: PackedCopy) -> PackedCopy:
        """With rows whose handles come after all of these."""
        size = len(self.handles) + len(fresh.handles)
        room = self.room
        # Another copy may have been extended in the same place already.
        if room is None or room.used != len(self.handles) or size > len(room.handles):
            room = _Room(self, capacity=size + max(_SPARE_MIN, size // 8))
        return room.extended(fresh)


class _Room:
    """Arrays longer than what they hold. Copies share them: each sees its own first rows, which never change."""

    def __init__(self, copy: PackedCopy, *, capacity: int) -> None:
        self.used = len(copy.handles)
        self.handles = np.empty(capacity, dtype=np.int64)
        self.live = np.empty(capacity, dtype=np.bool_)
        self.codes = np.empty((capacity, copy.codes.shape[1]), dtype=np.int8)
        self.scales = np.empty(capacity, dtype=np.float32)
        self._put(slice(0, self.used), copy)

    def extended(self, fresh: PackedCopy) -> PackedCopy:
        """The rows so far and these; the caller has seen to the room."""
        end = self.used + len(fresh.handles)
        self._put(slice(self.used, end), fresh)
        self.used = end
        return PackedCopy(
            self.handles[:end], self.live[:end], self.codes[:end], self.scales[:end], sequence=fresh.sequence, room=self
        )

    def _put(self, rows: slice, copy: PackedCopy) -> None:
        self.handles[rows], self.live[rows] = copy.handles, copy.live
        self.codes[rows], self.scales[rows] = copy.codes, copy.scales


def _sorted(
    handles: NDArray[np.int64],
    live: NDArray[np.bool_],
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    *,
    sequence: int,
) -> PackedCopy:
    if len(handles) > 1 and not bool(np.all(handles[:-1] < handles[1:])):
        order = np.argsort(handles, kind="stable")
        handles, live, codes, scales = handles[order], live[order], codes[order], scales[order]
    return PackedCopy(handles, live, codes, scales, sequence=sequence)


def _packed(row: Row | None, dimensions: int, *, sequence: int) -> PackedCopy:
    """One chunk as the file gave it."""
    if row is None or row[2] is None:
        empty = np.empty((0, dimensions), dtype=np.int8)
        nothing = np.empty(0, dtype=np.int64)
        return PackedCopy(nothing, nothing.astype(np.bool_), empty, nothing.astype(np.float32), sequence=sequence)
    handles = np.array(orjson.loads(row[0]), dtype=np.int64)
    live = np.array(orjson.loads(row[1]), dtype=np.bool_)
    vectors = np.frombuffer(row[2], dtype="<f4").reshape(len(handles), dimensions)
    largest = np.abs(vectors).max(axis=1)
    scales = np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)
    codes = np.rint(vectors / scales[:, None]).astype(np.int8)
    return PackedCopy(handles, live, codes, scales, sequence=sequence)


class PackedVectors:
    """The copies of one store, by (space, tenant, dimensions). Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copies: OrderedDict[tuple[int, int, int], PackedCopy] = OrderedDict()

    def current(self, connected: Connected, *, space_id: int, tenant_id: int, dimensions: int) -> PackedCopy:
        """The copy as this read sees the file (or newer, when another read was first)."""
        key = (space_id, tenant_id, dimensions)
        with self._lock:
            copy = self._copies.get(key)
            copy = None if copy is None else _updated(connected, copy, key)
            if copy is None:
                copy = _built(connected, key)
            self._copies[key] = copy
            self._copies.move_to_end(key)
            while len(self._copies) > 1 and sum(held.size_bytes for held in self._copies.values()) > BYTES_MAX:
                self._copies.popitem(last=False)
            return copy


def _newest(connected: Connected) -> int:
    return connected.value("SELECT ifnull(max(seq), 0) FROM vector_changes")


def _built(connected: Connected, key: tuple[int, int, int]) -> PackedCopy:
    space_id, tenant_id, dimensions = key
    sequence = _newest(connected)
    chunks = [_packed(None, dimensions, sequence=sequence)]
    place = (-1, -1)
    while True:
        row = connected.one(
            f"SELECT {_JOINED}, max(scope_id) FROM (SELECT scope_id, handle, live, vector FROM vectors "
            "WHERE space_id = ? AND tenant_id = ? AND (scope_id, handle) > (?, ?) AND length(vector) = ? "
            "ORDER BY scope_id, handle LIMIT ?)",
            (space_id, tenant_id, *place, dimensions * 4, _CHUNK),
        )
        chunk = _packed(row, dimensions, sequence=sequence)
        if row is None or not len(chunk.handles):
            break
        chunks.append(chunk)
        place = (row[3], int(chunk.handles[-1]))
    return _sorted(
        np.concatenate([chunk.handles for chunk in chunks]),
        np.concatenate([chunk.live for chunk in chunks]),
        np.concatenate([chunk.codes for chunk in chunks]),
        np.concatenate([chunk.scales for chunk in chunks]),
        sequence=sequence,
    )


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
        return PackedCopy(copy.handles, copy.live, copy.codes, copy.scales, sequence=newest, room=copy.room)
    row = connected.one(
        f"SELECT {_JOINED} FROM (SELECT v.handle, v.live, v.vector FROM json_each(?) AS h JOIN vectors AS v "
        "ON v.handle = h.value AND v.space_id = ? AND v.tenant_id = ? AND length(v.vector) = ? ORDER BY v.handle)",
        (text, space_id, tenant_id, dimensions * 4),
    )
    return copy.changed(changed, _packed(row, dimensions, sequence=newest))
