"""Messages beside messages, and what the second stage of search looks at of each candidate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.second_stage import Passage, Pool, passage_of
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.channel import Command
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.listing import fetched
from agent_memory_server.stores.redis.memory_keys import (
    is_spoken,
    spoken_key,
    spoken_member,
)
from agent_memory_server.stores.redis.rows import (
    PLAIN_FIELDS,
    memory_of_fields,
)
from agent_memory_server.stores.redis.written import ARRIVAL


async def neighbours(link: Link, handles: Sequence[str], *, span: int) -> dict[Handle, Sequence[Handle]]:
    """The port's ``neighbours``: the order is kept with each session, so its length does not matter."""
    commands: list[Command] = [("HMGET", naming.memory_key(handle), *PLAIN_FIELDS, ARRIVAL) for handle in handles]
    wanted: list[tuple[str, str, str]] = []
    for handle, (*values, arrival) in zip(handles, await link.reads(*commands) if commands else (), strict=True):
        memory = memory_of_fields(values)
        if memory is not None and arrival is not None and is_spoken(memory):
            wanted.append((handle, spoken_key(memory.scope), spoken_member(arrival.decode(), _digest(handle))))
    if not wanted:
        return {}
    places = await link.reads(*(("ZRANK", key, member) for _, key, member in wanted))
    found = [(*each, place) for each, place in zip(wanted, places, strict=True) if place is not None]
    if not found:
        return {}
    around = await link.reads(*(("ZRANGE", key, max(0, place - span), place + span) for _, key, _, place in found))
    return {
        handle: [f"{_tenant(handle)}.{member.rpartition(b':')[2].decode()}" for member in members]
        for (handle, *_), members in zip(found, around, strict=True)
    }


def _tenant(handle: str) -> str:
    return handle.partition(".")[0]


def _digest(handle: str) -> str:
    return handle.partition(".")[2]


async def pool(link: Link, criteria: MemoryFilter, handles: Sequence[str], *, span: int, now: datetime) -> Pool:
    """The port's ``pool``."""
    if not span:
        return Pool(await _passages(link, criteria, handles, now), {})
    around, found = await asyncio.gather(neighbours(link, handles, span=span), _passages(link, criteria, handles, now))
    wanted = sources_of(found)
    if wanted:
        said = said_there(await _passages(link, criteria, list(wanted), now), wanted)
        found |= said
        around |= await neighbours(link, [str(handle) for handle in said], span=span)
    beside = dict.fromkeys(str(each) for window in around.values() for each in window if each not in found)
    return Pool.of(found | await _passages(link, criteria, list(beside), now), around)


async def _passages(link: Link, criteria: MemoryFilter, handles: Sequence[str], now: datetime) -> dict[Handle, Passage]:
    """In the order of the handles; those that do not match are missing."""
    found = await fetched(link, handles)
    return {handle: passage_of(memory) for handle, memory in found.items() if criteria.matches(memory, now)}


def sources_of(passages: Mapping[Handle, Passage]) -> dict[str, Scope]:
    """Where the messages are that these passages came from, unless they are among them, with the session that they must be of."""
    wanted: dict[str, Scope] = {}
    for handle, each in passages.items():
        session = each.session
        if isinstance(session, Scope):
            digests = (naming.memory_digest(session.namespace, session.user_id, id_) for id_ in each.sources_looked_at)
            wanted.update((f"{_tenant(str(handle))}.{digest}", session) for digest in digests)
    return {handle: session for handle, session in wanted.items() if handle not in passages}


def said_there(found: Mapping[Handle, Passage], wanted: Mapping[str, Scope]) -> dict[Handle, Passage]:
    """Of what was found behind the handles of ``sources_of`` the messages of the right session."""
    return {
        handle: each for handle, each in found.items() if each.is_message and each.session == wanted.get(str(handle))
    }
