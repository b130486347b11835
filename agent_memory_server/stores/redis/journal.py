"""Reading the journal over Redis."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.ports.journal import Earlier, JournalledOperation, Position, Revision
from agent_memory_server.stores.past_documents import revisions_of
from agent_memory_server.stores.redis import leaving, naming, time_travel
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json, memory_of
from agent_memory_server.stores.redis.index import Index
from agent_memory_server.stores.redis.journalling import (
    NO_REVISION,
    is_past,
    moved_key,
    operation_key,
    operations_key,
    owners_key,
    run_key,
)
from agent_memory_server.stores.redis.memory_keys import (
    history_key,
)
from agent_memory_server.stores.redis.past import past_of
from agent_memory_server.stores.redis.rows import (
    PLAIN_FIELDS,
    memory_of_fields,
)
from agent_memory_server.stores.redis.scopes import pairs_of, scored
from agent_memory_server.stores.redis.thinning import thin
from agent_memory_server.stores.timelines import Timelines
from agent_memory_server.stores.values import instant, micros

_MARK_BYTES = 4
_READ_AT_ONCE = 200


class RedisJournal:
    """``ports.journal.Journal`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._index = Index(link)
        self._timelines: Timelines[bytes] = Timelines()

    async def operations(
        self, selector: ScopeSelector, /, *, after: int = 0, limit: int = 100, newest_first: bool = False
    ) -> Sequence[JournalledOperation]:
        key = operations_key(selector.tenant, naming.tag_of(selector))
        if newest_first:
            first = f"({after}" if after else "+inf"
            answer = await self._link.read("ZREVRANGEBYSCORE", key, first, "-inf", "WITHSCORES", "LIMIT", 0, limit)
        else:
            answer = await self._link.read("ZRANGEBYSCORE", key, f"({after}", "+inf", "WITHSCORES", "LIMIT", 0, limit)
        return await self._operations(selector, answer)

    async def operation(self, selector: ScopeSelector, operation_id: str, /) -> JournalledOperation | None:
        found = await self._document(selector, operation_id)
        if found is None:
            return None
        operation = _operation(selector, *found)
        return operation if operation.counts else None

    async def run(
        self, selector: ScopeSelector, run: str, /, *, after: int = 0, limit: int = 100
    ) -> Sequence[JournalledOperation]:
        found: list[JournalledOperation] = []
        while len(found) < limit:
            answer = await self._link.read(
                "ZRANGEBYSCORE", run_key(selector.tenant, run), f"({after}", "+inf", "WITHSCORES", "LIMIT", 0, limit
            )
            page = await self._operations(selector, answer)
            found += [each for each in page if each.counts]
            if len(page) < limit:
                break
            after = page[-1].sequence
        return found[:limit]

    async def changes(
        self, selector: ScopeSelector, operation_id: str, /, *, after: Position | None = None, limit: int = 1000
    ) -> Sequence[Revision]:
        held = await self._document(selector, operation_id)
        if held is None:
            return []
        sequence, document = held
        operation = _operation(selector, sequence, document)
        behind = (-1, -1) if after is None else after[1:]
        entries = [
            entry
            for entry in document["entries"]
            if len(entry) > _KEYLESS and Effect(entry[2]) not in NO_REVISION and (entry[4], entry[5]) > behind
        ]
        entries.sort(key=lambda entry: (entry[4], entry[5]))
        found: list[Revision] = []
        for first in range(0, len(entries), _READ_AT_ONCE):
            some = entries[first : first + _READ_AT_ONCE]
            places = [
                (naming.handle_of(selector.tenant, entry[0], entry[1], entry[3]), f"{sequence}:{entry[4]}:{entry[5]}")
                for entry in some
            ]
            keys = await self._keys_now(selector.tenant, some, places)
            for entry, (key, value) in zip(some, keys, strict=True):
                if value is not None and selector.admits(Scope(key.tenant, key.namespace, key.user_id)):
                    position = Position(sequence, entry[4], entry[5])
                    found.append(_without_states(operation, key, position, from_json(value)))
            if len(found) >= limit:
                break
        return found[:limit]

    async def history(
        self, key: MemoryKey, /, *, after: Position | None = None, limit: int | None = None
    ) -> Sequence[Revision]:
        (found,) = await self.histories([key])
        return [each for each in found if after is None or each.position > after][:limit]

    async def histories(self, keys: Sequence[MemoryKey], /, *, live: bool = True) -> Sequence[Sequence[Revision]]:
        handles = [naming.handle_of(*key) for key in keys]
        commands = [("HGETALL", history_key(handle)) for handle in handles]
        states = [("HMGET", naming.memory_key(handle), *PLAIN_FIELDS) for handle in handles if live]
        answers = await self._link.reads(*commands, *states) if keys else []
        stored = answers[len(keys) :] if live else [_NOT_READ] * len(keys)
        return [
            _history(key, pairs_of(held), state)
            for key, held, state in zip(keys, answers[: len(keys)], stored, strict=True)
        ]

    async def gone(self, selector: ScopeSelector, /, *, memory_id: str, limit: int = 2) -> Sequence[MemoryKey]:
        held = await self._link.read("SMEMBERS", owners_key(selector.tenant, memory_id))
        owners = sorted((Scope(selector.tenant, *from_json(each)) for each in held), key=repr)
        keys = [
            MemoryKey(selector.tenant, owner.namespace, owner.user_id, memory_id)
            for owner in owners
            if selector.admits(owner)
        ]
        handles = [naming.handle_of(*key) for key in keys]
        commands = [("EXISTS", naming.memory_key(handle)) for handle in handles]
        commands += [("EXISTS", history_key(handle)) for handle in handles]
        told = await self._link.reads(*commands) if commands else []
        there, remembered = told[: len(keys)], told[len(keys) :]
        found = [
            key
            for key, is_there, has_history in zip(keys, there, remembered, strict=True)
            if has_history and not is_there
        ]
        return found[:limit]

    async def remembered(self, selector: ScopeSelector, /, *, limit: int) -> Sequence[MemoryKey]:
        return await time_travel.remembered(self._link, selector, limit=limit)

    async def moved_away(self, selector: ScopeSelector, /, *, limit: int) -> Sequence[MemoryKey]:
        return await leaving.moved_away(self._link, selector, limit=limit)

    async def scrub_stay(self, selector: ScopeSelector, key: MemoryKey, /) -> None:
        await leaving.scrub_stay(self._link, selector, key)

    async def point(self, tenant: str, moment: datetime, /) -> int:
        """The moment itself: every memory notes when it was last changed."""
        del tenant
        return micros(moment)

    async def earlier(
        self, selector: ScopeSelector, point: int, /, *, memory_id: str | None = None, limit: int
    ) -> Sequence[Earlier]:
        return await time_travel.earlier(
            self._index, self._timelines, selector, point, memory_id=memory_id, limit=limit
        )

    async def identity(self) -> str:
        key = await self._link.read("HGET", naming.FACTS, "token_key")
        # The key itself stays secret.
        return hashlib.blake2b(key or b"", digest_size=_MARK_BYTES).hexdigest()

    async def newest(self) -> int:
        return int(await self._link.read("GET", naming.SEQUENCE) or 0)

    async def thin(self, tenant: str, /, *, gone_before: datetime, limit: int) -> int:
        return await thin(self._link, tenant, gone_before_us=micros(gone_before), limit=limit)

    async def _operations(self, selector: ScopeSelector, answer: Sequence[bytes]) -> list[JournalledOperation]:
        found = scored(answer)
        if not found:
            return []
        keys = [naming.in_tenant(selector.tenant, "operation", member.decode()) for member, _ in found]
        documents = await self._link.read("MGET", *keys)
        return [
            _operation(selector, sequence, from_json(document))
            for (_, sequence), document in zip(found, documents, strict=True)
            if document is not None
        ]

    async def _document(self, selector: ScopeSelector, operation_id: str) -> tuple[int, dict[str, Any]] | None:
        document, sequence = await self._link.reads(
            ("GET", operation_key(selector.tenant, operation_id)),
            ("ZSCORE", operations_key(selector.tenant, "t"), naming.digest(operation_id)),
        )
        if document is None or sequence is None:
            return None
        return int(float(sequence)), from_json(document)

    async def _keys_now(
        self, tenant: str, entries: Sequence[Sequence[Any]], places: Sequence[tuple[str, str]]
    ) -> list[tuple[MemoryKey, bytes | None]]:
        """The keys that the memories of these entries have now, with the entries: what moved took its history along."""
        values = await self._link.reads(*(("HGET", history_key(handle), name) for handle, name in places))
        found: list[tuple[MemoryKey, bytes | None]] = []
        for entry, (handle, name), value in zip(entries, places, values, strict=True):
            key = MemoryKey(tenant, entry[0], entry[1], entry[3])
            if value is None:
                key, value = await self._followed(key, handle, name)
            found.append((key, value))
        return found

    async def _followed(self, key: MemoryKey, handle: str, name: str) -> tuple[MemoryKey, bytes | None]:
        seen, ahead = {handle}, [handle]
        while ahead:
            for member in await self._link.read("SMEMBERS", moved_key(ahead.pop())):
                further = member.decode()
                value = await self._link.read("HGET", history_key(further), name)
                if value is not None:
                    return await time_travel.key_of(self._link, further, key), value
                if further not in seen:
                    seen.add(further)
                    ahead.append(further)
        return key, None


_NOT_READ = (None,) * len(PLAIN_FIELDS)
_KEYLESS = 3
"""Entries of operations that were written before undo was there have no more than this."""


def _without_states(
    operation: JournalledOperation, key: MemoryKey, position: Position, entry: dict[str, Any]
) -> Revision:
    return Revision(
        operation=operation,
        key=key,
        effect=Effect(entry["effect"]),
        before=None,
        after=None,
        scrubbed=entry["scrubbed"],
        before_is_copy=entry.get("copy", False),
        position=position,
    )


def _history(key: MemoryKey, held: Mapping[bytes, bytes], stored: Sequence[bytes | None]) -> list[Revision]:
    entries = [
        (Position(*(int(part) for part in name.decode().split(":"))), from_json(value))
        for name, value in held.items()
        if not is_past(name)
    ]
    entries.sort(key=lambda pair: pair[0])
    own = revisions_of(key, entries, memory_of, following=memory_of_fields(stored))
    return past_of(key, held, own) + own


def _operation(selector: ScopeSelector, sequence: int, document: dict[str, Any]) -> JournalledOperation:
    counts = Counter(
        effect
        for namespace, user_id, effect, *_ in document["entries"]
        if selector.admits(Scope(selector.tenant, namespace, user_id))
    )
    return JournalledOperation(
        sequence=sequence,
        id=document["id"],
        tenant=selector.tenant,
        kind=OperationKind(document["kind"]),
        actor=document["actor"],
        at=instant(document["at"]),
        reason=document["reason"],
        counts=dict(counts),
        details=document.get("details", {}),
        run=document.get("run"),
    )
