"""Webhooks: changes are posted to whoever asked for them, signed, in order, at least once.

What is told is read from the journal behind the webhook's position, so nothing is lost while a receiver is down: work stays
pending, is tried again with back-off, and goes on where it stopped. After the last attempt it is a dead letter that can be
replayed. A receiver sees an operation twice when its answer was lost: operations have ids.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agent_memory_server.domain.identity import OutsideReach, Principal, ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.webhooks import SIGNATURE_HEADER, Delivery, Webhook, signature
from agent_memory_server.errors import DependencyUnavailable, NotFound, TooManyRequests
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.ports.webhooks import WebhookSender, WebhookStore
from agent_memory_server.services.events import EventFeed
from agent_memory_server.services.history import Told

EVENTS_MAX = 100
"""In one request."""
LOOK_S = 1.0
"""How soon a change is on its way."""
_REQUESTS_A_RUN = 100
_ERROR_LENGTH_MAX = 200


class WebhookService:
    def __init__(
        self,
        *,
        store: WebhookStore,
        journal: Journal,
        feed: EventFeed,
        sender: WebhookSender,
        outbox: Outbox,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._feed = feed
        self._sender = sender
        self._outbox = outbox
        self._now = now
        self._new_id = new_id
        self._wake = wake

    # -- what clients ask for

    async def create(
        self,
        caller: Principal,
        *,
        url: str,
        kinds: Sequence[str] = (),
        description: str = "",
        namespace: str | None = None,
        user_id: str | None = None,
    ) -> Webhook:
        """From now on changes within the caller's reach (and the named namespace and user) are posted there.

        Raises NotFound (a scope beyond the caller's), InvalidInput (an address that may not be called), TooManyRequests.
        """
        try:
            scope = caller.owner(namespace, user_id)
        except OutsideReach:
            raise NotFound("the namespace or user was not found") from None
        await self._sender.check(url)
        webhook = Webhook(
            id=self._new_id(),
            scope=scope,
            url=url,
            secret=f"whsec_{secrets.token_urlsafe(32)}",
            kinds=tuple(dict.fromkeys(kinds)),
            description=description,
            created_at=self._now(),
            created_by=caller.subject,
            position=await self._journal.newest(),
        )
        if not await self._store.add(webhook, limit=LIMITS.webhooks_max):
            raise TooManyRequests(f"there are {LIMITS.webhooks_max} webhooks already: delete one first")
        return webhook

    async def list(self, caller: Principal) -> Sequence[Webhook]:
        return await self._store.list(caller.selector())

    async def delete(self, caller: Principal, *, webhook_id: str) -> None:
        """Nothing is posted any more but what is on its way. Raises NotFound."""
        await self._get(caller.selector(), webhook_id)
        await self._store.remove(caller.tenant, webhook_id)

    async def deliveries(self, caller: Principal, *, webhook_id: str, limit: int) -> Sequence[Delivery]:
        """The newest attempts first. Raises NotFound."""
        await self._get(caller.selector(), webhook_id)
        return await self._store.deliveries(caller.tenant, webhook_id, limit=limit)

    async def _get(self, selector: ScopeSelector, webhook_id: str) -> Webhook:
        found = await self._store.get(selector.tenant, webhook_id)
        if found is None or not selector.admits(found.scope):
            raise NotFound(f"Webhook {webhook_id} not found")
        return found

    # -- what is done in the background

    async def watch(self) -> None:
        """Ask for deliveries whenever something was committed, by whichever process, until cancelled."""
        seen = -1
        while True:
            newest = await self._journal.newest()
            if newest != seen:
                await self.request_due(newest)
                seen = newest
            await asyncio.sleep(LOOK_S)

    async def request_due(self, newest: int) -> int:
        """How many webhooks have something to tell. One that fails has its retries already."""
        due = [each for each in await self._store.all() if each.failing_since is None and each.position < newest]
        if due:
            await self._outbox.request([_intent(each) for each in due], at=self._now())
            self._wake()
        return len(due)

    async def carry_out(self, intent: ClaimedIntent) -> Mapping[str, Any]:
        """Post everything behind the webhook's position. Raises DependencyUnavailable when the receiver does not take it."""
        posted = 0
        for _ in range(_REQUESTS_A_RUN):
            webhook = await self._store.get(intent.tenant, intent.payload["webhook"])
            if webhook is None:
                break
            newest = await self._journal.newest()
            operations = await self._journal.operations(webhook.selector, after=webhook.position, limit=EVENTS_MAX)
            if not operations:
                if webhook.position < newest or webhook.failing_since is not None:
                    await self._noted(webhook, newest)
                break
            wanted = [each for each in operations if not webhook.kinds or each.kind.value in webhook.kinds]
            told = [await self._feed.told(_reader(webhook), each) for each in wanted]
            delivery = await self._posted(webhook, told) if told else None
            if delivery is not None and not delivery.is_done:
                await self._store.note(
                    intent.tenant,
                    webhook.id,
                    position=webhook.position,
                    failing_since=webhook.failing_since or self._now(),
                    last_error=delivery.error,
                    delivery=delivery,
                )
                raise DependencyUnavailable(f"the receiver of webhook {webhook.id} did not take it: {delivery.error}")
            await self._noted(webhook, operations[-1].sequence, delivery)
            posted += len(told)
        return {"posted": posted}

    async def _noted(self, webhook: Webhook, position: int, delivery: Delivery | None = None) -> None:
        await self._store.note(
            webhook.scope.tenant,
            webhook.id,
            position=position,
            failing_since=None,
            last_error=None,
            delivery=delivery,
        )

    async def _posted(self, webhook: Webhook, told: Sequence[Told]) -> Delivery:
        at, delivery_id = self._now(), self._new_id()
        document = {"delivery": delivery_id, "webhook": webhook.id, "events": [event_document(each) for each in told]}
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "agent-memory-server",
            "X-Memory-Delivery": delivery_id,
            SIGNATURE_HEADER: signature(webhook.secret, body, at=at),
        }
        status: int | None = None
        error: str | None = None
        begun = time.monotonic()
        try:
            status = await self._sender.post(webhook.url, body=body, headers=headers)
        except DependencyUnavailable as failure:
            error = failure.detail[:_ERROR_LENGTH_MAX]
        if status is not None and not 200 <= status < 300:
            error = f"it answered {status}"
        return Delivery(
            id=delivery_id,
            at=at,
            events=len(told),
            first_operation=told[0].listed.operation.id,
            last_operation=told[-1].listed.operation.id,
            status=status,
            error=error,
            duration_ms=round((time.monotonic() - begun) * 1000),
        )


def _intent(webhook: Webhook) -> Intent:
    scope = webhook.scope
    return Intent(
        kind=IntentKind.DELIVER_WEBHOOK.value,
        key=webhook.id,
        tenant=scope.tenant,
        namespace=scope.namespace,
        user_id=scope.user_id,
        payload={"webhook": webhook.id},
    )


def _reader(webhook: Webhook) -> Principal:
    """Who reads for it: the reach that it was given, and no more."""
    scope = webhook.scope
    return Principal(
        subject=f"webhook:{webhook.id}", tenant=scope.tenant, namespace=scope.namespace, user_id=scope.user_id
    )


def event_document(told: Told) -> dict[str, Any]:
    """An operation as the change feed and webhooks tell it."""
    operation = told.listed.operation
    return {
        "id": operation.id,
        "cursor": told.listed.cursor,
        "kind": operation.kind.value,
        "actor": operation.actor,
        "at": operation.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "reason": operation.reason,
        "details": dict(operation.details),
        "run_id": operation.run,
        "counts": dict(operation.counts),
        "changes": [
            {
                "memory_id": each.key.id,
                "namespace": each.key.namespace,
                "user_id": each.key.user_id,
                "effect": each.effect.value,
            }
            for each in told.changes
        ],
        "has_more": told.has_more,
    }
