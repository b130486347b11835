"""The second stage: what each signal adds, that loners and messages share a scale, and that alpha ends in the pure orders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent_memory_server.domain.keyword_ranking import keyword_parts
from agent_memory_server.domain.second_stage import (
    DOUBT,
    PLAIN,
    Candidates,
    Passage,
    chained,
    in_question,
    relevances,
    signals,
    weighed,
)


def candidates(size: int = 5) -> Candidates:
    """So many messages of one session in a row; nothing matches."""
    places = np.arange(size)
    none = np.empty(0, dtype=np.int64)
    return Candidates(
        parts=np.zeros((size, 2)),
        word_weights=np.array([3.0, 1.0]),
        is_name=np.array([False, False]),
        meaning=np.full(size, 0.2),
        has_vector=np.ones(size, dtype=np.bool_),
        before=places - 1,
        after=np.where(places + 1 < size, places + 1, -1),
        conversation=np.zeros(size, dtype=np.int64),
        person=np.zeros(size),
        of_another=np.zeros(size, dtype=np.bool_),
        date=np.zeros(size),
        question=np.zeros(size),
        time=np.zeros(size),
        told=(none, none),
    )


def with_parts(given: Candidates, *parts: tuple[int, int, float]) -> Candidates:
    changed = given.parts.copy()
    for place, word, part in parts:
        changed[place, word] = part
    return replace(given, parts=changed)


def of(name: str, given: Candidates) -> list[float]:
    return [float(each) for each in signals(given)[:, PLAIN.signals.index(name)]]


def test_a_query_word_counts_where_it_stands_best() -> None:
    """A message shares its neighbours' words, those before it more than those after it, and none further than two away."""
    found = of("words", with_parts(candidates(7), (3, 0, 1.0)))
    assert found == pytest.approx([0, 0.3 * 0.75, 0.5 * 0.75, 0.75, 0.8 * 0.75, 0.5 * 0.75, 0])
    both = of("words", with_parts(candidates(7), (3, 0, 1.0), (4, 1, 1.0)))
    assert both[4] == pytest.approx(0.8 * 0.75 + 0.25)


def test_speakers_names_are_left_to_the_person_signal() -> None:
    """A word of a speaker's name adds nothing to the words, unless the query is nothing but names."""
    given = with_parts(candidates(), (2, 1, 1.0))
    assert of("words", replace(given, is_name=np.array([False, True]))) == [0.0] * 5
    assert of("words", replace(given, is_name=np.array([True, True])))[2] > 0


def test_loners_keep_what_is_their_own() -> None:
    """A fact beside a conversation is scored by its own words and meaning, also for the signals of context."""
    given = replace(
        with_parts(candidates(3), (0, 0, 0.6)),
        meaning=np.array([0.5, 0.1, 0.3]),
        before=np.array([-1, -1, 1]),
        after=np.array([-1, 2, -1]),
        conversation=np.array([-1, 0, 0]),
    )
    row = signals(given)[0]
    assert row[:3] == pytest.approx([0.45, 0.5, 0.5])
    assert of("meaning", given)[1:] == pytest.approx([(0.1 + 0.5 * 0.3) / 1.5, (0.3 + 0.5 * 0.1) / 1.5])
    assert of("conversation", given)[1:] == pytest.approx([0.2, 0.2])


def test_a_conversation_is_as_near_as_its_best_three() -> None:
    """Adding far messages to a session does not make it farther."""
    given = replace(candidates(5), meaning=np.array([0.9, 0.6, 0.3, 0.0, 0.0]))
    assert of("conversation", given) == pytest.approx([0.6] * 5)


def test_words_that_nobody_wrote_weigh_half() -> None:
    """They were more likely said in other words than not at all; what was written weighs as before."""
    assert in_question(np.array([3.0, 1.0]), np.array([False, True])).tolist() == [1.5, 1.0]


def test_each_signal_moves_relevance_its_own_way() -> None:
    """Person, date, time, words and meaning raise the chance, being a question lowers it, and all stay within 0..1."""
    plain = relevances(candidates())
    ones = np.ones(5)
    raised = [replace(candidates(), **{name: ones}) for name in ("person", "date", "time", "meaning")]
    assert all((relevances(each) > plain).all() for each in raised)
    assert (relevances(replace(candidates(), question=ones)) < plain).all()
    sure = relevances(replace(candidates(), parts=np.ones((5, 2)), meaning=ones, person=ones, date=ones))
    assert ((sure > 0.99) & (sure <= 1)).all()
    assert len(PLAIN.weights) == len(PLAIN.signals)


def test_without_a_vector_words_stand_in() -> None:
    """What waits for its vector is not held to have no meaning."""
    given = with_parts(candidates(1), (0, 0, 1.0), (0, 1, 1.0))
    waiting = replace(given, meaning=np.array([-9.0]), has_vector=np.array([False]))
    assert relevances(waiting)[0] == relevances(replace(given, meaning=np.array([1.0])))[0]


def test_anothers_words_cast_doubt_on_all_alike() -> None:
    """Where somebody else comes nearer than those whom the query names, every chance falls, and no order changes."""
    apart = np.full(3, -1)
    alone = replace(candidates(3), before=apart, after=apart, conversation=apart, meaning=np.array([0.3, 0.4, 0.1]))
    named = replace(alone, person=np.array([1.0, 0.0, 0.0]))
    doubted = replace(named, of_another=np.array([False, True, False]))
    sure, unsure = relevances(named), relevances(doubted)
    assert (unsure < sure).all()
    assert np.argsort(unsure).tolist() == np.argsort(sure).tolist()
    lost = np.log(sure / (1 - sure)) - np.log(unsure / (1 - unsure))
    nearer = (0.4 - 0.3) * (PLAIN.weights[1] + PLAIN.weights[2])
    assert lost == pytest.approx(DOUBT * nearer, rel=1e-3)
    much_nearer = replace(doubted, meaning=np.array([0.3, 0.9, 0.1]))
    assert weighed(much_nearer).shortfall == 1.0
    nearest = replace(doubted, meaning=np.array([0.6, 0.3, 0.1]))
    assert relevances(nearest).tolist() == relevances(replace(nearest, of_another=np.zeros(3, dtype=np.bool_))).tolist()


def test_what_a_message_said_is_not_said_before_it() -> None:
    """A memory comes behind the message that it was made of, and keeps its place when that one was not found."""
    given = replace(
        candidates(2), meaning=np.array([0.9, 0.3]), conversation=np.array([-1, 0]), before=np.array([-1, -1])
    )
    given = replace(given, after=np.array([-1, -1]))
    memory, message = relevances(given)
    assert memory > message
    memory, message = relevances(replace(given, told=(np.array([0]), np.array([1]))))
    assert memory == pytest.approx(message / 4, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_alpha_ends_in_the_pure_orders(alpha: float) -> None:
    """At 0 only a memory's own words order, at 1 only its own meaning, whatever its context says."""
    drawn = np.random.default_rng(3)
    given = replace(
        candidates(30),
        parts=drawn.random((30, 2)),
        meaning=drawn.random(30),
        person=drawn.random(30),
        date=drawn.random(30),
    )
    own = given.meaning if alpha else given.parts @ given.word_weights
    assert np.argsort(-relevances(given, alpha)).tolist() == np.argsort(-own).tolist()


def test_windows_that_overlap_are_one_chain() -> None:
    """Neighbours that different windows tell of are linked; a message at an edge has nobody beyond it."""
    before, after = chained({"a": 0, "b": 1, "c": 2, "d": 3, "x": 4}, {"b": ["a", "b", "c"], "c": ["b", "c", "d"]})
    assert before.tolist() == [-1, 0, 1, 2, -1]
    assert after.tolist() == [1, 2, 3, -1, -1]


def test_parts_saturate() -> None:
    """A word said twice counts more than once and less than double; in a longer text it counts less."""
    once, twice, long = keyword_parts(np.array([[1.0], [2.0], [1.0]]), np.array([10.0, 10.0, 40.0]), 10.0)[:, 0]
    assert long < once < twice < 2 * once


@pytest.mark.parametrize(("ending", "asks"), [("ow? ", True), ("吗？", True), ("ere.", False), ("", False)])
def test_questions_end_in_a_question_mark(ending: str, asks: bool) -> None:
    """In other scripts too, and with white space behind."""
    passage = Passage(
        "m",
        None,
        is_message=True,
        name=None,
        created_us=0,
        accessed_us=0,
        event_us=None,
        opening="",
        ending=ending,
        sources=(),
    )
    assert passage.is_question is asks
