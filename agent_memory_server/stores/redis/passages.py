"""Messages beside messages, and what the second stage of search looks at of each candidate.

Redis keeps no order of arrival. Among messages of one moment the operation that wrote them decides, and within one operation
their ids in natural order ("m2" before "m10"). A session of more than ``SESSION_MAX`` messages has no neighbours here: they
would have to be read whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.second_stage import Passage
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.listing import fetched
from agent_memory_server.stores.redis.rows import session_key
from agent_memory_server.stores.values import micros, micros_or_none

SESSION_MAX = 1_000
_ENDING_CHARACTERS = 4
_DIGITS = re.compile(r"(\d+)")


async def neighbours(link: Link, handles: Sequence[str], *, span: int) -> dict[Handle, Sequence[Handle]]:
    """The port's ``neighbours``."""
    wanted = {handle: memory for handle, memory in (await fetched(link, handles)).items() if _is_spoken(memory)}
    scopes = list(dict.fromkeys(memory.scope for memory in wanted.values()))
    sizes = await link.reads(*(("SCARD", session_key(scope)) for scope in scopes)) if scopes else []
    short = [scope for scope, size in zip(scopes, sizes, strict=True) if size <= SESSION_MAX]
    held = await link.reads(*(("SMEMBERS", session_key(scope)) for scope in short)) if short else []
    ordered: dict[Scope, list[str]] = {}
    for scope, members in zip(short, held, strict=True):
        memories = await fetched(link, [member.decode() for member in members])
        spoken = [(handle, memory) for handle, memory in memories.items() if _is_spoken(memory)]
        ordered[scope] = [handle for handle, _ in sorted(spoken, key=lambda each: _order(each[1]))]
    found: dict[Handle, Sequence[Handle]] = {}
    for handle, memory in wanted.items():
        session = ordered.get(memory.scope, [])
        if handle in session:
            place = session.index(handle)
            found[handle] = session[max(0, place - span) : place + span + 1]
    return found


async def passages(
    link: Link, criteria: MemoryFilter, handles: Sequence[str], *, now: datetime
) -> dict[Handle, Passage]:
    """The port's ``passages``."""
    return {
        handle: _passage(memory)
        for handle, memory in (await fetched(link, handles)).items()
        if criteria.matches(memory, now)
    }


def _is_spoken(memory: Memory) -> bool:
    return (
        memory.memory_type is MemoryType.MESSAGE
        and memory.scope.session_id is not None
        and memory.superseded_by is None
    )


def _order(memory: Memory) -> tuple[datetime, str, list[Any]]:
    parts = _DIGITS.split(memory.id)
    # Texts and numbers alternate, so that like is compared with like.
    return (
        memory.created_at,
        memory.operation_id,
        [int(part) if number % 2 else part for number, part in enumerate(parts)],
    )


def _passage(memory: Memory) -> Passage:
    is_message = memory.memory_type is MemoryType.MESSAGE
    return Passage(
        id=memory.id,
        session=None if memory.scope.session_id is None else memory.scope,
        is_message=is_message,
        name=memory.name,
        created_us=micros(memory.created_at),
        event_us=micros_or_none(memory.event_date),
        ending=memory.text[-_ENDING_CHARACTERS:],
        sources=() if is_message else memory.extracted_from or (),
    )
