"""The vectors of owners with many memories, in memory as they are stored: fetching ten thousand of them from the file takes
twenty times as long as comparing them.

As ``packed_vectors`` it is a cache of the file and of nothing else: each use first applies the changes that the file has logged
since, by this process or another, or reads them all anew when the log does not reach back far enough.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.packed_vectors import newest_change, reaches_back

MEMORIES_MIN = 1_000
"""Of fewer the file is read each time: that takes less than a millisecond."""
BYTES_MAX = 128 * 1024 * 1024
"""All owners together; the least recently searched go first. Ten thousand vectors of 256 dimensions take 10 MB."""
_JOINED = "json_group_array(v.handle), json_group_array(v.live), CAST(group_concat(CAST(v.vector AS TEXT), '') AS BLOB)"


class Owned(NamedTuple):
    """What vectors are held together: those of one owner scope in one space."""

    space_id: int
    tenant_id: int
    scope_id: int
    dimensions: int


@dataclass(frozen=True, slots=True)
class Held:
    """An owner's vectors as of one sequence of the change log, in no order."""

    handles: NDArray[np.int64]
    live: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    sequence: int

    @property
    def size_bytes(self) -> int:
        return self.handles.nbytes + self.live.nbytes + self.vectors.nbytes

    def changed(self, handles: NDArray[np.int64], fresh: Held) -> Held:
        """Without these handles, and with the fresh rows."""
        kept = ~np.isin(self.handles, handles)
        if kept.all():
            if not len(fresh.handles):
                return replace(self, sequence=fresh.sequence)
            before = self
        else:
            before = Held(self.handles[kept], self.live[kept], self.vectors[kept], self.sequence)
        return Held(
            np.concatenate([before.handles, fresh.handles]),
            np.concatenate([before.live, fresh.live]),
            np.concatenate([before.vectors, fresh.vectors]),
            fresh.sequence,
        )


class HeldVectors:
    """The owners' vectors of one store. Safe for several threads: what is held never changes, a newer one takes its place."""

    def __init__(self, *, memories_min: int = MEMORIES_MIN, bytes_max: int = BYTES_MAX) -> None:
        """``memories_min``: how many an owner has whose vectors are held."""
        self._memories_min = memories_min
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._held: OrderedDict[Owned, Held] = OrderedDict()

    def holds(self, memories: int, dimensions: int) -> bool:
        """Whether an owner of so many is held: not the small, and none that would take the place of all others."""
        return memories >= self._memories_min and memories * dimensions * 4 <= self._bytes_max // 2

    def current(self, connected: Connected, owned: Owned) -> Held:
        """The vectors as this read sees the file (or newer, when another read was first)."""
        with self._lock:
            known = self._held.get(owned)
        held = None if known is None else _updated(connected, known, owned)
        if held is None:
            connected.leave_event_loop()
            held = _read(connected, owned)
        with self._lock:
            self._held[owned] = held
            self._held.move_to_end(owned)
            while len(self._held) > 1 and sum(each.size_bytes for each in self._held.values()) > self._bytes_max:
                self._held.popitem(last=False)
        return held


def _read(connected: Connected, owned: Owned) -> Held:
    """All of them, from the file."""
    sequence = newest_change(connected)
    row = connected.one(
        f"SELECT {_JOINED} FROM vectors AS v WHERE v.space_id = ? AND v.tenant_id = ? AND v.scope_id = ? "
        "AND length(v.vector) = ?",
        (*owned[:3], owned.dimensions * 4),
    )
    return _unpacked(row, owned.dimensions, sequence)


def _updated(connected: Connected, held: Held, owned: Owned) -> Held | None:
    """With the logged changes since; None when the log does not reach back so far."""
    newest = newest_change(connected)
    if newest <= held.sequence:
        return held
    if not reaches_back(connected, held.sequence):
        return None
    text = connected.value(
        "SELECT json_group_array(DISTINCT handle) FROM vector_changes WHERE seq > ? AND space_id = ? AND tenant_id = ?",
        (held.sequence, owned.space_id, owned.tenant_id),
    )
    changed = np.array(orjson.loads(text), dtype=np.int64)
    if not len(changed):
        return replace(held, sequence=newest)
    row = connected.one(
        f"SELECT {_JOINED} FROM json_each(?) AS h CROSS JOIN vectors AS v ON v.space_id = ? AND v.tenant_id = ? "
        "AND v.scope_id = ? AND v.handle = h.value AND length(v.vector) = ?",
        (text, *owned[:3], owned.dimensions * 4),
    )
    return held.changed(changed, _unpacked(row, owned.dimensions, newest))


def _unpacked(row: Row | None, dimensions: int, sequence: int) -> Held:
    if row is None or row[2] is None:
        nothing = np.empty(0, dtype=np.int64)
        return Held(nothing, nothing.astype(np.bool_), np.empty((0, dimensions), dtype=np.float32), sequence)
    return Held(
        np.array(orjson.loads(row[0]), dtype=np.int64),
        np.array(orjson.loads(row[1]), dtype=np.bool_),
        np.frombuffer(row[2], dtype="<f4").reshape(-1, dimensions),
        sequence,
    )
