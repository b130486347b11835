"""Pages of memories in a total order, their true totals, and what walks over memories needs of each."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.summary_views import Member
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.memories import Aged, Order
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Argument, Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.index import Index, records_of
from agent_memory_server.stores.redis.memory_keys import (
    hash_key,
)
from agent_memory_server.stores.redis.queries import Query, query_of
from agent_memory_server.stores.redis.rows import PLAIN_FIELDS, memory_of_fields
from agent_memory_server.stores.redis.walking import ANSWERED_MAX, repeated_hashes, walk
from agent_memory_server.stores.values import micros, to_json

_READ_AT_ONCE = 500
_HANDLES_AT_ONCE = 9_000
"""Servers can be set to answer no more than 10,000."""


@dataclass(frozen=True, slots=True)
class RedisListing:
    """``ports.memories.Listing``."""

    memories: Sequence[Memory]
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RedisMembers:
    """``ports.summary_views.MemberPage``."""

    members: Sequence[Member]
    next_cursor: str | None


_FIELD = {Order.CREATED_DESC: "created", Order.LAST_ACCESSED_ASC: "la"}
_DIRECTION = {Order.CREATED_DESC: "DESC", Order.LAST_ACCESSED_ASC: "ASC"}
_LETTER = {Order.CREATED_DESC: "c", Order.LAST_ACCESSED_ASC: "a"}
_Position = tuple[int, str, str]


async def fetched(link: Link, handles: Sequence[str]) -> dict[str, Memory]:
    """The memories behind handles; those that are gone are missing."""
    found: dict[str, Memory] = {}
    for first in range(0, len(handles), _READ_AT_ONCE):
        some = handles[first : first + _READ_AT_ONCE]
        answers = await link.reads(*(("HMGET", naming.memory_key(handle), *PLAIN_FIELDS) for handle in some))
        for handle, values in zip(some, answers, strict=True):
            memory = memory_of_fields(values)
            if memory is not None:
                found[handle] = memory
    return found


async def times(link: Link, handles: Sequence[str]) -> dict[Handle, tuple[int, int]]:
    """(created_at, last_accessed) in microseconds of the memories behind handles; those that are gone are missing."""
    found: dict[Handle, tuple[int, int]] = {}
    for first in range(0, len(handles), _READ_AT_ONCE):
        some = handles[first : first + _READ_AT_ONCE]
        answers = await link.reads(*(("HMGET", naming.memory_key(handle), "created", "la") for handle in some))
        for handle, (created, accessed) in zip(some, answers, strict=True):
            if created is not None and accessed is not None:
                found[handle] = (int(created), int(accessed))
    return found


async def count(index: Index, criteria: MemoryFilter, *, now: datetime) -> int:
    query = await query_of(index, criteria, now)
    return 0 if query is None else (await index.search("FT.SEARCH", query.text, "LIMIT", 0, 0))[0]


async def page(
    index: Index,
    criteria: MemoryFilter,
    *,
    now: datetime,
    limit: int,
    offset: int,
    cursor: str | None,
    order: Order,
    skipped_at_once: int = ANSWERED_MAX - 1_000,
) -> RedisListing:
    """A page behind the cursor, else behind ``offset``, which is skipped in portions that any server allows."""
    after = None if cursor is None else _position(cursor, order)
    query = await query_of(index, criteria, now)
    if query is None:
        return RedisListing((), 0, None)
    skipped = 0 if after else offset
    while skipped >= skipped_at_once:
        (answer,) = await index.searches(
            _ordered(query, order, after, limit=1, offset=skipped_at_once - 1, load=("place",))
        )
        rows = records_of(answer)
        if not rows:
            return RedisListing((), await count(index, criteria, now=now), None)
        after, skipped = _position_of(rows[0], order), skipped - skipped_at_once
    # One more than is shown, to know whether that is all.
    asked = min(limit + 1, ANSWERED_MAX - skipped)
    counted, answer = await index.searches(
        ("FT.SEARCH", query.text, "LIMIT", 0, 0),
        _ordered(query, order, after, limit=asked, offset=skipped, load=PLAIN_FIELDS),
    )
    rows = records_of(answer)
    shown = [(row, memory_of_fields([row.get(name.encode()) for name in PLAIN_FIELDS])) for row in rows[:limit]]
    next_cursor = None
    if len(rows) == asked and shown:
        next_cursor = _cursor(_position_of(shown[-1][0], order), _LETTER[order])
    return RedisListing([memory for _, memory in shown if memory is not None], counted[0], next_cursor)


async def handles(index: Index, criteria: MemoryFilter, *, now: datetime) -> AsyncIterator[list[str]]:
    """The handles of all that match, in the order of listings. Each portion costs a sort of all that is left: they are large."""
    after: _Position | None = None
    while True:
        query = await query_of(index, criteria, now)
        if query is None:
            return
        command = _ordered(query, Order.CREATED_DESC, after, limit=_HANDLES_AT_ONCE, offset=0, load=("__key",))
        (answer,) = await index.searches(command)
        rows = records_of(answer)
        yield [naming.handle_of_key(row[b"__key"]) for row in rows if b"__key" in row]
        if len(rows) < _HANDLES_AT_ONCE:
            return
        after = _position_of(rows[-1], Order.CREATED_DESC)


def _ordered(
    query: Query, order: Order, after: _Position | None, *, limit: int, offset: int, load: Sequence[str]
) -> tuple[Argument, ...]:
    """Rows in the order, behind a position; the fields are read of those alone that are shown."""
    field, direction = _FIELD[order], _DIRECTION[order]
    text, behind = query.text, ()
    if after is not None:
        moment, encoded, owner = after
        bound = f"[-inf {moment}]" if direction == "DESC" else f"[{moment} +inf]"
        text = f"({query.text} @{field}:{bound})"
        # Hexadecimal digits and numbers: nothing in it can be more than a value.
        behind = (
            "FILTER",
            f"@{field} != {moment} || @idx > '{encoded}' || (@idx == '{encoded}' && @own > '{owner}')",
        )
    return (
        "FT.AGGREGATE", text, "LOAD", 3, f"@{field}", "@idx", "@own", *behind,
        "SORTBY", 6, f"@{field}", direction, "@idx", "ASC", "@own", "ASC", "MAX", offset + limit,
        "LIMIT", offset, limit, "LOAD", len(load), *(f"@{name}" for name in load),
    )  # fmt: skip


def _position_of(row: dict[bytes, bytes], order: Order) -> _Position:
    return int(float(row[_FIELD[order].encode()])), row[b"idx"].decode(), row[b"own"].decode()


async def member_page(
    index: Index, criteria: MemoryFilter, *, now: datetime, limit: int, cursor: str | None
) -> RedisMembers:
    """A page in the order of listings."""
    order = Order.CREATED_DESC
    after = None if cursor is None else _position(cursor, order)
    query = await query_of(index, criteria, now)
    if query is None:
        return RedisMembers((), None)
    answer = await index.search(*_ordered(query, order, after, limit=limit + 1, offset=0, load=("doc",)))  # pyright: ignore[reportArgumentType]
    rows = records_of(answer)
    members = [_member_of(from_json(row[b"doc"])) for row in rows[:limit] if b"doc" in row]
    next_cursor = _cursor(_position_of(rows[limit - 1], order), _LETTER[order]) if len(rows) > limit else None
    return RedisMembers(members, next_cursor)


def _member_of(document: dict[str, Any]) -> Member:
    tenant, namespace, user_id, session_id = document["scope"]
    key = MemoryKey(tenant, namespace, user_id, document["id"])
    return Member(key, session_id, document["memory_type"], document["operation_id"])


def _cursor(position: _Position, letter: str) -> str:
    return base64.urlsafe_b64encode(to_json([letter, *position]).encode()).decode().rstrip("=")


def _position(cursor: str, order: Order) -> _Position:
    refusal = InvalidInput("This cursor was not made by this server for this listing.", field=("query", "cursor"))
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        values = from_json(base64.b64decode(padded, altchars=b"-_", validate=True).decode())
    except (ValueError, binascii.Error, RecursionError) as error:
        raise refusal from error
    match values:
        case [str(letter), int(moment), str(encoded), str(owner)] if letter == _LETTER[order] and abs(moment) < 2**62:
            # It becomes part of a query: hexadecimal digits and nothing else.
            if _is_hexadecimal(encoded) and _is_hexadecimal(owner):
                return moment, encoded, owner
        case _:
            pass
    raise refusal


def _is_hexadecimal(text: str) -> bool:
    return bool(text) and set(text) <= set("0123456789abcdef")


# -- ages and copies -------------------------------------------------------------------------------------------------


async def ages(
    index: Index,
    criteria: MemoryFilter,
    *,
    now: datetime,
    limit: int,
    after: Handle | None,
    owner: Scope | None,
) -> list[Aged]:
    query = await query_of(index, criteria, now)
    if query is None:
        return []
    text = query.text
    if owner is not None:
        tag = "o" + naming.owner_digest(owner.namespace, owner.user_id)
        text = f"({text} @s:{{{naming.index_token(owner.tenant, tag, live=False)}}})"
    rows = await walk(index, text, PLAIN_FIELDS, limit=limit, after=after)
    found: list[Aged] = []
    for handle, row in rows:
        memory = memory_of_fields([row.get(name.encode()) for name in PLAIN_FIELDS])
        if memory is not None:
            found.append(
                Aged(
                    handle,
                    memory.id,
                    micros(memory.created_at),
                    micros(memory.last_accessed),
                    memory.pinned,
                    memory.memory_type,
                )
            )
    return found


async def duplicate_groups(
    index: Index, criteria: MemoryFilter, *, now: datetime, limit: int, after: str | None
) -> list[list[Memory]]:
    """Groups by (hash, owner) after a hash; the groups of one hash are never parted between two pages."""
    found: dict[tuple[str, str], list[Memory]] = {}
    query = await query_of(index, criteria, now)
    if query is None:
        return []
    hashes = await repeated_hashes(index, query.text)
    for first in range(0, len(hashes), 100):
        values = [each.partition(",")[2] for each in hashes[first : first + 100]]
        text = f"({query.text} @hsh:{{{'|'.join(values)}}})"
        for _, row in await walk(index, text, PLAIN_FIELDS, limit=None, after=None):
            memory = memory_of_fields([row.get(name.encode()) for name in PLAIN_FIELDS])
            if memory is not None and memory.superseded_by is None and memory.memory_hash > (after or ""):
                owner = naming.owner_digest(memory.scope.namespace, memory.scope.user_id)
                found.setdefault((memory.memory_hash, owner), []).append(memory)
    groups: list[list[Memory]] = []
    last_hash: str | None = None
    for (memory_hash, _), members in sorted(found.items()):
        if len(members) < 2:
            continue
        if len(groups) >= limit and memory_hash != last_hash:
            break
        last_hash = memory_hash
        groups.append(sorted(members, key=lambda each: (each.created_at, each.id)))
    return groups


async def standing_copies(link: Link, owner: Scope, memory_hash: str) -> list[str]:
    """Handles of the live memories of this owner with this hash."""
    return sorted(each.decode() for each in await link.read("SMEMBERS", hash_key(owner, memory_hash)))
