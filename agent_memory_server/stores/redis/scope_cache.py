"""Small selections of memories kept in this process, each checked against Redis before it is used.

Every change of a memory gives the selections that hold it a new revision, in the same transaction, and notes which memory it
was. So one question tells whether a copy is still right, and what it lacks. Nothing is ever answered from a copy that was not
checked after the search began: what was acknowledged before, by whichever process, is found.

A copy is let go with the connection: a Redis that comes back may have lost its last writes and number others the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link, Script
from agent_memory_server.stores.redis.index import Index, rows_of
from agent_memory_server.stores.redis.memory_keys import (
    changes_key,
    statistics_key,
)
from agent_memory_server.stores.redis.queries import scope_clause
from agent_memory_server.stores.redis.rows import (
    space_token,
)
from agent_memory_server.stores.redis.snapshots import FIELDS, Row, Snapshot, row_of
from agent_memory_server.stores.redis.written import CHANGES_KEPT

ROWS_MAX = 10_000
"""Larger selections are searched in Redis."""
BYTES_MAX = 192 * 1024 * 1024
"""What all copies of a process may take together; the one that was not used for longest goes first."""
_WEIGHED_EVERY = 64
_READ_AT_ONCE = 1_000
_SCOPE = Script("scope", writes=False)

_Name = tuple[str, str]


class _State(NamedTuple):
    """How a selection stands in Redis."""

    life: bytes
    revision: int
    documents: int
    changes: Sequence[Any] | None
    """What changed since the copy that was asked about; None when that is not known any more."""


class ScopeCache:
    """Copies by (tenant, tag of the selection)."""

    def __init__(self, link: Link, index: Index) -> None:
        self._link = link
        self._index = index
        self._held: OrderedDict[_Name, Snapshot] = OrderedDict()
        self._sizes: dict[_Name, int] = {}
        self._bytes = 0
        self._uses = 0
        self._connected = -1
        self._named: dict[tuple[str, int], str] = {}
        self._spaces: tuple[str, ...] = ()
        """Vector spaces that are searched; copies hold the vectors of these."""

    async def snapshot(self, selector: ScopeSelector) -> Snapshot | None:
        """The live memories of the selection as they are now; None when there are too many of them."""
        name = (selector.tenant, naming.tag_of(selector))
        held, state, told = await self._checked(selector, name)
        if state.documents > ROWS_MAX:
            self._drop(name)
            return None
        if told is not None:
            return told
        async with self._link.alone(f"scope:{name[0]}:{name[1]}"):
            # Another search may have read it meanwhile.
            if self._held.get(name) is not held:
                held, state, told = await self._checked(selector, name)
                if told is not None:
                    return told
            return await self._read(selector, name, state)

    def space(self, model: str, dimensions: int) -> str:
        """The space of a model's vectors. Copies that are made from now on hold them."""
        space = self._named.get((model, dimensions))
        if space is None:
            space = self._named[(model, dimensions)] = space_token(model, dimensions)
            self._spaces = tuple(sorted(self._named.values()))
            self._clear()
        return space

    def spaces_of(self, model: str) -> list[str]:
        """The spaces of this model that copies hold."""
        return [space for (named, _), space in self._named.items() if named == model]

    async def _checked(self, selector: ScopeSelector, name: _Name) -> tuple[Snapshot | None, _State, Snapshot | None]:
        """(the copy that is held, how the selection stands, the copy brought up to date if that is possible)."""
        if self._link.connected != self._connected:
            self._connected = self._link.connected
            self._clear()
        held = self._held.get(name)
        state = await self._asked(selector, name[1], held)
        changes = state.changes
        if self._link.connected != self._connected or held is None or changes is None or held.spaces != self._spaces:
            return held, state, None
        if not changes:
            self._used(name)
            return held, state, held
        rows = {row.handle: row for row in held.rows}
        tenant = naming.tenant_digest(selector.tenant)
        for digest, *values in changes:
            handle = f"{tenant}.{digest.decode()}"
            row = row_of(handle, values, held.spaces)
            if row is None:
                rows.pop(handle, None)
            else:
                rows[handle] = row
        fresh = Snapshot(rows.values(), life=state.life, revision=state.revision, spaces=held.spaces)
        self._keep(name, fresh)
        return held, state, fresh

    async def _asked(self, selector: ScopeSelector, tag: str, held: Snapshot | None) -> _State:
        tenant = selector.tenant
        known = (b"", -1) if held is None else (held.life, held.revision)
        spaces = () if held is None else held.spaces
        answer = await self._link.script(
            _SCOPE,
            (
                statistics_key(tenant),
                changes_key(tenant, tag),
                naming.memory_key(f"{naming.tenant_digest(tenant)}."),
                tag,
                *known,
                CHANGES_KEPT,
                *FIELDS,
                *spaces,
            ),
        )
        return _State(*answer[:4])

    async def _read(self, selector: ScopeSelector, name: _Name, state: _State) -> Snapshot:
        """Everything anew. ``state`` was asked for before, so that what changes meanwhile is read again."""
        spaces = self._spaces
        fields = (*FIELDS, *spaces)
        names = [field.encode() for field in fields]
        query = scope_clause(selector, live=True)
        # Sorting takes Redis a third of the time; what comes at one go needs no order.
        order = ("SORTBY", "place", "ASC") if state.documents > _READ_AT_ONCE // 2 else ()
        rows: list[Row] = []
        first = 0
        while True:
            answer = await self._index.search(
                "FT.SEARCH", query, "RETURN", len(fields), *fields, *order, "LIMIT", first, _READ_AT_ONCE
            )
            if not order and answer[0] > _READ_AT_ONCE:
                order = ("SORTBY", "place", "ASC")
                continue
            for key, values in rows_of(answer):
                row = row_of(naming.handle_of_key(key), [*map(values.get, names)], spaces)
                if row is not None:
                    rows.append(row)
            first += _READ_AT_ONCE
            if first >= answer[0]:
                break
        fresh = Snapshot(rows, life=state.life, revision=state.revision, spaces=spaces)
        if self._link.connected == self._connected:
            self._keep(name, fresh)
        return fresh

    # -- what is kept

    def _keep(self, name: _Name, snapshot: Snapshot) -> None:
        held = self._held.get(name)
        if snapshot.spaces != self._spaces:
            return
        if held is not None and held.life == snapshot.life and held.revision > snapshot.revision:
            return
        self._held[name] = snapshot
        self._weigh(name)
        self._used(name)

    def _used(self, name: _Name) -> None:
        if name not in self._held:
            return
        self._held.move_to_end(name)
        self._uses += 1
        if self._uses % _WEIGHED_EVERY == 0:
            # Records that were decoded since count too.
            self._weigh(name)
        while self._bytes > BYTES_MAX and len(self._held) > 1:
            self._drop(next(iter(self._held)))

    def _weigh(self, name: _Name) -> None:
        size = self._held[name].size_bytes()
        self._bytes += size - self._sizes.get(name, 0)
        self._sizes[name] = size

    def _drop(self, name: _Name) -> None:
        self._held.pop(name, None)
        self._bytes -= self._sizes.pop(name, 0)

    def _clear(self) -> None:
        self._held.clear()
        self._sizes.clear()
        self._bytes = 0
