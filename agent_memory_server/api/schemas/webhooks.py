"""Webhooks on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.schemas.history import OperationKindName
from agent_memory_server.api.schemas.values import Body, ScopeName
from agent_memory_server.domain.webhooks import Delivery, Webhook


class CreateWebhookRequest(Body):
    url: Annotated[str, Field(min_length=1, max_length=2_000)] = Field(
        description="Where changes are posted. Addresses of this machine or network are refused."
    )
    kinds: list[OperationKindName] | None = Field(
        default=None, max_length=20, description="Only operations of these kinds; null for all."
    )
    description: Annotated[str, Field(max_length=200)] | None = None
    namespace: ScopeName | None = Field(default=None, description="Only changes of this namespace.")
    user_id: ScopeName | None = Field(default=None, description="Only changes of this user.")


class WebhookRecord(Body):
    """``failing_since``: it is tried again with back-off, and goes on where it stopped."""

    id: str
    url: str
    kinds: list[OperationKindName]
    description: str
    namespace: str | None
    user_id: str | None
    created_at: datetime
    created_by: str
    failing_since: datetime | None
    last_error: str | None


class CreatedWebhook(WebhookRecord):
    """``secret`` is shown here and never again: it is the key of the signatures."""

    secret: str


class WebhookList(Body):
    webhooks: list[WebhookRecord]


class DeliveryRecord(Body):
    """One attempt. ``status``: what the receiver answered, null when there was no answer."""

    id: str
    at: datetime
    ok: bool
    status: int | None
    error: str | None
    events: int
    first_operation: str
    last_operation: str
    duration_ms: int


class DeliveryList(Body):
    deliveries: list[DeliveryRecord]


class DeliveriesQuery(Body):
    limit: Annotated[int, Field(ge=1, le=100)] = 20


def webhook_wire(webhook: Webhook) -> dict[str, Any]:
    """The fields of WebhookRecord."""
    return {
        "id": webhook.id,
        "url": webhook.url,
        "kinds": webhook.kinds,
        "description": webhook.description,
        "namespace": webhook.scope.namespace,
        "user_id": webhook.scope.user_id,
        "created_at": webhook.created_at,
        "created_by": webhook.created_by,
        "failing_since": webhook.failing_since,
        "last_error": webhook.last_error,
    }


def delivery_wire(delivery: Delivery) -> dict[str, Any]:
    """The fields of DeliveryRecord."""
    return {
        "id": delivery.id,
        "at": delivery.at,
        "ok": delivery.is_done,
        "status": delivery.status,
        "error": delivery.error,
        "events": delivery.events,
        "first_operation": delivery.first_operation,
        "last_operation": delivery.last_operation,
        "duration_ms": delivery.duration_ms,
    }
