"""Counts and lists for people, over Redis: counters that the engine keeps anyway, and counts of its search index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.ports.overviews import Counts, MapPoints, OwnerCount, SessionLine, SessionLines
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.index import Index, records_of
from agent_memory_server.stores.redis.memories import RedisMemories
from agent_memory_server.stores.redis.memory_keys import (
    statistics_key,
)
from agent_memory_server.stores.redis.queries import scope_clause, unexpired_clause
from agent_memory_server.stores.redis.scopes import owners, pairs_of, scopes_key
from agent_memory_server.stores.redis.session_rows import (
    SessionKeys,
    expiring_key,
    head_of,
    listing_key,
)
from agent_memory_server.stores.values import instant, micros

_DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_DAYS_MAX = 10_000
_LISTED_AT_ONCE = 1_000


class RedisOverviews:
    """``ports.overviews.Overviews`` over one Redis."""

    def __init__(self, link: Link, index: Index, memories: RedisMemories) -> None:
        self._link = link
        self._index = index
        self._memories = memories

    async def counts(self, selector: ScopeSelector, /, *, now: datetime) -> Counts:
        live = f"{scope_clause(selector, live=True)} {unexpired_clause(now)}"
        everything = f"{scope_clause(selector, live=False)} {unexpired_clause(now)}"
        kinds = [f"({live} @typ:{{{naming.digest(each.value)}}})" for each in MemoryType]
        queries = (*kinds, f"({live})", f"({everything})")
        answers = await self._index.searches(*(("FT.SEARCH", query, "LIMIT", 0, 0) for query in queries))
        *by_type, standing, stored = (int(answer[0]) for answer in answers)
        tag = naming.tag_of(selector)
        sessions, expired = await self._link.reads(
            ("ZCARD", listing_key(selector.tenant, tag)),
            ("ZCOUNT", expiring_key(selector.tenant, tag), "-inf", micros(now)),
        )
        return Counts(
            by_type={kind.value: count for kind, count in zip(MemoryType, by_type, strict=True) if count},
            superseded=max(0, stored - standing),
            sessions=max(0, sessions - expired),
            owners=len(await self._owner_counts(selector)),
        )

    async def largest_owners(
        self, selector: ScopeSelector, /, *, limit: int, offset: int = 0, user_prefix: str | None = None
    ) -> Sequence[OwnerCount]:
        found = [
            each
            for each in await self._owner_counts(selector)
            if not user_prefix or (each.owner.user_id or "").startswith(user_prefix)
        ]
        found.sort(key=lambda each: (-each.memories, *_sorted_first(each.owner.user_id), each.owner.namespace or ""))
        return found[offset : offset + limit]

    async def growth(self, selector: ScopeSelector, /, *, since: datetime, now: datetime) -> Mapping[date, int]:
        query = (
            f"({scope_clause(selector, live=True)} {unexpired_clause(now)} @created:[{micros(since)} {micros(now)}])"
        )
        answer = await self._index.search(
            "FT.AGGREGATE", query, "LOAD", 1, "@created", "APPLY", f"floor(@created/{_DAY_US})", "AS", "day",
            "GROUPBY", 1, "@day", "REDUCE", "COUNT", 0, "AS", "held", "LIMIT", 0, _DAYS_MAX,
        )  # fmt: skip
        return {
            _EPOCH + timedelta(days=int(float(row[b"day"]))): int(float(row[b"held"])) for row in records_of(answer)
        }

    async def sessions(self, selector: ScopeSelector, /, *, now: datetime, limit: int, offset: int = 0) -> SessionLines:
        tenant, tag = selector.tenant, naming.tag_of(selector)
        expired = set(await self._link.read("ZRANGEBYSCORE", expiring_key(tenant, tag), "-inf", micros(now)))
        count, members = await self._link.reads(
            ("ZCARD", listing_key(tenant, tag)),
            ("ZRANGE", listing_key(tenant, tag), 0, offset + limit + len(expired) - 1),
        )
        shown = [member for member in members if member not in expired][offset : offset + limit]
        scopes = await self._session_scopes(tenant, shown)
        heads = await self._link.reads(*(("GET", SessionKeys(scope).head) for scope in scopes)) if scopes else []
        return SessionLines(
            sessions=[
                line for scope, head in zip(scopes, heads, strict=True) if (line := _line(scope, head)) is not None
            ],
            total=max(0, count - len(expired)),
        )

    async def map_points(self, criteria: MemoryFilter, /, *, model: str, now: datetime, limit: int) -> MapPoints:
        memories: list[Memory] = []
        vectors: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
        cursor: str | None = None
        while len(memories) < limit:
            page = await self._memories.list(criteria, now=now, limit=_LISTED_AT_ONCE, cursor=cursor)
            handles = [naming.handle_of(*memory.key) for memory in page.memories]
            held = await self._memories.vectors(handles, model=model)
            for memory, handle in zip(page.memories, handles, strict=True):
                if handle in held and len(memories) < limit:
                    memories.append(memory)
                    vectors.append(held[handle])
            cursor = page.next_cursor
            if cursor is None:
                break
        return MapPoints(
            owners=[memory.scope.owner for memory in memories],
            ids=[memory.id for memory in memories],
            types=[memory.memory_type.value for memory in memories],
            topics=[memory.topics[0] if memory.topics else None for memory in memories],
            created_us=np.array([micros(memory.created_at) for memory in memories], dtype=np.int64),
            vectors=np.array(vectors, dtype=np.float32) if vectors else np.empty((0, 0), dtype=np.float32),
        )

    async def _owner_counts(self, selector: ScopeSelector) -> list[OwnerCount]:
        scopes = await owners(self._link, selector)
        if not scopes:
            return []
        tags = ["o" + naming.owner_digest(scope.namespace, scope.user_id) + ":d" for scope in scopes]
        held = await self._link.read("HMGET", statistics_key(selector.tenant), *tags)
        return [
            OwnerCount(owner=scope, memories=int(documents))
            for scope, documents in zip(scopes, held, strict=True)
            if int(documents or 0) > 0
        ]

    async def _session_scopes(self, tenant: str, members: Sequence[bytes]) -> list[Scope]:
        known = pairs_of(await self._link.read("HGETALL", scopes_key(tenant)))
        found: list[Scope] = []
        for member in members:
            owner = known.get(naming.suffix_of_member(member).encode())
            if owner is not None:
                namespace, user_id = from_json(owner)
                found.append(Scope(tenant, namespace, user_id, naming.text_of_member(member)))
        return found


def _sorted_first(user_id: str | None) -> tuple[bool, str]:
    """None before every text, as SQLite sorts."""
    return (user_id is not None, user_id or "")


def _line(scope: Scope, document: bytes | None) -> SessionLine | None:
    head = head_of(None if document is None else from_json(document))
    if head is None:
        return None
    return SessionLine(
        scope=scope,
        created_at=instant(head.created_at),
        updated_at=instant(head.updated_at),
        messages=head.live_count,
        archived=head.archived_count,
        expires_at=None if head.expires_at is None else instant(head.expires_at),
    )
