"""Reading the journal over Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.ports.journal import JournalledOperation, Position, Revision
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json, memory_of
from agent_memory_server.stores.redis.journalling import operations_key
from agent_memory_server.stores.redis.rows import PLAIN_FIELDS, history_key, memory_of_fields
from agent_memory_server.stores.redis.scopes import pairs_of, scored
from agent_memory_server.stores.values import instant


class RedisJournal:
    """``ports.journal.Journal`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def operations(
        self, selector: ScopeSelector, /, *, after: int = 0, limit: int = 100
    ) -> Sequence[JournalledOperation]:
        key = operations_key(selector.tenant, naming.tag_of(selector))
        answer = await self._link.read("ZRANGEBYSCORE", key, f"({after}", "+inf", "WITHSCORES", "LIMIT", 0, limit)
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

    async def history(self, key: MemoryKey, /) -> Sequence[Revision]:
        handle = naming.handle_of(*key)
        held, stored = await self._link.reads(
            ("HGETALL", history_key(handle)), ("HMGET", naming.memory_key(handle), *PLAIN_FIELDS)
        )
        entries = [
            (tuple(int(part) for part in name.decode().split(":")), from_json(value))
            for name, value in pairs_of(held).items()
        ]
        entries.sort(key=lambda pair: pair[0])
        return _revisions(key, entries, memory_of_fields(stored))


def _revisions(
    key: MemoryKey, entries: Sequence[tuple[tuple[int, ...], dict[str, Any]]], live: Memory | None
) -> list[Revision]:
    """Each state after a change is the state before the next one, and at last what is stored."""
    found: list[Revision] = []
    after = live
    for (sequence, *_), entry in reversed(entries):
        operation_id, kind, actor, at, reason = entry["operation"]
        before = None if entry["before"] is None else memory_of(entry["before"])
        effect = Effect(entry["effect"])
        found.append(
            Revision(
                operation=JournalledOperation(
                    sequence=sequence,
                    id=operation_id,
                    tenant=key.tenant,
                    kind=OperationKind(kind),
                    actor=actor,
                    at=instant(at),
                    reason=reason,
                    counts={},
                ),
                key=key,
                effect=effect,
                before=before,
                after=None if effect is Effect.DELETED else after,
                scrubbed=entry["scrubbed"],
                before_is_copy=False,
                position=Position(sequence),
            )
        )
        after = before
    found.reverse()
    return found


def _operation(selector: ScopeSelector, sequence: int, document: dict[str, Any]) -> JournalledOperation:
    counts = Counter(
        effect
        for namespace, user_id, effect in document["entries"]
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
    )
