"""The best of a channel: the same on every engine, whatever it calls its memories."""

from __future__ import annotations

import numpy as np

from agent_memory_server.domain.ranking import best


def test_equals_are_in_or_out_together() -> None:
    """Those that equal the last one are taken while that makes a quarter more; else none of them is, whatever their handles."""
    few = [0.9, 0.8, 0.7, 0.5, 0.5, 0.1]
    assert best(list("abcdef"), np.array(few), 4) == list("abcde")
    many = [0.9, 0.8, 0.5, 0.5, 0.5, 0.5]
    assert best(list("abcdef"), np.array(many), 4) == ["a", "b"]
    assert best(list("fedcba"), np.array(many), 4) == ["f", "e"]


def test_where_too_many_are_the_very_best_some_are_taken() -> None:
    """Nothing better tells them apart than their handles, and none at all would be no answer."""
    assert best(list("gfedcba"), np.ones(7), 4) == list("abcde")


def test_fewer_than_asked_for_are_all_taken() -> None:
    """By falling relevance, equal ones by handle."""
    assert best(["b", "a", "c"], np.array([0.5, 0.5, 0.9]), 4) == ["c", "a", "b"]
    assert best([], np.zeros(0), 4) == []
