"""The rules reach their targets on the data set that was written before them."""

from __future__ import annotations

import pytest

from benchmarks.extraction import PARTS, PRECISION_MIN, RECALL_MIN, load, run, total


@pytest.mark.parametrize("part", PARTS)
def test_precision_and_recall_reach_their_targets(part: str) -> None:
    """Both parts, also the one that the rules were not tuned on."""
    tally = total(run(part))
    assert tally.precision >= PRECISION_MIN
    assert tally.recall >= RECALL_MIN


def test_the_data_set_is_large_and_varied_enough() -> None:
    """At least 60 messages with memories and 30 without, a third of them held out, of several kinds of talk."""
    examples = {part: load(part) for part in PARTS}
    both = [example for part in PARTS for example in examples[part]]
    assert sum(bool(example.expected) for example in both) >= 60
    assert sum(not example.expected for example in both) >= 30
    assert len(examples["held_out"]) * 3 >= len(both)
    assert {"assistant", "friends", "work", "notes", "support"} <= {example.kind for example in both}
    assert len({example.message.content for example in both}) == len(both)
