"""How both engines write webhooks and deliveries: as JSON documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.webhooks import Delivery, Webhook
from agent_memory_server.stores.values import instant, instant_or_none, micros, micros_or_none


def document_of(webhook: Webhook) -> dict[str, Any]:
    scope = webhook.scope
    return {
        "id": webhook.id,
        "scope": [scope.tenant, scope.namespace, scope.user_id],
        "url": webhook.url,
        "secret": webhook.secret,
        "kinds": list(webhook.kinds),
        "description": webhook.description,
        "created_at": micros(webhook.created_at),
        "created_by": webhook.created_by,
        "position": webhook.position,
        "failing_since": micros_or_none(webhook.failing_since),
        "last_error": webhook.last_error,
    }


def webhook_of(document: Mapping[str, Any]) -> Webhook:
    tenant, namespace, user_id = document["scope"]
    return Webhook(
        id=document["id"],
        scope=Scope(tenant, namespace, user_id),
        url=document["url"],
        secret=document["secret"],
        kinds=tuple(document["kinds"]),
        description=document["description"],
        created_at=instant(document["created_at"]),
        created_by=document["created_by"],
        position=document["position"],
        failing_since=instant_or_none(document["failing_since"]),
        last_error=document["last_error"],
    )


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "at": micros(delivery.at),
        "events": delivery.events,
        "first": delivery.first_operation,
        "last": delivery.last_operation,
        "status": delivery.status,
        "error": delivery.error,
        "duration_ms": delivery.duration_ms,
    }


def delivery_of(document: Mapping[str, Any]) -> Delivery:
    return Delivery(
        id=document["id"],
        at=instant(document["at"]),
        events=document["events"],
        first_operation=document["first"],
        last_operation=document["last"],
        status=document["status"],
        error=document["error"],
        duration_ms=document["duration_ms"],
    )
