"""Which endpoint a path means: a tree of its segments, looked up in a few dictionary steps.

A fixed segment goes before an id in the same place, as far as the method allows: ``POST …/search`` is the search, and
``GET …/search`` is the memory whose id is "search".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent_memory_server.api.operations import Operation


@dataclass(slots=True)
class _Node:
    fixed: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    named: _Node | None = None
    name: str = ""
    operations: dict[str, Operation] = field(default_factory=dict[str, Operation])


@dataclass(frozen=True, slots=True)
class Found:
    """``operation`` is None when the path is there but not for this method; ``allowed`` then says for which."""

    operation: Operation | None
    ids: Mapping[str, str]
    allowed: Sequence[str] = ()


class Dispatcher:
    """Finds operations by method and decoded path segments."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            node = self._root
            for segment in operation.path.strip("/").split("/"):
                if segment.startswith("{"):
                    if node.named is None:
                        node.named = _Node(name=segment[1:-1])
                    node = node.named
                else:
                    node = node.fixed.setdefault(segment, _Node())
            node.operations[operation.method] = operation

    def find(self, method: str, segments: Sequence[str]) -> Found | None:
        """The operation, or None when the path is none of ours."""
        wanted = "GET" if method == "HEAD" else method
        allowed: list[str] = []
        for node, ids in _ends(self._root, segments, 0, {}):
            operation = node.operations.get(wanted)
            if operation is not None:
                return Found(operation, ids)
            allowed.extend(node.operations)
        return Found(None, {}, sorted(set(allowed))) if allowed else None


def _ends(
    node: _Node, segments: Sequence[str], place: int, ids: dict[str, str]
) -> Iterable[tuple[_Node, dict[str, str]]]:
    """The nodes that the segments lead to, fixed ones first; an empty segment is no id."""
    if place == len(segments):
        yield node, ids
        return
    segment = segments[place]
    fixed = node.fixed.get(segment)
    if fixed is not None:
        yield from _ends(fixed, segments, place + 1, ids)
    if node.named is not None and segment:
        yield from _ends(node.named, segments, place + 1, {**ids, node.named.name: segment})
