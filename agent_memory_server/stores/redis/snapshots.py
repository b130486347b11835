"""A small selection of memories as of one revision, held in this process: what a search reads, without asking Redis.

Nothing here waits or fails. What is found, and in which order, is what the queries in ``keywords``, ``nearest`` and ``passages``
find in Redis; the contract suite runs over both ways.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import Handle, KeywordCandidates, KeywordStatistics, VectorCandidates
from agent_memory_server.domain.second_stage import Passage, Pool, passage_of
from agent_memory_server.stores.redis.encoding import count_of, from_plain_json, token_of
from agent_memory_server.stores.redis.memory_keys import (
    is_spoken,
)
from agent_memory_server.stores.redis.passages import said_there, sources_of
from agent_memory_server.stores.redis.rows import (
    PLAIN_FIELDS,
    memory_of_fields,
)
from agent_memory_server.stores.redis.written import ARRIVAL
from agent_memory_server.stores.values import micros, unpack_terms

FIELDS = (*PLAIN_FIELDS, "terms", ARRIVAL)
"""What a row is made of, before its vectors."""
_MESSAGE = MemoryType.MESSAGE.value
_FOREVER = 2**62
_ROW_BYTES = 1_250
"""What a row takes beside its document, terms and vectors."""
_DECODED_BYTES = 2_600
"""What a record takes once it is decoded."""

Values = Sequence[bytes | None]


@dataclass(slots=True, eq=False)
class Row:
    """One live memory."""

    handle: str
    document: bytes
    times: tuple[bytes | None, bytes | None, bytes | None]
    """Last access, count of accesses and state of the vector, as they are stored."""
    terms: bytes
    """Its index terms as they are stored (``unpack_terms``)."""
    arrival: str
    created: int
    accessed: int
    expires: int
    vectors: dict[str, NDArray[np.float32]]
    """By vector space."""
    is_message: bool
    """It may have neighbours."""
    size_bytes: int
    memory: Memory | None = None
    passage: Passage | None = None

    def decoded(self) -> Memory:
        if self.memory is None:
            self.memory = memory_of_fields((self.document, *self.times))
            assert self.memory is not None
        return self.memory


def row_of(handle: str, values: Values, spaces: Sequence[str]) -> Row | None:
    """The row of the values of ``FIELDS`` and the spaces; None for a memory that is gone or stepped back."""
    document, accessed, accesses, embedding, terms, arrival, *vectors = values
    if document is None or accessed is None or accesses is None:
        return None
    fields: dict[str, Any] = from_plain_json(document)
    if fields.get("superseded_by") is not None:
        return None
    expires = fields.get("expires_at")
    return Row(
        handle=handle,
        document=document,
        times=(accessed, accesses, embedding),
        terms=terms or b"",
        arrival="" if arrival is None else arrival.decode(),
        created=fields["created_at"],
        accessed=int(accessed),
        expires=_FOREVER if expires is None else expires,
        vectors={
            space: np.frombuffer(value, dtype="<f4")
            for space, value in zip(spaces, vectors, strict=True)
            if value is not None
        },
        is_message=fields["memory_type"] == _MESSAGE and arrival is not None,
        size_bytes=_ROW_BYTES + len(document) + len(terms or b"") + sum(map(len, filter(None, vectors))),
    )


class Snapshot:
    """Rows in the order of their handles. Never changes; what is computed from it is kept with it."""

    def __init__(self, rows: Iterable[Row], *, life: bytes, revision: int, spaces: tuple[str, ...]) -> None:
        self.life = life
        self.revision = revision
        self.spaces = spaces
        """Vector spaces that were read."""
        self.rows = sorted(rows, key=attrgetter("handle"))
        self.places = {row.handle: place for place, row in enumerate(self.rows)}
        self._matched: tuple[MemoryFilter, datetime, NDArray[np.bool_]] | None = None
        self._matrices: dict[str, tuple[NDArray[np.intp], NDArray[np.float32]]] = {}
        self._expires = np.array([row.expires for row in self.rows], dtype=np.int64)
        self._soonest = int(self._expires.min()) if self.rows else _FOREVER
        self._held = sum(row.size_bytes for row in self.rows)

    def size_bytes(self) -> int:
        return self._held + _DECODED_BYTES * sum(row.memory is not None for row in self.rows)

    def row(self, handle: Handle) -> Row | None:
        place = self.places.get(handle) if isinstance(handle, str) else None
        return None if place is None else self.rows[place]

    # -- which rows take part

    def unexpired(self, now: datetime) -> NDArray[np.bool_]:
        if self._soonest == _FOREVER:
            return np.ones(len(self.rows), dtype=np.bool_)
        return self._expires > micros(now)

    def matching(self, criteria: MemoryFilter, now: datetime) -> NDArray[np.bool_]:
        """The rows that match the filter, whose owner this snapshot holds."""
        if criteria.is_scope_only:
            return self.unexpired(now)
        if self._matched is not None and self._matched[0] is criteria and self._matched[1] is now:
            # Every part of one search asks with the same filter.
            return self._matched[2]
        standing = self.unexpired(now)
        places = np.flatnonzero(standing)
        standing[places] = [criteria.matches(self.rows[place].decoded(), now) for place in places.tolist()]
        self._matched = (criteria, now, standing)
        return standing

    # -- the keyword side

    @cached_property
    def _postings(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.intp]]:
        """(token, count, row) of every index term."""
        terms = unpack_terms(b"".join([row.terms for row in self.rows]))
        rows = np.repeat(np.arange(len(self.rows)), [len(row.terms) // terms.itemsize for row in self.rows])
        return token_of(terms), count_of(terms).astype(np.int32), rows

    @cached_property
    def _lengths(self) -> NDArray[np.int32]:
        _, counts, rows = self._postings
        return np.bincount(rows, weights=counts, minlength=len(self.rows)).astype(np.int32)

    def holding(
        self, criteria: MemoryFilter, names: tuple[str, ...], digests: Sequence[int], *, now: datetime, limit: int
    ) -> KeywordCandidates:
        """As ``keywords.holding``: frequencies over the owner's rows, candidates among those that match."""
        standing = self.unexpired(now)
        wanted = standing if criteria.is_scope_only else self.matching(criteria, now)
        tokens, counts, rows = self._postings
        table = np.zeros((len(self.rows), len(names)), dtype=np.int32)
        frequencies: dict[str, int] = {}
        for column, (name, digest) in enumerate(zip(names, digests, strict=True)):
            at = np.flatnonzero(tokens == digest)
            table[rows[at], column] = counts[at]
            frequencies[name] = int(np.count_nonzero(standing[rows[at]]))
        taken = np.flatnonzero(wanted & table.any(axis=1))
        if len(taken) > limit:
            taken = self._rarest(table, wanted, [frequencies[name] for name in names], limit)
        documents = int(np.count_nonzero(standing))
        terms = int(self._lengths[standing].sum())
        return KeywordCandidates(
            tokens=names,
            handles=[self.rows[place].handle for place in taken.tolist()],
            counts=table[taken],
            lengths=self._lengths[taken],
            statistics=KeywordStatistics(
                documents=documents,
                average_length=terms / documents if documents else 0.0,
                document_frequency=frequencies,
            ),
        )

    @staticmethod
    def _rarest(
        table: NDArray[np.int32], wanted: NDArray[np.bool_], frequencies: Sequence[int], limit: int
    ) -> NDArray[np.intp]:
        """Those that hold the rarest tokens; of the token that fills it up, the first handles."""
        taken = np.zeros(len(table), dtype=np.bool_)
        for column in sorted(range(len(frequencies)), key=lambda column: (frequencies[column], column)):
            new = np.flatnonzero(wanted & ~taken & (table[:, column] > 0))
            taken[new[: limit - int(np.count_nonzero(taken))]] = True
        return np.flatnonzero(taken)

    # -- the vector side

    def _matrix(self, space: str) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The rows that have a vector of this space, and their vectors."""
        found = self._matrices.get(space)
        if found is None:
            places = [place for place, row in enumerate(self.rows) if space in row.vectors]
            vectors = [self.rows[place].vectors[space] for place in places]
            matrix = np.empty((0, 0), dtype=np.float32)
            if vectors:
                matrix = np.concatenate(vectors).reshape(len(vectors), -1)
            for number, vector in enumerate(vectors):
                if isinstance(vector.base, bytes):
                    # As it came from Redis: one copy of each is enough.
                    self.rows[places[number]].vectors[space] = matrix[number]
            found = self._matrices[space] = (np.array(places, dtype=np.intp), matrix)
        return found

    def nearest(
        self,
        criteria: MemoryFilter,
        space: str,
        query: Vector,
        *,
        now: datetime,
        limit: int,
        distance_max: float | None,
    ) -> VectorCandidates:
        """As ``nearest.nearest``. ``query`` is of unit length."""
        places, matrix = self._matrix(space)
        standing = self.matching(criteria, now)[places]
        total = int(np.count_nonzero(standing))
        if not total or limit <= 0:
            return VectorCandidates(handles=[], distances=np.empty(0, dtype=np.float32), total=total)
        if total < len(places):
            places, matrix = places[standing], matrix[standing]
        distances = np.clip(1.0 - np.einsum("ij,j->i", matrix, query), 0.0, 2.0).astype(np.float32)
        if distance_max is not None:
            within = distances <= np.float32(distance_max)
            places, distances = places[within], distances[within]
        if len(places) > limit:
            # All that tie with the last one stay in, so that the handle decides between them.
            last = np.partition(distances, limit - 1)[limit - 1]
            near = distances <= last
            places, distances = places[near], distances[near]
        order = np.lexsort((places, distances))[:limit]
        chosen: list[int] = places[order].tolist()
        handles = [self.rows[place].handle for place in chosen]
        return VectorCandidates(handles=handles, distances=distances[order], total=total)

    def vectors(self, handles: Iterable[Handle], spaces: Iterable[str]) -> dict[Handle, Vector]:
        found: dict[Handle, Vector] = {}
        for handle in handles:
            row = self.row(handle)
            for space in spaces:
                if row is not None and space in row.vectors:
                    found[handle] = row.vectors[space]
        return found

    # -- what is around and what is read of them

    @cached_property
    def _sessions(self) -> tuple[dict[str, tuple[int, int]], list[list[str]]]:
        """Where each live message of a session stands, and the sessions in order."""
        spoken: defaultdict[object, list[Row]] = defaultdict(list)
        for row in self.rows:
            if row.is_message and is_spoken(row.decoded()):
                spoken[row.decoded().scope].append(row)
        sessions = [
            [row.handle for row in sorted(rows, key=lambda row: (row.created, row.arrival))] for rows in spoken.values()
        ]
        at = {handle: (number, place) for number, each in enumerate(sessions) for place, handle in enumerate(each)}
        return at, sessions

    def neighbours(self, handles: Iterable[Handle], *, span: int) -> dict[Handle, Sequence[Handle]]:
        at, sessions = self._sessions
        found: dict[Handle, Sequence[Handle]] = {}
        for handle in handles:
            held = at.get(handle) if isinstance(handle, str) else None
            if held is not None:
                number, place = held
                found[handle] = sessions[number][max(0, place - span) : place + span + 1]
        return found

    def pool(self, criteria: MemoryFilter, handles: Sequence[Handle], *, span: int, now: datetime) -> Pool:
        found = self.passages(criteria, handles, now=now)
        if not span:
            return Pool(found, {})
        wanted = sources_of(found)
        found |= said_there(self.passages(criteria, wanted, now=now), wanted)
        around = self.neighbours(found, span=span)
        beside = dict.fromkeys(each for window in around.values() for each in window if each not in found)
        return Pool.of(found | self.passages(criteria, beside, now=now), around)

    def passages(self, criteria: MemoryFilter, handles: Iterable[Handle], *, now: datetime) -> dict[Handle, Passage]:
        """Only the rows that match."""
        moment, all_match = micros(now), criteria.is_scope_only
        found: dict[Handle, Passage] = {}
        for handle in handles:
            row = self.row(handle)
            if row is None or row.expires <= moment:
                continue
            if row.passage is None:
                row.passage = passage_of(row.decoded())
            if all_match or criteria.matches(row.decoded(), now):
                found[handle] = row.passage
        return found

    def times(self, handles: Iterable[Handle]) -> Mapping[Handle, tuple[int, int]]:
        rows = ((handle, self.row(handle)) for handle in handles)
        return {handle: (row.created, row.accessed) for handle, row in rows if row is not None}

    def memories(self, handles: Iterable[Handle]) -> Mapping[Handle, Memory]:
        rows = ((handle, self.row(handle)) for handle in handles)
        return {handle: row.decoded() for handle, row in rows if row is not None}
