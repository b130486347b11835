"""The keyword side of search: which memories hold the tokens, how often, and the statistics of the caller's scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.search import KeywordCandidates, KeywordStatistics
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.filtering import Condition, narrowing
from agent_memory_server.stores.sqlite.scoping import Selection, selected
from agent_memory_server.stores.values import micros, token_digest

_POSTINGS = "postings AS p"
_SMALL_MAX = 2_000
"""Memories of one owner whose postings are fetched in one go."""
_AT_ONCE_MAX = 20_000
"""In selections of more memories nothing is tried on the event loop."""
_TOKENS_AT_ONCE = 16


def holding(
    connected: Connected, criteria: MemoryFilter, *, tokens: Sequence[str], now: datetime, limit: int
) -> KeywordCandidates:
    """The port's ``holding`` within one read.

    Frequencies are exact whatever the selection. The memories are collected token by token, the rarest first, until there
    are ``limit`` of them; among those of the token that fills it up, the lowest scopes and handles stay. So the cost of a
    common word in a large selection is that of counting it. A filter beyond the scope is applied once, not once a token.
    """
    names = tuple(dict.fromkeys(tokens))
    selection = selected(connected, criteria.selector, namespace=criteria.namespace, user_id=criteria.user_id)
    if selection is None or not names:
        return _candidates(names, [], (0, 0), dict.fromkeys(names, 0))
    digests = {token_digest(connected.token_key, name): column for column, name in enumerate(names)}
    if selection.single is not None and criteria.is_scope_only and not criteria.include_superseded:
        small = _holding_in_small_scope(connected, selection.single, digests, names, now=now, limit=limit)
        if small is not None:
            return small
    documents, terms = _documents(connected, selection, now)
    if documents > _AT_ONCE_MAX:
        connected.leave_event_loop()
    source = _Source.of(selection)
    gone = _expired(connected, selection, now)
    held = _held(connected, source, gone, digests)
    frequencies = {names[digests[digest]]: count for digest, (count, _) in held.items()}
    allowed: NDArray[np.int64] | None = None
    if not criteria.is_scope_only:
        allowed = _allowed(connected, criteria, selection, now)
        if len(allowed) <= limit:
            return _candidates(names, [_looked_up(connected, allowed, digests)], (documents, terms), frequencies)
    present = gone if criteria.include_superseded else Condition(f"p.live = 1 AND {gone.sql}", gone.values)
    rarest_first = sorted(digests, key=lambda digest: (held[digest][0], digests[digest]))
    if not criteria.include_superseded:
        rarest_first = [digest for digest in rarest_first if held[digest][0]]
    found = np.empty(0, dtype=np.int64)
    chunks: list[_Postings] = []
    common: list[int] = []
    for digest in rarest_first:
        if len(found) >= limit:
            common.append(digest)
            continue
        scopes = None if criteria.include_superseded else held[digest][1]
        where = source if scopes is None else _Source.of_scopes(scopes)
        postings = _postings(connected, digest, digests, where, present)
        if allowed is not None:
            postings = postings.taken(np.isin(postings.handles, allowed))
        further = np.flatnonzero(~np.isin(postings.handles, found))
        taken = np.ones(len(postings.handles), dtype=np.bool_)
        taken[further[limit - len(found) :]] = False
        chunks.append(postings.taken(taken))
        found = np.concatenate([found, postings.handles[further[: limit - len(found)]]])
    if common and len(found):
        chunks.append(_looked_up(connected, np.sort(found), {digest: digests[digest] for digest in common}))
    return _candidates(names, chunks, (documents, terms), frequencies)


def _holding_in_small_scope(
    connected: Connected, scope_id: int, digests: dict[int, int], names: tuple[str, ...], *, now: datetime, limit: int
) -> KeywordCandidates | None:
    """All of one owner's postings of these tokens at once: most searches are of this kind. None: not small, or some expired."""
    size = connected.one(
        "SELECT documents, terms FROM scopes WHERE id = ? AND documents <= ? AND NOT EXISTS (SELECT 1 FROM memories AS e "
        "INDEXED BY memories_expiring WHERE e.scope_id = ? AND e.expires_at <= ?)",
        (scope_id, min(limit, _SMALL_MAX), scope_id, micros(now)),
    )
    if size is None:
        return None
    row = connected.sure(
        "SELECT json_group_array(handle), json_group_array(token), json_group_array(count), json_group_array(length) "
        "FROM postings WHERE scope_id = ? AND token IN (SELECT value FROM json_each(?)) AND live = 1",
        (scope_id, orjson.dumps(list(digests)).decode()),
    )
    postings = _Postings.of(row, digests)
    held: list[int] = np.bincount(postings.columns, minlength=len(names)).tolist()
    return _candidates(names, [postings], size, dict(zip(names, held, strict=True)))


class _Postings(NamedTuple):
    """Which memory holds which query token (by its column), how often, and the memory's length: an array each."""

    handles: NDArray[np.int64]
    columns: NDArray[np.int64]
    counts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, row: Row, digests: Mapping[int, int]) -> _Postings:
        """From arrays of handles, tokens, counts and lengths as JSON."""
        handles, tokens, counts, lengths = (np.array(orjson.loads(each), dtype=np.int64) for each in row)
        columns = np.array([digests[digest] for digest in tokens.tolist()], dtype=np.int64)
        return cls(handles, columns, counts, lengths)

    def taken(self, mask: NDArray[np.bool_]) -> _Postings:
        return self if mask.all() else _Postings(*(each[mask] for each in self))


_NO_POSTINGS = _Postings(*(np.empty(0, dtype=np.int64) for _ in range(4)))


@dataclass(frozen=True, slots=True)
class _Source:
    """The scopes whose postings are read, one after the other; None in ``table``: a single one."""

    table: str | None
    scope: str
    """The scope's number, as an expression."""
    where: Condition
    bound: tuple[Any, ...] = ()
    """Values of ``table``."""

    @classmethod
    def of(cls, selection: Selection) -> _Source:
        if selection.scope_ids is None:
            return cls("scopes AS s", "s.id", Condition("s.tenant_id = ?", (selection.tenant_id,)))
        if selection.single is not None:
            return cls(None, "?", Condition("1"), (selection.single,))
        return cls.of_scopes(selection.scope_ids)

    @classmethod
    def of_scopes(cls, scope_ids: Sequence[int]) -> _Source:
        return cls("json_each(?) AS s", "s.value", Condition("1"), (orjson.dumps(scope_ids).decode(),))

    def postings(self) -> tuple[str, Condition]:
        """What to read from, and the condition that keeps to these scopes."""
        if self.table is None:
            return _POSTINGS, Condition("p.scope_id = ?", self.bound)
        where = Condition(f"{self.where.sql} AND p.scope_id = {self.scope}", (*self.bound, *self.where.values))
        return f"{self.table} CROSS JOIN {_POSTINGS}", where


def _expired(connected: Connected, selection: Selection, now: datetime) -> Condition:
    """What leaves out the postings of memories that expired and wait to be removed."""
    owned = selection.condition("e")
    handles = connected.value(
        "SELECT json_group_array(e.handle) FROM memories AS e INDEXED BY memories_expiring "
        f"WHERE {owned.sql} AND e.expires_at <= ?",
        (*owned.values, micros(now)),
    )
    if handles == "[]":
        return Condition("1")
    return Condition("p.handle NOT IN (SELECT value FROM json_each(?))", (handles,))


def _allowed(connected: Connected, criteria: MemoryFilter, selection: Selection, now: datetime) -> NDArray[np.int64]:
    """The handles of every memory that matches the filter."""
    owned = selection.condition("m")
    narrowed = narrowing(criteria, now, tenant_id=selection.tenant_id, scope_id=selection.single)
    text = connected.value(
        f"SELECT json_group_array(m.handle) FROM memories AS m WHERE {owned.sql} AND {narrowed.sql}",
        (*owned.values, *narrowed.values),
    )
    return np.array(orjson.loads(text), dtype=np.int64)


_Held = dict[int, tuple[int, Sequence[int] | None]]


def _held(connected: Connected, source: _Source, gone: Condition, digests: dict[int, int]) -> _Held:
    """Of each token, how many live memories hold it, and in which scopes (None: in the only one).

    Counted from the index, not kept, as it is part of its key. A rare token is then looked for where it is, and not in each of
    a tenant's ten thousand scopes once more.
    """
    wanted = list(digests)
    if source.table is None:
        held: _Held = dict.fromkeys(wanted, (0, None))
        text = connected.value(
            "SELECT json_group_array(json_array(token, held)) FROM (SELECT p.token, count(*) AS held "
            f"FROM {_POSTINGS} WHERE p.scope_id = ? AND p.token IN (SELECT value FROM json_each(?)) "
            f"AND p.live = 1 AND {gone.sql} GROUP BY p.token)",
            (*source.bound, orjson.dumps(wanted).decode(), *gone.values),
        )
        held.update((digest, (count, None)) for digest, count in orjson.loads(text))
        return held
    held = {}
    for first in range(0, len(wanted), _TOKENS_AT_ONCE):
        part = wanted[first : first + _TOKENS_AT_ONCE]
        counted = (
            f"(SELECT count(*) FROM {_POSTINGS} WHERE p.scope_id = {source.scope} AND p.token = ? AND p.live = 1 "
            f"AND {gone.sql})"
        )
        text = connected.value(
            f"SELECT json_group_array(json_array({source.scope}, {', '.join([counted] * len(part))})) "
            f"FROM {source.table} WHERE {source.where.sql}",
            (
                *(value for digest in part for value in (digest, *gone.values)),
                *source.bound,
                *source.where.values,
            ),
        )
        table: NDArray[np.int64] = np.array(orjson.loads(text), dtype=np.int64).reshape(-1, len(part) + 1)
        for column, digest in enumerate(part, start=1):
            counts = table[:, column]
            scopes: list[int] = table[counts > 0, 0].tolist()
            held[digest] = (int(counts.sum()), scopes)
    return held


def _documents(connected: Connected, selection: Selection, now: datetime) -> tuple[int, int]:
    """Live memories of the selection and their index terms, less those that expired and wait to be removed."""
    if selection.scope_ids is None:
        row = connected.sure(
            "SELECT ifnull(sum(documents), 0), ifnull(sum(terms), 0) FROM scopes WHERE tenant_id = ?",
            (selection.tenant_id,),
        )
    else:
        row = connected.sure(
            "SELECT ifnull(sum(documents), 0), ifnull(sum(terms), 0) FROM scopes "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (orjson.dumps(selection.scope_ids).decode(),),
        )
    documents, terms = row
    owned = selection.condition("e")
    expired = connected.rows(
        "SELECT e.terms FROM memories AS e INDEXED BY memories_expiring "
        f"WHERE {owned.sql} AND e.expires_at <= ? AND e.superseded_by IS NULL",
        (*owned.values, micros(now)),
    )
    for (packed,) in expired:
        documents -= 1
        terms -= int((np.frombuffer(packed, dtype="<i8") & 0x7FFF).sum())
    return documents, terms


def _postings(
    connected: Connected, digest: int, digests: Mapping[int, int], source: _Source, present: Condition
) -> _Postings:
    """Every memory that holds this token, by scope and handle."""
    postings, place = source.postings()
    row = connected.sure(
        "SELECT json_group_array(handle), json_group_array(count), json_group_array(length) FROM ("
        f"SELECT p.handle, p.count, p.length FROM {postings} WHERE {place.sql} AND p.token = ? AND {present.sql})",
        (*place.values, digest, *present.values),
    )
    handles, counts, lengths = (np.array(orjson.loads(each), dtype=np.int64) for each in row)
    return _Postings(handles, np.full(len(handles), digests[digest]), counts, lengths)


def _looked_up(connected: Connected, handles: NDArray[np.int64], digests: Mapping[int, int]) -> _Postings:
    """The postings of these tokens in these memories, one by one: for few memories, or tokens that are in many others."""
    row = connected.sure(
        "SELECT json_group_array(p.handle), json_group_array(p.token), json_group_array(p.count), "
        "json_group_array(p.length) FROM json_each(?) AS h "
        "CROSS JOIN memories AS m ON m.handle = h.value CROSS JOIN postings AS p "
        "ON p.scope_id = m.scope_id AND p.token IN (SELECT value FROM json_each(?)) AND p.handle = m.handle",
        (orjson.dumps(handles.tolist()).decode(), orjson.dumps(list(digests)).decode()),
    )
    return _Postings.of(row, digests)


def _candidates(
    names: tuple[str, ...],
    chunks: Sequence[_Postings],
    size: tuple[int, int],
    frequencies: dict[str, int],
) -> KeywordCandidates:
    documents, terms = size
    found = _Postings(*(np.concatenate(parts) for parts in zip(_NO_POSTINGS, *chunks, strict=True)))
    handles, first, rows = np.unique(found.handles, return_index=True, return_inverse=True)
    counts = np.zeros((len(handles), len(names)), dtype=np.int32)
    counts[rows, found.columns] = found.counts
    return KeywordCandidates(
        tokens=names,
        handles=handles.tolist(),
        counts=counts,
        lengths=found.lengths[first].astype(np.int32),
        statistics=KeywordStatistics(
            documents=documents,
            average_length=terms / documents if documents else 0.0,
            document_frequency=frequencies,
        ),
    )
