"""Groups have to hold together."""

from __future__ import annotations

from agent_memory_server.domain.cohesion import GROUP_SIZE_MAX, cohesive_group, cohesive_groups
from agent_memory_server.domain.search import Handle


def near(*pairs: tuple[int, int]) -> dict[Handle, dict[Handle, float]]:
    found: dict[Handle, dict[Handle, float]] = {}
    for one, other in pairs:
        found.setdefault(one, {})[other] = 0.1
        found.setdefault(other, {})[one] = 0.1
    return found


def test_a_clique_is_a_group() -> None:
    """All near each other, and nothing beyond."""
    assert cohesive_group(1, near((1, 2))) == (1, 2)
    assert cohesive_group(2, near((1, 2), (2, 3), (1, 3))) == (2, 1, 3)


def test_a_chain_is_none() -> None:
    """Whichever end one begins at: its ends are not near each other."""
    chain = near((1, 2), (2, 3))
    assert [cohesive_group(start, chain) for start in (1, 2, 3)] == [None, None, None]


def test_alone_is_no_group() -> None:
    """Neither without neighbours nor unknown."""
    assert cohesive_group(1, {}) is None
    assert cohesive_group(1, {1: {}}) is None


def test_a_crowd_is_cut_at_the_greatest_size() -> None:
    """Beyond it, the group may reach further: the rest comes with the next run."""
    crowd = near(*((one, other) for one in range(14) for other in range(one)))
    group = cohesive_group(0, crowd)
    assert group is not None
    assert len(group) == GROUP_SIZE_MAX


def test_groups_share_no_memory() -> None:
    """Each is taken once, whatever it is started from."""
    found = near((1, 2), (3, 4))
    assert cohesive_groups([2, 1, 3, 4, 5], found) == [(2, 1), (3, 4)]
