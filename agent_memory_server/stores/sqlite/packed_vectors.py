"""A packed copy of a tenant's vectors: one byte a dimension, in memory, to pick what is worth comparing exactly.

It is a cache of the file and of nothing else: each use first applies the changes that the file has logged since, by this
process or another, or builds the copy anew when the log does not reach back far enough. A read that runs out of time while it
builds leaves what it has to the next one: a copy of any size is there in the end, however slow the machine.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.operations import Vector
from agent_memory_server.stores.sqlite.connections import Connected, Row

RESCORED_MORE = 100
"""How many more than asked for are compared exactly: the bytes err by less than a thousandth."""
BYTES_MAX = 512 * 1024 * 1024
"""All copies together; the least recently used go first. A million vectors of 256 dimensions take 270 MB."""
CHUNK = 20_000
_BRIEFLY_S = 0.05
"""What bringing a copy up to date may take another read; longer, and one is being built."""
_SPARE_MIN = 1_024
"""Rows of room behind a copy that has grown; with an eighth of it, growing row by row copies it a few times, not each time."""
_ROWS_AT_ONCE = 2_048
"""Rows that are widened and multiplied together: what fits the processor's cache."""
_JOINED = (
    "json_group_array(handle), json_group_array(scope_id), json_group_array(live), "
    "CAST(group_concat(CAST(vector AS TEXT), '') AS BLOB)"
)


class PackedKey(NamedTuple):
    """Which vectors a copy is of."""

    space_id: int
    tenant_id: int
    dimensions: int


class PackedCopy:
    """Handles with their scopes and their vectors in bytes, as of one sequence of the change log, in no order. Immutable: updates
    make another."""

    def __init__(
        self,
        handles: NDArray[np.int64],
        scopes: NDArray[np.int64],
        live: NDArray[np.bool_],
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
        *,
        sequence: int,
        room: _Room | None = None,
    ) -> None:
        """``room``: where more rows can be added behind these, which are its first."""
        self.handles = handles
        self.scopes = scopes
        self.live = live
        self.codes = codes
        self.scales = scales
        self.sequence = sequence
        self.room = room

    @property
    def size_bytes(self) -> int:
        return sum(each.nbytes for each in (self.handles, self.scopes, self.live, self.codes, self.scales))

    def nearest(self, query: Vector, *, mask: NDArray[np.bool_], limit: int) -> NDArray[np.int64]:
        """Rows of the nearest by the packed vectors: some more than ``limit``, to be compared exactly."""
        scores = np.empty(len(self.handles), dtype=np.float32)
        for start in range(0, len(scores), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            # Not np.dot: BLAS would start threads of its own, which fight with the server's for the same cores.
            np.einsum("ij,j->i", self.codes[part].astype(np.float32), query, out=scores[part])
        scores *= self.scales
        scores[~mask] = -np.inf
        wanted = min(limit + RESCORED_MORE, int(mask.sum()))
        if wanted == 0:
            return np.empty(0, dtype=np.int64)
        return np.argpartition(-scores, wanted - 1)[:wanted]

    def changed(self, handles: NDArray[np.int64], fresh: PackedCopy) -> PackedCopy:
        """The copy without these handles, and with the fresh rows. What was only added costs no more than itself."""
        if not len(self.handles) or not len(handles) or int(handles.min()) > int(self.handles.max()):
            return self.extended(fresh)
        gone = np.isin(self.handles, handles)
        return (self._without(gone) if gone.any() else self).extended(fresh)

    def as_of(self, sequence: int) -> PackedCopy:
        """The same rows, said to be as of another sequence."""
        return PackedCopy(
            self.handles, self.scopes, self.live, self.codes, self.scales, sequence=sequence, room=self.room
        )

    def _without(self, gone: NDArray[np.bool_]) -> PackedCopy:
        kept = ~gone
        return PackedCopy(
            self.handles[kept],
            self.scopes[kept],
            self.live[kept],
            self.codes[kept],
            self.scales[kept],
            sequence=self.sequence,
        )

    def extended(self, fresh: PackedCopy) -> PackedCopy:
        """With more rows behind these."""
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
        self.scopes = np.empty(capacity, dtype=np.int64)
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
            self.handles[:end],
            self.scopes[:end],
            self.live[:end],
            self.codes[:end],
            self.scales[:end],
            sequence=fresh.sequence,
            room=self,
        )

    def _put(self, rows: slice, copy: PackedCopy) -> None:
        self.handles[rows], self.scopes[rows], self.live[rows] = copy.handles, copy.scopes, copy.live
        self.codes[rows], self.scales[rows] = copy.codes, copy.scales


def _packed(row: Row | None, dimensions: int, *, sequence: int) -> PackedCopy:
    """One chunk as the file gave it."""
    if row is None or row[3] is None:
        empty = np.empty((0, dimensions), dtype=np.int8)
        nothing = np.empty(0, dtype=np.int64)
        return PackedCopy(
            nothing, nothing, nothing.astype(np.bool_), empty, nothing.astype(np.float32), sequence=sequence
        )
    handles = np.array(orjson.loads(row[0]), dtype=np.int64)
    scopes = np.array(orjson.loads(row[1]), dtype=np.int64)
    live = np.array(orjson.loads(row[2]), dtype=np.bool_)
    vectors = np.frombuffer(row[3], dtype="<f4").reshape(len(handles), dimensions)
    codes = np.empty(vectors.shape, dtype=np.int8)
    scales = np.empty(len(handles), dtype=np.float32)
    for start in range(0, len(handles), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        largest = np.maximum(vectors[part].max(axis=1), -vectors[part].min(axis=1))
        scales[part] = np.where(largest > 0, largest / 127.0, 1.0)
        scaled = vectors[part] / scales[part, None]
        codes[part] = np.rint(scaled, out=scaled)
    return PackedCopy(handles, scopes, live, codes, scales, sequence=sequence)


class _Building:
    """A copy that is being built, through several reads if one has no time for all of it. Rows are read in the order of their
    key; what changes meanwhile is in the log, from ``sequence`` on, which the finished copy is brought up to date with."""

    def __init__(self, connected: Connected, key: PackedKey, *, chunk: int) -> None:
        self._key = key
        self._chunk = chunk
        self._place = (-1, -1)
        self.sequence = newest_change(connected)
        empty = _packed(None, key[2], sequence=self.sequence)
        held = connected.value("SELECT ifnull(sum(documents), 0) FROM scopes WHERE tenant_id = ?", (key[1],))
        self._copy = _Room(empty, capacity=held + max(_SPARE_MIN, held // 64)).extended(empty)

    @property
    def size_bytes(self) -> int:
        return self._copy.size_bytes

    def finished(self, connected: Connected) -> PackedCopy:
        """The copy as of ``sequence``, or newer. Raises whatever stops the read; called again, it goes on from there."""
        # A read that waited for another one sees an earlier moment than that one did.
        self.sequence = min(self.sequence, newest_change(connected))
        space_id, tenant_id, dimensions = self._key
        while True:
            row = connected.one(
                f"SELECT {_JOINED} FROM (SELECT scope_id, handle, live, vector FROM vectors "
                "WHERE space_id = ? AND tenant_id = ? AND (scope_id, handle) > (?, ?) AND length(vector) = ? "
                "ORDER BY scope_id, handle LIMIT ?)",
                (space_id, tenant_id, *self._place, dimensions * 4, self._chunk),
            )
            chunk = _packed(row, dimensions, sequence=self.sequence)
            if not len(chunk.handles):
                return self._copy.as_of(self.sequence)
            self._copy = self._copy.extended(chunk)
            self._place = (int(chunk.scopes[-1]), int(chunk.handles[-1]))
            if connected.go_on is not None:
                connected.go_on()


class PackedVectors:
    """The copies of one store, by (space, tenant, dimensions). Safe for several threads."""

    def __init__(self, *, chunk: int = CHUNK) -> None:
        """``chunk``: rows that are read at a time while a copy is built: what a read that runs out of time loses."""
        self._chunk = chunk
        self._lock = threading.Lock()
        self._copies: OrderedDict[PackedKey, PackedCopy] = OrderedDict()
        self._building: dict[PackedKey, _Building] = {}

    def current(self, connected: Connected, *, space_id: int, tenant_id: int, dimensions: int) -> PackedCopy:
        """The copy as this read sees the file (or newer, when another read was first); built when it is not there."""
        key = PackedKey(space_id, tenant_id, dimensions)
        with self._lock:
            copy = self._copies.get(key)
            copy = None if copy is None else _updated(connected, copy, key)
            if copy is None:
                self._copies.pop(key, None)
                copy = self._built(connected, key)
            self._copies[key] = copy
            self._copies.move_to_end(key)
            self._keep_within_bounds(key)
            return copy

    def at_hand(self, connected: Connected, key: PackedKey) -> PackedCopy | None:
        """The copy as this read sees the file; None when it has to be built first, or another read is building one."""
        if not self._lock.acquire(timeout=_BRIEFLY_S):
            return None
        try:
            copy = self._copies.get(key)
            copy = None if copy is None else _updated(connected, copy, key)
            if copy is not None:
                self._copies[key] = copy
                self._copies.move_to_end(key)
            return copy
        finally:
            self._lock.release()

    def _built(self, connected: Connected, key: PackedKey) -> PackedCopy:
        building = self._building.get(key)
        if building is None or not reaches_back(connected, building.sequence):
            building = self._building[key] = _Building(connected, key, chunk=self._chunk)
        copy = building.finished(connected)
        up_to_date = _updated(connected, copy, key)
        del self._building[key]
        return copy if up_to_date is None else up_to_date

    def _keep_within_bounds(self, key: PackedKey) -> None:
        """Give up what was not asked for longest, then what is being built of others; never the copy of this key."""
        while sum(held.size_bytes for held in (*self._copies.values(), *self._building.values())) > BYTES_MAX:
            if next(iter(self._copies)) != key:
                self._copies.popitem(last=False)
            elif self._building:
                del self._building[next(iter(self._building))]
            else:
                return


def taking_part(
    handles: NDArray[np.int64],
    live: NDArray[np.bool_],
    *,
    allowed: NDArray[np.int64] | None,
    without: NDArray[np.int64],
    include_superseded: bool,
) -> NDArray[np.bool_]:
    """Which rows a search is about: the allowed handles (None: all that are live), less those ``without``."""
    if allowed is None:
        mask = np.ones(len(handles), dtype=np.bool_) if include_superseded else live.copy()
    else:
        mask = np.isin(handles, allowed)
    if len(without):
        mask &= ~np.isin(handles, without)
    return mask


def newest_change(connected: Connected) -> int:
    """The newest sequence of the log of vectors' changes, 0 while it is empty."""
    return connected.value("SELECT ifnull(max(seq), 0) FROM vector_changes")


def reaches_back(connected: Connected, sequence: int) -> bool:
    """Whether the log holds every change after this one."""
    oldest = connected.value("SELECT min(seq) FROM vector_changes")
    return oldest is None or oldest <= sequence + 1


def _updated(connected: Connected, copy: PackedCopy, key: PackedKey) -> PackedCopy | None:
    """The copy with the logged changes since; None when the log does not reach back to it."""
    space_id, tenant_id, dimensions = key
    newest = newest_change(connected)
    if newest <= copy.sequence:
        return copy
    if not reaches_back(connected, copy.sequence):
        return None
    text = connected.value(
        "SELECT json_group_array(DISTINCT handle) FROM vector_changes WHERE seq > ? AND space_id = ? AND tenant_id = ?",
        (copy.sequence, space_id, tenant_id),
    )
    changed = np.array(orjson.loads(text), dtype=np.int64)
    if not len(changed):
        return copy.as_of(newest)
    row = connected.one(
        f"SELECT {_JOINED} FROM (SELECT v.handle, v.scope_id, v.live, v.vector FROM json_each(?) AS h JOIN vectors AS v "
        "ON v.handle = h.value AND v.space_id = ? AND v.tenant_id = ? AND length(v.vector) = ? ORDER BY v.handle)",
        (text, space_id, tenant_id, dimensions * 4),
    )
    return copy.changed(changed, _packed(row, dimensions, sequence=newest))
