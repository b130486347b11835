"""What memories were that changed since some moment: the state before the first revision after it.

Timelines are marked by connection, life and revision of the selection, and how often text left a history of the tenant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link, Script
from agent_memory_server.stores.redis.encoding import from_json, memory_of
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.journalling import gone_key, is_past, moved_key, owners_key
from agent_memory_server.stores.redis.memory_keys import (
    changes_key,
    history_key,
    statistics_key,
)
from agent_memory_server.stores.redis.queries import scope_clause
from agent_memory_server.stores.redis.scopes import pairs_of
from agent_memory_server.stores.redis.walking import walk
from agent_memory_server.stores.redis.written import CHANGES_KEPT
from agent_memory_server.stores.timelines import Past, Timeline, Timelines

_READ_AT_ONCE = 200
_READ_TOGETHER = 1_000
_EARLIER = Script("earlier", writes=False)
_SCOPE = Script("scope", writes=False)
_Mark = tuple[tuple[int], bytes, int, int]


async def earlier(
    index: Index,
    timelines: Timelines[bytes],
    selector: ScopeSelector,
    moment_us: int,
    *,
    memory_id: str | None,
    limit: int,
) -> Sequence[Earlier]:
    """The port's ``earlier``."""
    if memory_id is not None:
        timeline = await _read(index, selector, moment_us, (), memory_id=memory_id, limit=limit)
    else:
        timeline = await _up_to_date(index, timelines, selector, moment_us, limit=limit)
    return (await timeline.at(moment_us))[:limit]


async def _up_to_date(
    index: Index, timelines: Timelines[bytes], selector: ScopeSelector, moment_us: int, *, limit: int
) -> Timeline[bytes]:
    """What is kept, when nothing changed meanwhile; or with what changed read anew, or everything."""
    held = timelines.held(selector)
    mark, _ = await _asked(index.link, selector, held)
    if held is not None and held.mark == mark and held.reaches(moment_us):
        return held
    async with index.link.alone(f"past:{selector.tenant}:{naming.tag_of(selector)}"):
        # Another question may have read it meanwhile.
        held = timelines.held(selector)
        mark, changes = await _asked(index.link, selector, held)
        if held is None or changes is None or not held.reaches(moment_us) or (changes and _have_left(selector, held)):
            fresh = await _read(index, selector, moment_us, mark, memory_id=None, limit=limit)
        elif changes:
            fresh = await _amended(index.link, held, changes, mark)
        else:
            return held
        timelines.keep(selector, fresh)
        return fresh


async def _asked(
    link: Link, selector: ScopeSelector, held: Timeline[bytes] | None
) -> tuple[_Mark, dict[str, bytes | None] | None]:
    """The mark as it is now, and the handles that changed since the timeline was read, each with its time (None: gone). None
    instead of them when nobody can tell, or when there are too many."""
    tenant, tag = selector.tenant, naming.tag_of(selector)
    tenant_digest = naming.tenant_digest(tenant)
    known: tuple[Any, ...] = ((), b"", -1, 0) if held is None else held.mark
    connected = (link.connected,)
    life, revision, _, changes, scrubbed = await link.script(
        _SCOPE,
        (
            statistics_key(tenant), changes_key(tenant, tag), naming.memory_key(f"{tenant_digest}."), tag,
            known[1], known[2], CHANGES_KEPT, "chg",
        ),
    )  # fmt: skip
    # A Redis that comes back may have lost its last writes and number others the same.
    mark = (connected, life, revision, scrubbed)
    if changes is None or connected != known[0] or scrubbed != known[3] or link.connected != connected[0]:
        return mark, None
    return mark, {f"{tenant_digest}.{digest.decode()}": changed for digest, changed in changes}


async def _read(
    index: Index,
    selector: ScopeSelector,
    moment_us: int,
    mark: tuple[object, ...],
    *,
    memory_id: str | None,
    limit: int,
) -> Timeline[bytes]:
    """Everything that changed since."""
    changed, left = await asyncio.gather(
        _changed(index, selector, moment_us, memory_id=memory_id, limit=limit),
        _left(index.link, selector, moment_us, memory_id=memory_id, limit=limit),
    )
    handles = list(dict.fromkeys([*changed, *left]))
    pasts = await _pasts(index.link, handles[:limit], moment_us)
    return Timeline(pasts, since=moment_us, mark=mark, decode=_decoded, is_whole=len(handles) < limit)


def _have_left(selector: ScopeSelector, held: Timeline[bytes]) -> bool:
    """Whether some are elsewhere now, or gone: where those go on to is not noted for this selection."""
    keys = (past.key for past in held.pasts.values())
    return any(key is None or not selector.admits(Scope(key.tenant, key.namespace, key.user_id)) for key in keys)


async def _amended(link: Link, held: Timeline[bytes], changes: dict[str, bytes | None], mark: _Mark) -> Timeline[bytes]:
    """With the pasts of those that changed as they are now. Most were only looked at."""
    touched = [handle for handle, changed in changes.items() if changed is None or int(changed) > held.since]
    # What moved away and came back left nothing where it was meanwhile.
    read_anew = await _followed(link, touched)
    read = await _pasts(link, read_anew, held.since)
    kept = {handle: past for handle, past in held.pasts.items() if handle not in read_anew}
    return Timeline(kept | read, since=held.since, mark=mark, decode=_decoded)


async def _pasts(link: Link, handles: Sequence[str], since_us: int) -> dict[Hashable, Past[bytes]]:
    """By handle, of those that have one."""
    found: dict[Hashable, Past[bytes]] = {}
    for first in range(0, len(handles), _READ_TOGETHER):
        together = handles[first : first + _READ_TOGETHER]
        portions = [together[place : place + _READ_AT_ONCE] for place in range(0, len(together), _READ_AT_ONCE)]
        answers = await asyncio.gather(*(link.script(_EARLIER, _keys_of(portion)) for portion in portions))
        for portion, answer in zip(portions, answers, strict=True):
            for handle, (document, history) in zip(portion, answer, strict=True):
                past = _past(handle, document, pairs_of(history), since_us)
                if past is not None:
                    found[handle] = past
        # Others get their turn between decoding so many.
        await asyncio.sleep(0)
    return found


def _keys_of(handles: Sequence[str]) -> list[str]:
    return [key for handle in handles for key in (naming.memory_key(handle), history_key(handle))]


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


async def that_left(link: Link, selector: ScopeSelector) -> list[str]:
    """Handles of all memories that ever left the selection, then and now."""
    members = await link.read("ZRANGE", gone_key(selector.tenant, naming.tag_of(selector)), 0, -1)
    return await _followed(link, [member.decode() for member in members])


async def remembered(link: Link, selector: ScopeSelector, *, limit: int) -> list[MemoryKey]:
    """The port's ``remembered``: of those that left the selection, the ones that are gone and whose history has text."""
    handles = await that_left(link, selector)
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


def _past(handle: str, document: bytes | None, history: Mapping[bytes, bytes], since_us: int) -> Past[bytes] | None:
    """What Redis says of one memory; None when it did not change since."""
    own = [
        (tuple(int(part) for part in name.split(b":")), value) for name, value in history.items() if not is_past(name)
    ]
    own.sort(key=itemgetter(0))
    entries = [(from_json(value), value) for _, value in own]
    changes: list[tuple[int, bytes | None]] = [
        (entry["operation"][3], None if entry["before"] is None else value) for entry, value in entries
    ]
    first = next((place for place, (at_us, _) in enumerate(changes) if at_us > since_us), None)
    if first is None:
        return None
    if document is None:
        return Past(None, None, changes[first:])
    return Past(_key(from_json(document)), handle, changes[first:])


def _decoded(entry: bytes) -> Memory:
    return memory_of(from_json(entry)["before"])


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
