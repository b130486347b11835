"""Earlier states that no store holds any more, made ready for searches, and kept a while for the next question about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.instants import micros
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import KeywordStatistics
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.services.embedding import text_to_embed

_REMEMBERED_MAX = 4_096
"""Earlier states whose vectors and index terms are kept for the next question about them."""
_QUESTIONS_MAX = 32
"""Filters whose earlier states are kept together."""
_REMEMBERED_S = 60.0
_EMBEDDED_AT_ONCE = 200


class EarlierIndex:
    """Which of some states hold which tokens, how often."""

    def __init__(self, handles: Sequence[str], terms: Sequence[Mapping[str, int]]) -> None:
        self._handles = handles
        self._lengths = np.array([sum(each.values()) for each in terms], dtype=np.int32)
        self._length = int(self._lengths.sum())
        self._held: dict[str, list[tuple[int, int]]] = {}
        for place, each in enumerate(terms):
            for token, count in each.items():
                self._held.setdefault(token, []).append((place, count))

    def holding(self, tokens: Sequence[str]) -> tuple[list[str], NDArray[np.int32], NDArray[np.int32]]:
        """Handles, counts (a column a token) and lengths of the states with any of the tokens, in their own order."""
        table = np.zeros((len(self._handles), len(tokens)), dtype=np.int32)
        for column, token in enumerate(tokens):
            for place, count in self._held.get(token, ()):
                table[place, column] = count
        places = np.flatnonzero(table.any(axis=1))
        return [self._handles[place] for place in places.tolist()], table[places], self._lengths[places]

    def together(self, now: KeywordStatistics) -> KeywordStatistics:
        """Today's statistics with the states counted in: no word is rarer than it was."""
        documents = now.documents + len(self._handles)
        terms = now.average_length * now.documents + self._length
        return KeywordStatistics(
            documents=documents,
            average_length=terms / documents if documents else 0.0,
            document_frequency={
                token: held + len(self._held.get(token, ())) for token, held in now.document_frequency.items()
            },
        )


class EarlierStates:
    """What one filter leaves of the earlier states, under handles of their own. What a search asks of them is made once."""

    def __init__(self, memories: Sequence[Memory], remembered: Remembered) -> None:
        self._remembered = remembered
        self.by_handle: Mapping[str, Memory] = {f"then:{number}": memory for number, memory in enumerate(memories)}
        self.times: Mapping[str, tuple[int, int]] = {
            handle: (micros(memory.created_at), micros(memory.last_accessed))
            for handle, memory in self.by_handle.items()
        }
        self.beside_vectors = 0
        """How many vectors the store held for the filter when it was asked last, if it is worth while to ask for all."""
        self._index: EarlierIndex | None = None
        self._vectors: tuple[list[str], NDArray[np.float32]] | None = None

    def index(self) -> EarlierIndex:
        if self._index is None:
            terms = [self._remembered.tokens(memory) for memory in self.by_handle.values()]
            self._index = EarlierIndex(list(self.by_handle), terms)
        return self._index

    async def vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Handles and a row for each; those in which there is nothing to embed are missing. Raises EmbedderUnavailable."""
        if self._vectors is None:
            found = await self._remembered.vectors(self.by_handle)
            rows = np.stack(list(found.values())).astype(np.float32) if found else np.empty((0, 0), dtype=np.float32)
            self._vectors = list(found), rows
        return self._vectors


class Remembered:
    """Index terms and vectors of earlier states, which no store holds any more: made once for a series of questions.

    All of it is let go after a minute, so that what somebody deletes for good does not live on here.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._begun_at = float("-inf")
        self._tokens: dict[tuple[object, ...], Mapping[str, int]] = {}
        self._vectors: dict[str, Vector | None] = {}
        self._states: dict[tuple[MemoryFilter, datetime | None], tuple[list[Memory | None], EarlierStates]] = {}

    def renew(self) -> None:
        """To be called before each question."""
        now = time.monotonic()
        if now - self._begun_at > _REMEMBERED_S:
            self._begun_at = now
            self._tokens.clear()
            self._vectors.clear()
            self._states.clear()

    def states(self, criteria: MemoryFilter, changed: Sequence[Earlier], as_of: datetime) -> EarlierStates:
        """Those that match. The journal is read for each question: what is kept counts only where it says the same."""
        memories = [each.memory for each in changed]
        expiring = any(memory is not None and memory.expires_at is not None for memory in memories)
        asked = criteria, as_of if expiring else None
        known = self._states.get(asked)
        if known is not None and known[0] == memories:
            return known[1]
        matching = [memory for memory in memories if memory is not None and criteria.matches(memory, as_of)]
        states = EarlierStates(sorted(matching, key=in_listing), self)
        held = sum(len(kept) for kept, _ in list(self._states.values()))
        if len(self._states) >= _QUESTIONS_MAX or held + len(memories) > _REMEMBERED_MAX:
            self._states.clear()
        if len(memories) <= _REMEMBERED_MAX:
            self._states[asked] = memories, states
        return states

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


def in_listing(memory: Memory) -> tuple[float, str, str, str]:
    """The order of a listing: the newest first."""
    scope = memory.scope
    return -micros(memory.created_at), memory.id, scope.namespace or "", scope.user_id or ""
