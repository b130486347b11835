"""What memories were that changed since some moment: the state before the first revision after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.stores.decoded_states import DecodedStates
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link, Script
from agent_memory_server.stores.redis.encoding import from_json, memory_of
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.journalling import gone_key, is_past, moved_key, owners_key
from agent_memory_server.stores.redis.memory_keys import (
    history_key,
)
from agent_memory_server.stores.redis.queries import scope_clause
from agent_memory_server.stores.redis.scopes import pairs_of
from agent_memory_server.stores.redis.walking import walk

_READ_AT_ONCE = 200
_EARLIER = Script("earlier", writes=False)


@dataclass(frozen=True, slots=True)
class _Read:
    """What Redis says of one memory, and the moment that is asked about."""

    handle: str
    moment_us: int
    document: bytes | None
    history: tuple[tuple[bytes, bytes], ...]


StatesRead = DecodedStates[_Read, Earlier | None]


def states_read() -> StatesRead:
    """To be kept from one question to the next."""
    return DecodedStates(_state)


async def earlier(
    index: Index, states: StatesRead, selector: ScopeSelector, moment_us: int, *, memory_id: str | None, limit: int
) -> list[Earlier]:
    """The port's ``earlier``."""
    states.renew()
    changed, left = await asyncio.gather(
        _changed(index, selector, moment_us, memory_id=memory_id, limit=limit),
        _left(index.link, selector, moment_us, memory_id=memory_id, limit=limit),
    )
    documents: dict[str, Any] = {**dict.fromkeys(left), **changed}
    handles = list(documents)[:limit]
    found: list[Earlier] = []
    for first in range(0, len(handles), _READ_AT_ONCE):
        some = handles[first : first + _READ_AT_ONCE]
        keys = [key for handle in some for key in (naming.memory_key(handle), history_key(handle))]
        for handle, (document, held) in zip(some, await index.link.script(_EARLIER, keys), strict=True):
            state = states.decoded(_Read(handle, moment_us, document, tuple(pairs_of(held).items())))
            if state is not None:
                found.append(state)
    return found


async def key_of(link: Link, handle: str, known: MemoryKey) -> MemoryKey:
    """The key behind a handle. ``known``: one that the memory had before, for one that is gone by now."""
    (document,) = await link.read("HMGET", naming.memory_key(handle), "doc")
    if document is not None:
        return _key(from_json(document))
    states = [
        from_json(value)["before"] for value in pairs_of(await link.read("HGETALL", history_key(handle))).values()
    ]
    keys = [_key(state) for state in states if state is not None]
    return next((key for key in keys if naming.handle_of(*key) == handle), known)


async def remembered(link: Link, selector: ScopeSelector, *, limit: int) -> list[MemoryKey]:
    """The port's ``remembered``: of those that left the selection, the ones that are gone and whose history has text."""
    members = await link.read("ZRANGE", gone_key(selector.tenant, naming.tag_of(selector)), 0, -1)
    handles = await _followed(link, [member.decode() for member in members])
    found: list[MemoryKey] = []
    for first in range(0, len(handles), _READ_AT_ONCE):
        some = handles[first : first + _READ_AT_ONCE]
        answers = await link.reads(
            *(("HGETALL", history_key(handle)) for handle in some),
            *(("EXISTS", naming.memory_key(handle)) for handle in some),
        )
        for handle, held, exists in zip(some, answers[: len(some)], answers[len(some) :], strict=True):
            if not exists:
                states = (from_json(value)["before"] for value in pairs_of(held).values())
                keys = (_key(state) for state in states if state is not None)
                found += [key for key in keys if naming.handle_of(*key) == handle][:1]
        if len(found) >= limit:
            break
    return found[:limit]


def _key(document: dict[str, Any]) -> MemoryKey:
    tenant, namespace, user_id, _ = document["scope"]
    return MemoryKey(tenant, namespace, user_id, document["id"])


def _state(read: _Read) -> Earlier | None:
    """None when nothing is known of it: it is gone, and its text with it."""
    handle, document = read.handle, read.document
    own = [(name, value) for name, value in read.history if not is_past(name)]
    entries = sorted((tuple(int(part) for part in name.split(b":")), value) for name, value in own)
    later = (from_json(value) for _, value in entries)
    first = next((entry for entry in later if entry["operation"][3] > read.moment_us), None)
    if first is None:
        return None
    memory = None if first["before"] is None else memory_of(first["before"])
    if document is not None:
        return Earlier(key=_key(from_json(document)), memory=memory, handle=handle)
    return None if memory is None else Earlier(key=memory.key, memory=memory, handle=None)


async def _changed(
    index: Index, selector: ScopeSelector, moment_us: int, *, memory_id: str | None, limit: int
) -> dict[str, Any]:
    named = "" if memory_id is None else f" @mid:{{{naming.digest(memory_id)}}}"
    text = f"({scope_clause(selector, live=False)}{named} @chg:[({moment_us} +inf])"
    return dict.fromkeys(handle for handle, _ in await walk(index, text, ("place",), limit=limit, after=None))


async def _left(link: Link, selector: ScopeSelector, moment_us: int, *, memory_id: str | None, limit: int) -> list[str]:
    """Handles of the memories that left the selection since, where they are now."""
    if memory_id is not None:
        owners = [
            Scope(selector.tenant, *from_json(each))
            for each in await link.read("SMEMBERS", owners_key(selector.tenant, memory_id))
        ]
        handles = [
            naming.handle_of(owner.tenant, owner.namespace, owner.user_id, memory_id)
            for owner in owners
            if selector.admits(owner)
        ]
    else:
        key = gone_key(selector.tenant, naming.tag_of(selector))
        held: Sequence[bytes] = await link.read("ZRANGEBYSCORE", key, f"({moment_us}", "+inf", "LIMIT", 0, limit)
        handles = [each.decode() for each in held]
    return await _followed(link, handles)


async def _followed(link: Link, handles: Sequence[str]) -> list[str]:
    """These handles and all to which memories with them have moved."""
    found = dict.fromkeys(handles)
    ahead = list(found)
    while ahead:
        held = await link.reads(*(("SMEMBERS", moved_key(handle)) for handle in ahead))
        ahead = [further for members in held for each in members if (further := each.decode()) not in found]
        found.update(dict.fromkeys(ahead))
    return list(found)
