"""What one memory is that stands for several: nothing of theirs is lost, and nothing is promoted. Pure.

Times widen (made first, used last), counts add up, tags and sources are united, trust is the lowest. Metadata under one key
with different values keeps the first one's, and the others' under ``MERGED_METADATA`` with the id of the memory they are from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory, derived_id

MERGED_METADATA = "merged_metadata"
"""Metadata key: ``[{"id": …, "metadata": {…}}]``, the values of merged memories that differ from the one that is kept."""


def merged(sources: Sequence[Memory], *, text: str, version: str, author: str, at: datetime) -> Memory:
    """The memory that says in ``text`` what the sources say. Its id follows from theirs, so merging twice is one memory.

    The sources have one owner and type, and at most one event date (``sameness.difference`` sees to that).
    """
    oldest_first = sorted(sources, key=lambda memory: (memory.created_at, memory.id))
    first = oldest_first[0]
    lowest = min(oldest_first, key=lambda memory: memory.trust)
    together = _together(first, oldest_first)
    scope = first.scope
    owner = (scope.tenant, scope.namespace or "", scope.user_id or "")
    return replace(
        together,
        id=derived_id("merge", version, *owner, *sorted(memory.id for memory in sources)),
        scope=replace(scope, session_id=_first(memory.scope.session_id for memory in oldest_first)),
        text=text,
        updated_at=at,
        persisted_at=at,
        pinned=False,
        memory_hash="",
        extracted=True,
        source=lowest.source,
        author=author,
        trust=lowest.trust,
        derived_from=tuple(memory.id for memory in oldest_first),
        superseded_by=None,
    )


def enriched(survivor: Memory, others: Sequence[Memory], *, at: datetime) -> Memory:
    """The survivor of exact duplicates with what only the others knew; equal to the survivor when that is nothing."""
    together = _together(survivor, [survivor, *others])
    same = replace(together, updated_at=survivor.updated_at)
    return survivor if same == survivor else replace(together, updated_at=at)


def standing_again(source: Memory, merge: Memory, *, operation_id: str, at: datetime) -> Memory:
    """A memory that had stepped back behind a merge which is taken apart. What somebody decided about the merge holds for what is
    left of it: that it is pinned, when it ended, and when it expires."""
    return replace(
        source,
        superseded_by=None,
        pinned=source.pinned or merge.pinned,
        valid_to=source.valid_to or merge.valid_to,
        expires_at=source.expires_at or merge.expires_at,
        updated_at=at,
        revision=source.revision + 1,
        operation_id=operation_id,
    )


def _together(first: Memory, memories: Sequence[Memory]) -> Memory:
    endings = [memory.expires_at for memory in memories]
    return replace(
        first,
        created_at=min(memory.created_at for memory in memories),
        last_accessed=max(memory.last_accessed for memory in memories),
        access_count=sum(memory.access_count for memory in memories),
        topics=_united(memory.topics for memory in memories),
        entities=_united(memory.entities for memory in memories),
        event_date=_first(memory.event_date for memory in memories),
        valid_from=_first(memory.valid_from for memory in memories),
        valid_to=_first(memory.valid_to for memory in memories),
        # The last copy of a fact goes by its own time to live alone: one that has none keeps the fact.
        expires_at=None if None in endings else max(each for each in endings if each is not None),
        extracted_from=_sources(memories),
        metadata=_metadata(first, memories),
    )


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _united(tags: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for each in tags for tag in each))[: LIMITS.tags_max]


def _sources(memories: Sequence[Memory]) -> tuple[str, ...] | None:
    named = [memory.extracted_from for memory in memories if memory.extracted_from is not None]
    return tuple(dict.fromkeys(source for each in named for source in each)) if named else None


def _metadata(first: Memory, memories: Sequence[Memory]) -> Mapping[str, Any]:
    kept: dict[str, Any] = {key: value for key, value in first.metadata.items() if key != MERGED_METADATA}
    differing: list[Any] = list(_listed(first.metadata))
    for memory in memories:
        if memory.key == first.key:
            continue
        others = {
            key: value
            for key, value in memory.metadata.items()
            if key != MERGED_METADATA and not _equal(kept.setdefault(key, value), value)
        }
        if others:
            differing.append({"id": memory.id, "metadata": others})
        differing.extend(_listed(memory.metadata))
    return {**kept, MERGED_METADATA: differing} if differing else kept


def _listed(metadata: Mapping[str, Any]) -> Sequence[Any]:
    found = metadata.get(MERGED_METADATA, [])
    return found if isinstance(found, list) else [found]  # pyright: ignore[reportUnknownVariableType] - JSON of a client


def _equal(one: object, other: object) -> bool:
    """As JSON: 1, 1.0 and true are different values there."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
