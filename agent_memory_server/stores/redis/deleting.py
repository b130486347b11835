"""Taking a memory away: by policy with its state kept in the journal, or for good with everything that repeats its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_memory_server.domain.fusing import standing_again
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.journalling import Journalling, is_past, operation_key, scrub_history
from agent_memory_server.stores.redis.memory_keys import copies_key, history_key
from agent_memory_server.stores.redis.rows import (
    Stored,
    remove_memory,
    stored_memories,
    stored_memory,
    update_memory,
)
from agent_memory_server.stores.redis.scopes import pairs_of
from agent_memory_server.stores.redis.summary_rows import scrub_summaries
from agent_memory_server.stores.redis.transactions import Transaction


async def delete_stored(journalling: Journalling, number: int, part: int, stored: Stored, *, scrub: bool) -> int:
    """Remove a memory; with ``scrub`` also what repeats its text: its history, the copies it had taken the place of, and
    what was merged of it, whose other sources live again.

    Returns the next free part number of this change.
    """
    transaction = journalling.transaction
    going = (stored, *await copies_of(transaction, stored)) if scrub else (stored,)
    histories: list[Mapping[bytes, bytes]] = []
    for gone in going:
        remove_memory(transaction, gone)
        if scrub:
            histories.append(await _scrub_everywhere(transaction, gone.handle))
        journalling.entry(
            number,
            part,
            key=gone.memory.key,
            effect=Effect.DELETED,
            survivor=gone.memory.id,
            before=gone.memory,
            is_copy=gone.is_copy,
            scrubbed=scrub,
        )
        part += 1
    if scrub:
        apart = _TakingApart(journalling, number, {gone.memory.key for gone in going})
        for gone, history in zip(going, histories, strict=True):
            part = await apart.of(gone.memory.key, history, part, behind=gone.memory.superseded_by)
    return part


async def scrub_gone(journalling: Journalling, number: int, key: MemoryKey) -> None:
    """Of a memory that is gone already (forgotten by policy, or undone): take its text out of the journal, and what was merged
    of it. The part 0 of the change is its caller's."""
    history = await _scrub_everywhere(journalling.transaction, naming.handle_of(*key))
    await _TakingApart(journalling, number, {key}).of(key, history, 1, behind=None)


async def _scrub_everywhere(transaction: Transaction, handle: str) -> Mapping[bytes, bytes]:
    """Take a memory's text out of its history, which is returned as it was, and out of the summaries that were made of it."""
    history = pairs_of(await transaction.link.read("HGETALL", history_key(handle)))
    await scrub_history(transaction, handle)
    await scrub_summaries(transaction, handle)
    return history


@dataclass(frozen=True, slots=True)
class _TakingApart:
    """Takes back the merges that a memory went into, because it is deleted for good: what says its text goes, also where only the
    journal has it, and the other sources live again, from where compaction makes of them what they still are together.

    A merged memory whose text somebody wrote anew since is theirs and stays, without the history that repeats the source.
    """

    journalling: Journalling
    number: int
    seen: set[MemoryKey]

    async def of(self, source: MemoryKey, history: Mapping[bytes, bytes], part: int, *, behind: str | None) -> int:
        """``history``: the source's; ``behind``: what it had stepped back behind. Returns the next free part number."""
        for key in await self._merges_of(source, history, behind):
            self.seen.add(key)
            merge = await stored_memory(self.journalling.transaction, key)
            told = await _scrub_everywhere(self.journalling.transaction, naming.handle_of(*key))
            part = await self.of(key, told, part, behind=None if merge is None else merge.memory.superseded_by)
            if merge is not None and source.id in merge.memory.derived_from and not _is_written_anew(merge, told):
                part = await self._dissolve(merge, part)
        return part

    async def _merges_of(
        self, source: MemoryKey, history: Mapping[bytes, bytes], behind: str | None
    ) -> list[MemoryKey]:
        """What it was merged into and stands behind, or did at some time: undone and forgotten merges too."""
        transaction = self.journalling.transaction
        found: dict[MemoryKey, None] = {}
        if behind is not None:
            merge = await stored_memory(transaction, _sibling(source, behind))
            if merge is not None and source.id in merge.memory.derived_from:
                found[merge.memory.key] = None
        for entry in map(from_json, history.values()):
            if entry["effect"] != Effect.SUPERSEDED.value or entry["operation"][1] != OperationKind.MERGE.value:
                continue
            held = await transaction.link.read("GET", operation_key(source.tenant, entry["operation"][0]))
            outcomes: Sequence[Sequence[Any]] = () if held is None else from_json(held)["outcomes"]
            for namespace, user_id, memory_id, effect, survivor in outcomes:
                if (memory_id, effect) == (source.id, Effect.SUPERSEDED.value):
                    then = MemoryKey(source.tenant, namespace, user_id, survivor)
                    found |= {_sibling(source, survivor): None, then: None}
        return [key for key in found if key not in self.seen]

    async def _dissolve(self, merge: Stored, part: int) -> int:
        transaction = self.journalling.transaction
        handles = sorted(await transaction.members(copies_key(merge.handle)))
        for other in await stored_memories(transaction, handles):
            if other is not None and other.memory.key not in self.seen:
                part = self._stand_again(merge.memory, other, part)
        remove_memory(transaction, merge)
        self.journalling.entry(
            self.number,
            part,
            key=merge.memory.key,
            effect=Effect.DELETED,
            survivor=merge.memory.id,
            scrubbed=True,
        )
        return part + 1

    def _stand_again(self, merge: Memory, other: Stored, part: int) -> int:
        journalling = self.journalling
        again = standing_again(other.memory, merge, operation_id=journalling.operation_id, at=journalling.at)
        update_memory(journalling.transaction, other, again, is_copy=False, terms=other.terms)
        journalling.entry(
            self.number,
            part,
            key=other.memory.key,
            effect=Effect.UPDATED,
            survivor=other.memory.id,
            before=other.memory,
            is_copy=other.is_copy,
        )
        return part + 1


def _is_written_anew(merge: Stored, history: Mapping[bytes, bytes]) -> bool:
    """Whether its text is another than the merge gave it. One whose history was scrubbed before was kept for that reason."""
    own = sorted(
        (tuple(int(part) for part in name.split(b":")), value) for name, value in history.items() if not is_past(name)
    )
    if len(own) < 2:
        return False
    before = from_json(own[1][1])["before"]
    return before is None or before["text"] != merge.memory.text


def _sibling(key: MemoryKey, memory_id: str) -> MemoryKey:
    return MemoryKey(*key[:3], memory_id)


async def copies_of(transaction: Transaction, stored: Stored) -> list[Stored]:
    """The duplicates that step back behind this memory, and behind those, in the same owner scope."""
    found: list[Stored] = []
    seen = {stored.handle}
    ahead = [stored.handle]
    while ahead:
        handles = sorted(await transaction.members(copies_key(ahead.pop())) - seen)
        for copy in await stored_memories(transaction, handles):
            if copy is not None and copy.is_copy:
                seen.add(copy.handle)
                ahead.append(copy.handle)
                found.append(copy)
    return found
