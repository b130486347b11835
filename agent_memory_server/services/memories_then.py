"""The memories of one filter as they were at one time, as a search reads them: what changed since stands beside the rest."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.records import Memory, MemoryKey, MemoryType
from agent_memory_server.domain.search import Handle, KeywordCandidates, KeywordStatistics, VectorCandidates
from agent_memory_server.domain.second_stage import Passage, Pool
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.ports.memories import Listing, MemoryStore, Order
from agent_memory_server.services.embedding import text_to_embed

CURSOR_PREFIX = "then-"
_REMEMBERED_MAX = 4_096
"""Earlier states whose vectors and index terms are kept for the next question about them."""
_REMEMBERED_S = 60.0
_EMBEDDED_AT_ONCE = 200
FEW = 1_000
"""Records that changed since: so many are taken out of what a read finds, more are left out by the engine."""
_ENDING_CHARACTERS = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThenListing:
    """``ports.memories.Listing``."""

    memories: Sequence[Memory]
    total: int
    next_cursor: str | None


class MemoriesThen:
    """As much of ``ports.memories.MemoryStore`` as a search asks for, over the memories of one filter as they were."""

    def __init__(
        self,
        store: MemoryStore,
        remembered: Remembered,
        criteria: MemoryFilter,
        point: int,
        changed: Sequence[Earlier],
        as_of: datetime,
    ) -> None:
        self._store = store
        self._remembered = remembered
        self.criteria = replace(criteria, unchanged_since=point)
        """The filter with which these memories are to be asked for."""
        self._hidden = frozenset(each.handle for each in changed if each.handle is not None)
        self._plain = criteria if len(self._hidden) <= FEW else None
        """The filter without the point, when what changed is few enough to be taken out of what a read finds: engines answer
        that in their fastest way."""
        states = [each.memory for each in changed if each.memory is not None and criteria.matches(each.memory, as_of)]
        states.sort(key=_in_listing)
        self._states = {f"then:{number}": memory for number, memory in enumerate(states)}

    async def list(
        self,
        criteria: MemoryFilter,
        /,
        *,
        now: datetime,
        limit: int,
        offset: int = 0,
        cursor: str | None = None,
        order: Order = Order.CREATED_DESC,
    ) -> Listing:
        del cursor, order
        wanted = offset + limit
        unchanged = await self._store.list(criteria, now=now, limit=wanted)
        together = sorted([*unchanged.memories, *self._states.values()], key=_in_listing)
        total = unchanged.total + len(self._states)
        is_last = wanted >= total
        return ThenListing(
            memories=together[offset:wanted], total=total, next_cursor=None if is_last else f"{CURSOR_PREFIX}{wanted}"
        )

    async def get_many(self, handles: Sequence[Handle], /) -> Mapping[Handle, Memory]:
        found = dict(await self._store.get_many(self._living(handles)))
        found.update((handle, memory) for handle in handles if (memory := self._state(handle)) is not None)
        return found

    async def times(self, handles: Sequence[Handle], /) -> Mapping[Handle, tuple[int, int]]:
        found = dict(await self._store.times(self._living(handles)))
        for handle in handles:
            memory = self._state(handle)
            if memory is not None:
                found[handle] = (_microseconds(memory.created_at), _microseconds(memory.last_accessed))
        return found

    async def nearest(
        self,
        criteria: MemoryFilter,
        /,
        *,
        vector: Vector,
        model: str,
        now: datetime,
        limit: int,
        distance_max: float | None = None,
    ) -> VectorCandidates:
        near = await self._near(criteria, vector=vector, model=model, now=now, limit=limit, distance_max=distance_max)
        vectors = await self._remembered.vectors(self._states)
        if not vectors:
            return near
        norm = float(np.linalg.norm(vector)) or 1.0
        rows = np.stack(list(vectors.values())).astype(np.float32)
        distances = np.clip(1.0 - rows @ (vector / np.float32(norm)), 0.0, 2.0)
        beside = [
            (float(distance), handle)
            for distance, handle in zip(distances.tolist(), vectors, strict=True)
            if distance_max is None or distance <= distance_max
        ]
        together = sorted(
            [*zip(near.distances.tolist(), near.handles, strict=True), *beside],
            key=lambda each: (each[0], str(each[1])),
        )[:limit]
        return VectorCandidates(
            handles=[handle for _, handle in together],
            distances=np.array([distance for distance, _ in together], dtype=np.float32),
            total=near.total + len(vectors),
        )

    async def _near(
        self,
        criteria: MemoryFilter,
        *,
        vector: Vector,
        model: str,
        now: datetime,
        limit: int,
        distance_max: float | None,
    ) -> VectorCandidates:
        """Of what did not change."""
        if self._plain is None:
            return await self._store.nearest(
                criteria, vector=vector, model=model, now=now, limit=limit, distance_max=distance_max
            )
        found = await self._store.nearest(
            self._plain,
            vector=vector,
            model=model,
            now=now,
            limit=limit + len(self._hidden),
            distance_max=distance_max,
        )
        kept = [place for place, handle in enumerate(found.handles) if handle not in self._hidden][:limit]
        today = await self._store.vectors(list(self._hidden), model=model)
        records = await self._store.get_many(list(today))
        counted = sum(self._plain.matches(each, now) for each in records.values())
        return VectorCandidates(
            handles=[found.handles[place] for place in kept],
            distances=found.distances[kept],
            total=found.total - counted,
        )

    async def _held(
        self, criteria: MemoryFilter, *, tokens: Sequence[str], now: datetime, limit: int
    ) -> KeywordCandidates:
        """Of what did not change."""
        if self._plain is None:
            return await self._store.holding(criteria, tokens=tokens, now=now, limit=limit)
        found = await self._store.holding(self._plain, tokens=tokens, now=now, limit=limit + len(self._hidden))
        kept = [place for place, handle in enumerate(found.handles) if handle not in self._hidden][:limit]
        return replace(
            found,
            handles=[found.handles[place] for place in kept],
            counts=found.counts[kept],
            lengths=found.lengths[kept],
        )

    async def holding(
        self, criteria: MemoryFilter, /, *, tokens: Sequence[str], now: datetime, limit: int
    ) -> KeywordCandidates:
        held = await self._held(criteria, tokens=tokens, now=now, limit=limit)
        if not self._states:
            return held
        terms = self._terms() if len(self._states) <= FEW else await asyncio.to_thread(self._terms)
        beside = {handle: counts for handle, counts in terms.items() if any(token in counts for token in held.tokens)}
        counts = np.array(
            [[each.get(token, 0) for token in held.tokens] for each in beside.values()], dtype=np.int32
        ).reshape(len(beside), len(held.tokens))
        lengths = np.array([sum(each.values()) for each in beside.values()], dtype=np.int32)
        return KeywordCandidates(
            tokens=held.tokens,
            handles=[*held.handles, *beside][:limit],
            counts=np.concatenate([held.counts, counts])[:limit],
            lengths=np.concatenate([held.lengths, lengths])[:limit],
            statistics=_together(held.statistics, list(terms.values())),
        )

    def _terms(self) -> Mapping[str, Mapping[str, int]]:
        return {handle: self._remembered.tokens(memory) for handle, memory in self._states.items()}

    async def vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, Vector]:
        found = dict(await self._store.vectors(self._living(handles), model=model))
        wanted = {str(handle): memory for handle in handles if (memory := self._state(handle)) is not None}
        found.update(await self._remembered.vectors(wanted))
        return found

    async def token_vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, bytes]:
        """Of those that did not change; the others are judged without."""
        return await self._store.token_vectors(self._living(handles), model=model)

    async def neighbours(self, handles: Sequence[Handle], /, *, span: int) -> Mapping[Handle, Sequence[Handle]]:
        """Of those that did not change; what changed among the neighbours is left out."""
        around = await self._store.neighbours(self._living(handles), span=span)
        return {handle: [each for each in window if each not in self._hidden] for handle, window in around.items()}

    async def pool(self, criteria: MemoryFilter, handles: Sequence[Handle], /, *, span: int, now: datetime) -> Pool:
        """As the store's. What changed stands alone: who was beside it then is not known."""
        living = [handle for handle in self._living(handles) if handle not in self._hidden]
        found = await self._store.pool(self._plain or criteria, living, span=span, now=now)
        states = {handle: memory for handle in handles if (memory := self._state(handle)) is not None}
        passages: dict[Handle, Passage] = {
            handle: passage for handle, passage in found.passages.items() if handle not in self._hidden
        }
        passages.update((handle, _passage(memory)) for handle, memory in states.items())
        return Pool.of(passages, found.around)

    async def touch(self, handles_or_keys: Sequence[MemoryKey], /, *, at: datetime, interval_min_s: float) -> int:
        """Looking back is no use of a memory: nothing is noted."""
        del handles_or_keys, at, interval_min_s
        return 0

    def _state(self, handle: Handle) -> Memory | None:
        return self._states.get(handle) if isinstance(handle, str) else None

    def _living(self, handles: Sequence[Handle]) -> list[Handle]:
        return [handle for handle in handles if self._state(handle) is None]


class Remembered:
    """Index terms and vectors of earlier states, which no store holds any more: made once for a series of questions.

    All of it is let go after a minute, so that what somebody deletes for good does not live on here.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._begun_at = float("-inf")
        self._tokens: dict[tuple[object, ...], Mapping[str, int]] = {}
        self._vectors: dict[str, Vector | None] = {}

    def renew(self) -> None:
        """To be called before each question."""
        now = time.monotonic()
        if now - self._begun_at > _REMEMBERED_S:
            self._begun_at = now
            self._tokens.clear()
            self._vectors.clear()

    def tokens(self, memory: Memory) -> Mapping[str, int]:
        parts = (memory.text, memory.name, memory.topics, memory.entities)
        known = self._tokens.get(parts)
        if known is None:
            if len(self._tokens) >= _REMEMBERED_MAX:
                self._tokens.clear()
            known = self._tokens[parts] = index_tokens(*parts)
        return known

    async def vectors(self, states: Mapping[str, Memory]) -> dict[str, Vector]:
        """By handle; those in which there is nothing to embed are missing. Raises EmbedderUnavailable."""
        texts = {handle: text_to_embed(memory) for handle, memory in states.items()}
        known = {text: self._vectors[text] for text in texts.values() if text in self._vectors}
        missing = [text for text in dict.fromkeys(texts.values()) if text not in known]
        if missing:
            made: dict[str, Vector | None] = {}
            for first in range(0, len(missing), _EMBEDDED_AT_ONCE):
                some = missing[first : first + _EMBEDDED_AT_ONCE]
                made.update(zip(some, await self._embedder.embed(some), strict=True))
                # A local model works on the event loop: others get their turn in between.
                await asyncio.sleep(0)
            known |= made
            if len(self._vectors) + len(made) > _REMEMBERED_MAX:
                self._vectors.clear()
            if len(made) <= _REMEMBERED_MAX:
                self._vectors |= made
        found = {handle: known[text] for handle, text in texts.items()}
        return {handle: vector for handle, vector in found.items() if vector is not None}


def _together(now: KeywordStatistics, then: Sequence[Mapping[str, int]]) -> KeywordStatistics:
    """Today's statistics with the earlier states counted in: no word is rarer than it was."""
    documents = now.documents + len(then)
    terms = now.average_length * now.documents + sum(sum(each.values()) for each in then)
    beside = Counter(token for each in then for token in now.document_frequency if token in each)
    return KeywordStatistics(
        documents=documents,
        average_length=terms / documents if documents else 0.0,
        document_frequency={token: held + beside[token] for token, held in now.document_frequency.items()},
    )


def _passage(memory: Memory) -> Passage:
    is_message = memory.memory_type is MemoryType.MESSAGE
    return Passage(
        id=memory.id,
        session=None if memory.scope.session_id is None else memory.scope,
        is_message=is_message,
        name=memory.name,
        created_us=_microseconds(memory.created_at),
        accessed_us=_microseconds(memory.last_accessed),
        event_us=None if memory.event_date is None else _microseconds(memory.event_date),
        ending=memory.text[-_ENDING_CHARACTERS:],
        sources=() if is_message else memory.extracted_from or (),
    )


def _in_listing(memory: Memory) -> tuple[float, str, str, str]:
    scope = memory.scope
    return -_microseconds(memory.created_at), memory.id, scope.namespace or "", scope.user_id or ""


def _microseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
