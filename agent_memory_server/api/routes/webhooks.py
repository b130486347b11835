"""Webhooks: who is told of changes, and how telling them went."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.memories import AckResponse
from agent_memory_server.api.schemas.webhooks import (
    CreatedWebhook,
    CreateWebhookRequest,
    DeliveriesQuery,
    DeliveryList,
    WebhookList,
    delivery_wire,
    webhook_wire,
)
from agent_memory_server.domain.identity import Permission


async def create_webhook(call: Call) -> Answer:
    """Have changes posted to a URL as they come, in order and at least once, signed with HMAC-SHA256.

    `X-Memory-Signature: t=<seconds>,v1=<hex>` is the HMAC with the webhook's secret over `<seconds>.<body>`.
    """
    body = await call.body(CreateWebhookRequest)
    webhook = await call.long_term.webhooks.create(
        call.caller,
        url=body.url,
        kinds=body.kinds or (),
        description=body.description or "",
        namespace=body.namespace,
        user_id=body.user_id,
    )
    return answer({**webhook_wire(webhook), "secret": webhook.secret})


async def list_webhooks(call: Call) -> Answer:
    """The webhooks within the caller's reach, without their secrets."""
    found = await call.long_term.webhooks.list(call.caller)
    return answer({"webhooks": [webhook_wire(each) for each in found]})


async def delete_webhook(call: Call) -> Answer:
    """Nothing is posted there any more."""
    webhook_id = call.path_id("webhook_id")
    await call.long_term.webhooks.delete(call.caller, webhook_id=webhook_id)
    return answer({"status": "ok"})


async def list_webhook_deliveries(call: Call) -> Answer:
    """The newest attempts first, with what the receiver answered; 100 are kept."""
    webhook_id = call.path_id("webhook_id")
    query = call.query(DeliveriesQuery)
    found = await call.long_term.webhooks.deliveries(call.caller, webhook_id=webhook_id, limit=query.limit)
    return answer({"deliveries": [delivery_wire(each) for each in found]})


OPERATIONS = (
    Operation(
        method="POST", path="/v1/webhooks", handler=create_webhook, permission=Permission.ADMIN,
        body=CreateWebhookRequest, answers=CreatedWebhook, fails=(404, 429),
    ),
    Operation(
        method="GET", path="/v1/webhooks", handler=list_webhooks, permission=Permission.ADMIN, answers=WebhookList
    ),
    Operation(
        method="DELETE", path="/v1/webhooks/{webhook_id}", handler=delete_webhook, permission=Permission.ADMIN,
        answers=AckResponse, fails=(404,),
    ),
    Operation(
        method="GET", path="/v1/webhooks/{webhook_id}/deliveries", handler=list_webhook_deliveries,
        permission=Permission.ADMIN, query=DeliveriesQuery, answers=DeliveryList, fails=(404,),
    ),
)  # fmt: skip
