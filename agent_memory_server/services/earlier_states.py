"""Earlier states that no store holds any more, made ready for searches, and kept a while for the next question about them."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.instants import micros
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import Handle, KeywordStatistics
from agent_memory_server.domain.second_stage import Passage, passage_of
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.services.embedding import text_to_embed

_REMEMBERED_MAX = 4_096
"""Earlier states whose vectors and index terms are kept for other questions about some of them."""
_QUESTIONS_MAX = 32
"""Filters and moments whose earlier states are kept together."""
_STATES_MAX = 2 * LIMITS.changes_since_max
"""Of all those questions."""
FEW = 1_000
"""States that are looked at on the event loop; more of them are not, where requests wait."""
REMEMBERED_S = 60.0
_EMBEDDED_AT_ONCE = 200


class EarlierIndex:
    """Which of some states hold which tokens, how often."""

    def __init__(self, handles: Sequence[str], terms: Sequence[Mapping[str, int]]) -> None:
        self._handles = handles
        self._lengths = np.array([sum(each.values()) for each in terms], dtype=np.int32)
        self._length = int(self._lengths.sum())
        self._held: dict[str, array[int]] = {}
        """Places and counts, one after the other."""
        for place, each in enumerate(terms):
            for token, count in each.items():
                self._held.setdefault(token, array("i")).extend((place, count))

    def holding(self, tokens: Sequence[str]) -> tuple[list[str], NDArray[np.int32], NDArray[np.int32]]:
        """Handles, counts (a column a token) and lengths of the states with any of the tokens, in their own order."""
        table = np.zeros((len(self._handles), len(tokens)), dtype=np.int32)
        for column, token in enumerate(tokens):
            held = self._held.get(token)
            if held is not None:
                places_and_counts = np.frombuffer(held, dtype=np.intc)
                table[places_and_counts[::2], column] = places_and_counts[1::2]
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
                token: held + len(self._held.get(token, ())) // 2 for token, held in now.document_frequency.items()
            },
        )


class EarlierStates:
    """What one filter leaves of the earlier states, under handles of their own. What a search asks of them is made once."""

    def __init__(self, memories: Sequence[Memory], hidden: frozenset[Handle], remembered: Remembered) -> None:
        self._remembered = remembered
        self.hidden = hidden
        """Records of today that these states, or nothing, stand for."""
        self.by_handle: Mapping[str, Memory] = {f"then:{number}": memory for number, memory in enumerate(memories)}
        """In the order of a listing."""
        self.counted: tuple[int, int] | None = None
        """How many vectors the store held for the filter when they were counted, and how many of those were of hidden records."""
        self._index: EarlierIndex | None = None
        self._vectors: tuple[list[str], NDArray[np.float32]] | None = None
        self._places: dict[str, int] = {}
        self._passages: dict[str, Passage] = {}

    def times(self, handle: str) -> tuple[int, int]:
        memory = self.by_handle[handle]
        return micros(memory.created_at), micros(memory.last_accessed)

    def passage(self, handle: str) -> Passage:
        found = self._passages.get(handle)
        if found is None:
            found = self._passages[handle] = passage_of(self.by_handle[handle])
        return found

    def vector(self, handle: str) -> Vector | None:
        """Once ``vectors`` were made."""
        assert self._vectors is not None
        place = self._places.get(handle)
        return None if place is None else self._vectors[1][place]

    async def index(self) -> EarlierIndex:
        if self._index is None:
            many = len(self.by_handle) > FEW
            self._index = await asyncio.to_thread(self._indexed) if many else self._indexed()
        return self._index

    def _indexed(self) -> EarlierIndex:
        terms = [self._remembered.tokens(memory) for memory in self.by_handle.values()]
        return EarlierIndex(list(self.by_handle), terms)

    async def vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Handles and a row for each; those in which there is nothing to embed are missing. Raises EmbedderUnavailable."""
        if self._vectors is None:
            found = await self._remembered.vectors(self.by_handle)
            rows = np.stack(list(found.values())).astype(np.float32) if found else np.empty((0, 0), dtype=np.float32)
            self._places = {handle: place for place, handle in enumerate(found)}
            self._vectors = list(found), rows
        return self._vectors


@dataclass(frozen=True, slots=True)
class _Answered:
    changed: Sequence[Earlier]
    expires: bool
    """Some of these states may be over at another time."""
    states: EarlierStates


class Remembered:
    """Index terms and vectors of earlier states, which no store holds any more: made once for a series of questions.

    All of it is let go after a minute, so that what somebody deletes for good does not live on here.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._begun_at = float("-inf")
        self._tokens: dict[tuple[object, ...], Mapping[str, int]] = {}
        self._vectors: dict[str, Vector | None] = {}
        self._answered: dict[tuple[MemoryFilter, datetime], _Answered] = {}

    def renew(self) -> bool:
        """To be called before each question: whether a new minute begins, at the end of which to ``let_go``."""
        now = time.monotonic()
        if now - self._begun_at <= REMEMBERED_S:
            return False
        self._begun_at = now
        self.let_go()
        return True

    def let_go(self) -> None:
        self._tokens.clear()
        self._vectors.clear()
        self._answered.clear()

    def known(self, criteria: MemoryFilter, changed: Sequence[Earlier], as_of: datetime) -> EarlierStates | None:
        """Those that match, if they are at hand. The journal is asked for each question: what is kept counts only where it says
        the same."""
        asked = criteria, as_of
        found = self._answered.get(asked)
        if found is not None:
            return found.states if found.changed is changed or found.changed == changed else None
        for (other, _), answered in list(self._answered.items()):
            if other == criteria and not answered.expires and answered.changed == changed:
                self._keep(asked, answered)
                return answered.states
        return None

    def states(self, criteria: MemoryFilter, changed: Sequence[Earlier], as_of: datetime) -> EarlierStates:
        """The same, made when they are not at hand."""
        found = self.known(criteria, changed, as_of)
        if found is not None:
            return found
        memories = [each.memory for each in changed if each.memory is not None]
        matching = [memory for memory in memories if criteria.matches(memory, as_of)]
        hidden = frozenset(each.handle for each in changed if each.handle is not None)
        states = EarlierStates(sorted(matching, key=in_listing), hidden, self)
        expires = any(memory.expires_at is not None for memory in memories)
        self._keep((criteria, as_of), _Answered(changed, expires, states))
        return states

    def _keep(self, asked: tuple[MemoryFilter, datetime], answered: _Answered) -> None:
        held = sum(len(each.changed) for each in list(self._answered.values()))
        if len(self._answered) >= _QUESTIONS_MAX or held + len(answered.changed) > _STATES_MAX:
            self._answered.clear()
        self._answered[asked] = answered

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
