"""Sessions whole, as a transfer reads and writes them over Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.transfer import SessionMessage, SessionRecord
from agent_memory_server.ports.transfer import Portion
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.scopes import pairs_of, scopes_key
from agent_memory_server.stores.redis.session_messages import (
    Kept,
    insert_kept,
    read_messages,
)
from agent_memory_server.stores.redis.session_rows import (
    Body,
    Head,
    SessionKeys,
    head_of,
    listing_key,
    memories_to,
    new_head,
    read_head,
    save_head,
    session_of,
)
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import instant_or_none, micros, micros_or_none


async def tenants(link: Link) -> list[str]:
    """Every tenant that ever wrote, in a stable order."""
    return sorted(name.decode() for name in pairs_of(await link.read("HGETALL", naming.TENANTS)).values())


async def walk(link: Link, *, after: str | None, limit: int, now: datetime) -> Portion[SessionRecord]:
    """Over the listings of all tenants, one after another; the cursor names the tenant and the place in its listing."""
    place, tenant = await place_in(link, after)
    if tenant is None:
        return Portion((), None)
    cursor, members = await link.read("ZSCAN", listing_key(tenant, "t"), place[1], "COUNT", limit)
    held = pairs_of(await link.read("HGETALL", scopes_key(tenant)))
    found: list[SessionRecord] = []
    for member in dict.fromkeys(members[::2]):
        owner = held.get(naming.suffix_of_member(member).encode())
        if owner is None:
            continue
        namespace, user_id = from_json(owner)
        record = await session(link, Scope(tenant, namespace, user_id, naming.text_of_member(member)), now=now)
        if record is not None:
            found.append(record)
    return Portion(found, await following(link, place[0], text_of(cursor)))


async def place_in(link: Link, after: str | None) -> tuple[tuple[int, str], str | None]:
    """(number of the tenant, cursor) and the tenant's name, None behind the last one."""
    number, _, cursor = (after or "0:0").partition(":")
    known = await tenants(link)
    return (int(number), cursor), known[int(number)] if int(number) < len(known) else None


async def following(link: Link, number: int, cursor: str) -> str | None:
    """Where a walk over all tenants goes on."""
    if cursor != "0":
        return f"{number}:{cursor}"
    return f"{number + 1}:0" if number + 1 < len(await tenants(link)) else None


def text_of(cursor: object) -> str:
    return cursor.decode() if isinstance(cursor, bytes) else str(cursor)


async def session(link: Link, scope: Scope, *, now: datetime) -> SessionRecord | None:
    keys = SessionKeys(scope)
    held, body = await link.read("MGET", keys.head, keys.body)
    head = head_of(None if held is None else from_json(held))
    if head is None or not head.is_live(now):
        return None
    found = session_of(head, {} if body is None else from_json(body), scope, ())
    return SessionRecord(session=found, expires_at=instant_or_none(head.expires_at))


async def messages(link: Link, scope: Scope, *, after: int, limit: int) -> list[SessionMessage]:
    keys = SessionKeys(scope)
    found = await read_messages(link, scope, "ZRANGEBYSCORE", keys.all, f"({after}", "+inf", "LIMIT", 0, limit)
    if found is None:
        return []
    return [SessionMessage(sequence=each.seq, archived=each.archived, message=each.message) for each in found[2]]


async def put(transaction: Transaction, record: SessionRecord, first: Sequence[SessionMessage]) -> None:
    """Store the session in place of the one that is there; its pending work stays."""
    given = record.session
    scope, keys = given.scope, SessionKeys(given.scope)
    before = await read_head(transaction, scope)
    if before is not None:
        transaction.command("DEL", *(key for key in keys.own if key != keys.body))
    body: Body = {
        "context": given.context,
        "data": None if given.data is None else dict(given.data),
        "strategy_config": dict(given.strategy.config) or None,
        "memories": memories_to(given.memories),
    }
    transaction.put(keys.body, body)
    head = replace(
        new_head(epoch=given.epoch, at=given.updated_at),
        revision=given.revision,
        created_at=micros(given.created_at),
        last_accessed=micros(given.last_accessed),
        expires_at=micros_or_none(record.expires_at),
        ttl_seconds=given.ttl_seconds,
        tokens=given.tokens,
        strategy=given.strategy.name,
        summarization=given.summarization.value,
        changes=0 if before is None else before.changes,
    )
    _insert(transaction, keys, first)
    save_head(transaction, scope, _counted(head, first), before=before)


async def add(transaction: Transaction, scope: Scope, more: Sequence[SessionMessage]) -> None:
    """Messages with their places, and the counts that go with them."""
    head = await read_head(transaction, scope)
    if head is None or not more:
        return
    _insert(transaction, SessionKeys(scope), more)
    save_head(transaction, scope, _counted(head, more), before=head)


def _insert(transaction: Transaction, keys: SessionKeys, more: Sequence[SessionMessage]) -> None:
    insert_kept(transaction, keys, [Kept(each.sequence, each.archived, each.message) for each in more])


def _counted(head: Head, more: Sequence[SessionMessage]) -> Head:
    live = [each for each in more if not each.archived]
    return replace(
        head,
        live_count=head.live_count + len(live),
        archived_count=head.archived_count + len(more) - len(live),
        live_tokens=head.live_tokens + sum(each.message.token_count for each in live),
        next_seq=max(head.next_seq, more[-1].sequence + 1) if more else head.next_seq,
    )
