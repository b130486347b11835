"""Which memories near each other are one group: all near each other, and none of them near to anything else. Pure.

Nearness is not transitive: with A near B and B near C, merging along the chain would join A and C, which are not near. So a
group has to be a clique within the threshold, and must not reach beyond itself, except where it is cut at its greatest size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent_memory_server.domain.search import Handle

GROUP_SIZE_MAX = 10

Near = Mapping[Handle, Mapping[Handle, float]]
"""For each memory those within the threshold, with their distances; a relation that holds both ways."""


def cohesive_group(start: Handle, near: Near) -> tuple[Handle, ...] | None:
    """The group around ``start`` (itself first, then by distance), or None: there is none, or it does not hold together."""
    around = sorted(near.get(start, {}).items(), key=lambda entry: (entry[1], str(entry[0])))
    members = (start, *(handle for handle, _ in around[: GROUP_SIZE_MAX - 1]))
    if len(members) < 2:
        return None
    group = frozenset(members)
    for member in members:
        neighbours = near.get(member, {}).keys()
        if not neighbours >= group - {member}:
            return None
        if len(group) < GROUP_SIZE_MAX and not neighbours <= group:
            return None
    return members


def cohesive_groups(starts: Iterable[Handle], near: Near) -> list[tuple[Handle, ...]]:
    """The groups around these memories, none of which shares a memory with another; the first start wins."""
    taken: set[Handle] = set()
    groups: list[tuple[Handle, ...]] = []
    for start in starts:
        if start in taken:
            continue
        group = cohesive_group(start, near)
        if group is not None and taken.isdisjoint(group):
            taken.update(group)
            groups.append(group)
    return groups
