"""What memories said within a selection before they moved to another owner: an erasure of the selection takes it out."""

from __future__ import annotations

from typing import Any

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.stores.redis import naming, time_travel
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.journalling import is_past, scrub_entries
from agent_memory_server.stores.redis.memory_keys import history_key
from agent_memory_server.stores.redis.scopes import pairs_of
from agent_memory_server.stores.redis.transactions import Transaction, transact

_READ_AT_ONCE = 200


async def moved_away(link: Link, selector: ScopeSelector, *, limit: int) -> list[MemoryKey]:
    """The port's ``moved_away``."""
    handles = await time_travel.that_left(link, selector)
    found: list[MemoryKey] = []
    for first in range(0, len(handles), _READ_AT_ONCE):
        some = handles[first : first + _READ_AT_ONCE]
        answers = await link.reads(*(("HGETALL", history_key(handle)) for handle in some))
        for handle, held in zip(some, answers, strict=True):
            entries = [value for name, value in pairs_of(held).items() if not is_past(name)]
            within = [key for entry in entries if (key := _key_within(selector, entry)) is not None]
            if not within:
                continue
            now = await time_travel.key_of(link, handle, within[-1])
            if not selector.admits(Scope(now.tenant, now.namespace, now.user_id)):
                found.append(now)
        if len(found) >= limit:
            break
    return found[:limit]


async def scrub_stay(link: Link, selector: ScopeSelector, key: MemoryKey) -> None:
    """The port's ``scrub_stay``."""

    async def work(transaction: Transaction) -> None:
        handle = naming.handle_of(*key)
        await scrub_entries(transaction, handle, lambda entry: _key_within(selector, entry) is not None)

    await transact(link, work)


def _key_within(selector: ScopeSelector, entry: bytes) -> MemoryKey | None:
    """The key that a memory had before this change, if it was within the selection."""
    before: dict[str, Any] | None = from_json(entry)["before"]
    if before is None:
        return None
    tenant, namespace, user_id, _ = before["scope"]
    admitted = selector.admits(Scope(tenant, namespace, user_id))
    return MemoryKey(tenant, namespace, user_id, before["id"]) if admitted else None
