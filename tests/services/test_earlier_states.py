"""What is kept of earlier states from one question to the next: only what the journal still says, and only for who asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import KeywordStatistics
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.services.earlier_states import EarlierStates, Remembered
from agent_memory_server.testing.embedder import HashEmbedder
from tests.services.test_search import NOW, memory

MINE = MemoryFilter(selector=ScopeSelector("default", "home", "ana"))
TEA = memory("tea", "tea and more tea")
CAT = memory("cat", "a cat drinks milk", days_ago=1)


def changed(*memories: Memory | None) -> list[Earlier]:
    return [Earlier(key=(each or TEA).key, memory=each, handle=None) for each in memories]


def texts(states: EarlierStates) -> list[str]:
    return [each.text for each in states.by_handle.values()]


def test_the_same_question_is_prepared_once() -> None:
    """Equal states, read anew, are the same ones; another filter, and a time at which one has expired, are other questions."""
    remembered = Remembered(HashEmbedder())
    remembered.renew()
    first = remembered.states(MINE, changed(TEA, None, CAT), NOW)
    assert texts(first) == [TEA.text, CAT.text]
    assert remembered.states(MINE, changed(replace(TEA), None, replace(CAT)), NOW + timedelta(days=1)) is first
    narrowed = replace(MINE, topics=TextFilter(any=("milk",)))
    assert texts(remembered.states(narrowed, changed(TEA, None, CAT), NOW)) == []
    ending = replace(CAT, expires_at=NOW + timedelta(hours=1))
    assert texts(remembered.states(MINE, changed(TEA, ending), NOW)) == [TEA.text, CAT.text]
    assert texts(remembered.states(MINE, changed(TEA, ending), NOW + timedelta(hours=2))) == [TEA.text]


def test_what_the_journal_does_not_say_any_more_is_not_answered() -> None:
    """A state whose text was deleted meanwhile, or that is another one, is looked at anew."""
    remembered = Remembered(HashEmbedder())
    remembered.renew()
    assert texts(remembered.states(MINE, changed(TEA, CAT), NOW)) == [TEA.text, CAT.text]
    assert texts(remembered.states(MINE, changed(TEA, None), NOW)) == [TEA.text]
    assert texts(remembered.states(MINE, changed(TEA, replace(CAT, text="a dog")), NOW)) == [TEA.text, "a dog"]


def test_words_of_earlier_states() -> None:
    """Those that hold a word stand with counts and lengths; statistics count all of them in."""
    states = Remembered(HashEmbedder()).states(MINE, changed(TEA, CAT), NOW)
    index = asyncio.run(states.index())
    handles, counts, lengths = index.holding(("tea", "nothing"))
    assert [states.by_handle[handle].id for handle in handles] == ["tea"]
    assert counts.tolist() == [[2, 0]]
    assert index.holding(())[0] == []
    whole = index.together(KeywordStatistics(documents=0, average_length=0.0, document_frequency={"tea": 0}))
    assert (whole.documents, whole.document_frequency) == (2, {"tea": 1})
    assert whole.average_length * 2 > lengths.sum()


def test_vectors_of_earlier_states() -> None:
    """One row for each state that says something."""
    embedder = HashEmbedder()
    states = Remembered(embedder).states(MINE, changed(TEA, memory("empty", "?!"), CAT), NOW)
    handles, rows = asyncio.run(states.vectors())
    assert [states.by_handle[handle].id for handle in handles] == ["tea", "cat"]
    expected = embedder.embed_one(CAT.text)
    assert expected is not None
    assert np.allclose(rows[1], expected)
