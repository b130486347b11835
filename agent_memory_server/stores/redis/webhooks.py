"""Webhooks over Redis: a document each, a set of them all, and a list of the newest deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.webhooks import Delivery, Webhook
from agent_memory_server.ports.webhooks import DELIVERIES_KEPT
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import to_json
from agent_memory_server.stores.webhook_documents import delivery_document, delivery_of, document_of, webhook_of

_ALL = naming.PREFIX + "webhooks"


def _key(tenant: str, webhook_id: str) -> str:
    return naming.in_tenant(tenant, "webhook", naming.digest(webhook_id))


def _deliveries_key(tenant: str, webhook_id: str) -> str:
    return naming.in_tenant(tenant, "webhook-deliveries", naming.digest(webhook_id))


class RedisWebhooks:
    """``ports.webhooks.WebhookStore`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def add(self, webhook: Webhook, /, *, limit: int) -> bool:
        key = _key(webhook.scope.tenant, webhook.id)

        async def work(transaction: Transaction) -> bool:
            keys = sorted(await transaction.members(_ALL))
            held = [webhook_of(each) for each in await transaction.documents(keys) if each is not None]
            if sum(each.scope.tenant == webhook.scope.tenant for each in held) >= limit:
                return False
            transaction.add(_ALL, key)
            transaction.put(key, document_of(webhook))
            return True

        return await transact(self._link, work, alone=_ALL)

    async def get(self, tenant: str, webhook_id: str, /) -> Webhook | None:
        held = await self._link.read("GET", _key(tenant, webhook_id))
        return None if held is None else webhook_of(from_json(held))

    async def list(self, selector: ScopeSelector, /) -> Sequence[Webhook]:
        return [each for each in await self.all() if selector.admits(each.scope)]

    async def all(self) -> Sequence[Webhook]:
        keys = sorted(each.decode() for each in await self._link.read("SMEMBERS", _ALL))
        held: Sequence[bytes | None] = await self._link.read("MGET", *keys) if keys else []
        found = [webhook_of(from_json(each)) for each in held if each is not None]
        return sorted(found, key=lambda each: (each.created_at, each.id))

    async def remove(self, tenant: str, webhook_id: str, /) -> bool:
        key = _key(tenant, webhook_id)

        async def work(transaction: Transaction) -> bool:
            transaction.releases = True
            if await transaction.document(key) is None:
                return False
            transaction.discard(_ALL, key)
            transaction.drop(key)
            transaction.command("DEL", _deliveries_key(tenant, webhook_id))
            return True

        return await transact(self._link, work, alone=_ALL)

    async def note(
        self,
        tenant: str,
        webhook_id: str,
        /,
        *,
        position: int,
        failing_since: datetime | None,
        last_error: str | None,
        delivery: Delivery | None,
    ) -> None:
        key, log = _key(tenant, webhook_id), _deliveries_key(tenant, webhook_id)

        async def work(transaction: Transaction) -> None:
            held = await transaction.document(key)
            if held is None:
                return
            known = webhook_of(held)
            noted = replace(
                known, position=max(known.position, position), failing_since=failing_since, last_error=last_error
            )
            transaction.put(key, document_of(noted))
            if delivery is not None:
                transaction.command("LPUSH", log, to_json(delivery_document(delivery)))
                transaction.command("LTRIM", log, 0, DELIVERIES_KEPT - 1)

        await transact(self._link, work)

    async def deliveries(self, tenant: str, webhook_id: str, /, *, limit: int) -> Sequence[Delivery]:
        held = await self._link.read("LRANGE", _deliveries_key(tenant, webhook_id), 0, limit - 1)
        return [delivery_of(from_json(each)) for each in held]
