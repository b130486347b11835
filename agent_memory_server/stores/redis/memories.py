"""Long-term memory over Redis: the port's methods, each some reads or one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Committed, Embedded, Operation, Put, Restore, Vector
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.search import Handle, KeywordCandidates, VectorCandidates
from agent_memory_server.domain.second_stage import Pool
from agent_memory_server.ports.memories import Aged, Listing, Order
from agent_memory_server.stores.redis import committing, keywords, listing, naming, nearest, passages
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.index import Index, rows_of
from agent_memory_server.stores.redis.memory_keys import (
    statistics_key,
)
from agent_memory_server.stores.redis.queries import scope_clause
from agent_memory_server.stores.redis.rows import (
    PLAIN_FIELDS,
    drop_vectors,
    is_compared,
    marked_due,
    memory_of_fields,
    model_token,
    store_vector,
    stored_memories,
    touch_memory,
    with_due,
)
from agent_memory_server.stores.redis.scopes import owners, pairs_of
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.redis.walking import walk
from agent_memory_server.stores.values import micros

_CHANGED_AT_ONCE = 200
"""Vectors stored or removed in one transaction, so that others get their turn in between."""


def _texts(handles: Sequence[Handle]) -> list[str]:
    """Handles of this engine are texts; another engine's mean nothing here."""
    return [handle for handle in handles if isinstance(handle, str)]


class RedisMemories:
    """``ports.memories.MemoryStore`` over one Redis."""

    def __init__(self, link: Link, index: Index, *, token_key: bytes) -> None:
        self._link = link
        self._index = index
        self._token_key = token_key

    def adopt(self, token_key: bytes) -> None:
        """The key that was not known yet when this was made: the database had to be migrated first."""
        self._token_key = token_key

    async def commit(self, operation: Operation, /) -> Committed:
        puts = [change for change in operation.changes if isinstance(change, Put)]
        carried = [each for put in puts if put.carried is not None for each in put.carried.vectors]
        restored = [change.embedded for change in operation.changes if isinstance(change, Restore)]
        await self._index.prepare([*(put.embedded for put in puts), *carried, *restored])
        return await transact(
            self._link,
            lambda transaction: committing.commit(transaction, operation, token_key=self._token_key),
            looks_later=True,
        )

    async def get(self, key: MemoryKey, /) -> Memory | None:
        held = await self._link.read("HMGET", naming.memory_key(naming.handle_of(*key)), *PLAIN_FIELDS)
        return memory_of_fields(held)

    async def find(self, selector: ScopeSelector, /, *, memory_id: str, limit: int = 2) -> Sequence[Memory]:
        text = f"({scope_clause(selector, live=False)} @mid:{{{naming.digest(memory_id)}}})"
        answer = await self._index.search(
            "FT.SEARCH", text, "RETURN", len(PLAIN_FIELDS), *PLAIN_FIELDS, "SORTBY", "place", "ASC", "LIMIT", 0, limit
        )
        found = [memory_of_fields([row.get(name.encode()) for name in PLAIN_FIELDS]) for _, row in rows_of(answer)]
        return [memory for memory in found if memory is not None]

    async def get_many(self, handles: Sequence[Handle], /) -> Mapping[Handle, Memory]:
        found: dict[Handle, Memory] = {**await listing.fetched(self._link, _texts(handles))}
        return found

    async def times(self, handles: Sequence[Handle], /) -> Mapping[Handle, tuple[int, int]]:
        return await listing.times(self._link, _texts(handles))

    async def list(
        self,
        criteria: MemoryFilter,
        /,
        *,
        now: datetime,
        limit: int,
        offset: int = 0,
        cursor: str | None = None,
        order: Order = Order.CREATED_DESC,
    ) -> Listing:
        return await listing.page(
            self._index, criteria, now=now, limit=limit, offset=offset, cursor=cursor, order=order
        )

    async def count(self, criteria: MemoryFilter, /, *, now: datetime) -> int:
        return await listing.count(self._index, criteria, now=now)

    async def nearest(
        self,
        criteria: MemoryFilter,
        /,
        *,
        vector: Vector,
        model: str,
        now: datetime,
        limit: int,
        distance_max: float | None = None,
    ) -> VectorCandidates:
        return await nearest.nearest(
            self._index, criteria, vector=vector, model=model, now=now, limit=limit, distance_max=distance_max
        )

    async def holding(
        self, criteria: MemoryFilter, /, *, tokens: Sequence[str], now: datetime, limit: int
    ) -> KeywordCandidates:
        return await keywords.holding(
            self._index, criteria, tokens=tokens, now=now, limit=limit, token_key=self._token_key
        )

    async def vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, Vector]:
        return await nearest.vectors_of(self._link, self._index, _texts(handles), model=model)

    async def token_vectors(self, handles: Sequence[Handle], /, *, model: str) -> Mapping[Handle, bytes]:
        return await nearest.token_vectors(self._link, _texts(handles), model=model)

    async def neighbours(self, handles: Sequence[Handle], /, *, span: int) -> Mapping[Handle, Sequence[Handle]]:
        return await passages.neighbours(self._link, _texts(handles), span=span)

    async def pool(self, criteria: MemoryFilter, handles: Sequence[Handle], /, *, span: int, now: datetime) -> Pool:
        return await passages.pool(self._link, criteria, _texts(handles), span=span, now=now)

    async def touch(self, handles_or_keys: Sequence[MemoryKey], /, *, at: datetime, interval_min_s: float) -> int:
        moment = micros(at)
        latest = moment - round(interval_min_s * 1_000_000)
        handles = [naming.handle_of(*key) for key in dict.fromkeys(handles_or_keys)]

        async def work(transaction: Transaction) -> int:
            touched = 0
            for stored in await stored_memories(transaction, handles):
                if stored is not None and micros(stored.memory.last_accessed) <= latest:
                    touch_memory(transaction, stored, at_us=moment, counts=True)
                    touched += 1
            return touched

        return await transact(self._link, work) if handles else 0

    async def without_vector(
        self, *, model: str, limit: int, after: Handle | None = None, tenant: str | None = None
    ) -> Sequence[tuple[Handle, MemoryKey, str, str]]:
        within = "" if tenant is None else scope_clause(ScopeSelector(tenant), live=False) + " "
        text = f"({within}-@sp:{{{model_token(model)}}})"
        rows = await walk(self._index, text, ("doc",), limit=limit, after=after)
        found: list[tuple[Handle, MemoryKey, str, str]] = []
        for handle, row in rows:
            if b"doc" in row:
                document = from_json(row[b"doc"])
                tenant_name, namespace, user_id, _ = document["scope"]
                key = MemoryKey(tenant_name, namespace, user_id, document["id"])
                found.append((handle, key, document["text"], document["operation_id"]))
        return found

    async def put_vectors(self, vectors_of: Sequence[tuple[Handle, str, Embedded]], /) -> int:
        await self._index.prepare([embedded for _, _, embedded in vectors_of])
        stored = 0
        for first in range(0, len(vectors_of), _CHANGED_AT_ONCE):
            stored += await self._put_vectors(vectors_of[first : first + _CHANGED_AT_ONCE])
        return stored

    async def _put_vectors(self, vectors_of: Sequence[tuple[Handle, str, Embedded]]) -> int:
        wanted = [each for each in vectors_of if isinstance(each[0], str)]

        async def work(transaction: Transaction) -> int:
            found = await stored_memories(transaction, [str(handle) for handle, _, _ in wanted])
            put = 0
            for stored, (_, operation_id, embedded) in zip(found, wanted, strict=True):
                if stored is not None and stored.memory.operation_id == operation_id:
                    after = store_vector(transaction, stored, embedded)
                    if embedded.vector is not None and is_compared(stored.memory):
                        # It may have been looked at in vain before.
                        with_due(transaction, after, marked_due(after, transaction).due)
                    put += 1
            return put

        return await transact(self._link, work) if wanted else 0

    async def drop_vectors_except(self, *, model: str) -> int:
        others = {space: named for space, (named, _) in (await self._index.spaces()).items() if named != model}
        tokens = {*others, *(model_token(named) for named in others.values())}
        dropped = 0
        while tokens:
            answer = await self._index.search(
                "FT.SEARCH", f"@sp:{{{'|'.join(sorted(tokens))}}}", "NOCONTENT", "LIMIT", 0, _CHANGED_AT_ONCE
            )
            handles = [naming.handle_of_key(key) for key in answer[1:]]
            if not handles:
                break
            dropped += await self._drop_vectors(handles, tokens)
        return dropped

    async def _drop_vectors(self, handles: Sequence[str], tokens: set[str]) -> int:
        async def work(transaction: Transaction) -> int:
            found = [each for each in await stored_memories(transaction, handles) if each is not None]
            for stored in found:
                drop_vectors(transaction, stored, tokens)
            return sum(len(tokens & {space for space in each.spaces if space[0] == "v"}) for each in found)

        return await transact(self._link, work)

    async def duplicate_groups(
        self, criteria: MemoryFilter, /, *, now: datetime, limit: int, after: str | None = None
    ) -> Sequence[Sequence[Memory]]:
        return await listing.duplicate_groups(self._index, criteria, now=now, limit=limit, after=after)

    async def ages(
        self,
        criteria: MemoryFilter,
        /,
        *,
        now: datetime,
        limit: int,
        after: Handle | None = None,
        owner: Scope | None = None,
    ) -> Sequence[Aged]:
        return await listing.ages(self._index, criteria, now=now, limit=limit, after=after, owner=owner)

    async def expired(self, *, now: datetime, limit: int) -> Sequence[MemoryKey]:
        answer = await self._index.search(
            "FT.SEARCH", f"@expires:[-inf {micros(now)}]", "RETURN", 1, "doc", "LIMIT", 0, limit
        )
        documents = [from_json(row[b"doc"]) for _, row in rows_of(answer) if b"doc" in row]
        owners = [(each["scope"], each["id"]) for each in documents]
        return [
            MemoryKey(tenant, namespace, user_id, memory_id) for (tenant, namespace, user_id, _), memory_id in owners
        ]

    async def owners(self, selector: ScopeSelector, /) -> Sequence[Scope]:
        scopes = await owners(self._link, selector)
        if not scopes:
            return []
        tags = ["o" + naming.owner_digest(scope.namespace, scope.user_id) + ":d" for scope in scopes]
        held = await self._link.read("HMGET", statistics_key(selector.tenant), *tags)
        return [scope for scope, documents in zip(scopes, held, strict=True) if int(documents or 0) > 0]

    async def keys(self, handles: Sequence[Handle], /) -> Mapping[Handle, MemoryKey]:
        found: dict[Handle, MemoryKey] = {
            handle: memory.key for handle, memory in (await listing.fetched(self._link, _texts(handles))).items()
        }
        return found

    async def tenants(self) -> Sequence[str]:
        return sorted(name.decode() for name in pairs_of(await self._link.read("HGETALL", naming.TENANTS)).values())
