"""Webhooks over SQLite: a document a row; there are few of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.webhooks import Delivery, Webhook
from agent_memory_server.ports.webhooks import DELIVERIES_KEPT
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import to_json
from agent_memory_server.stores.webhook_documents import delivery_document, delivery_of, document_of, webhook_of

_ONE = "SELECT number, document FROM webhooks WHERE tenant = ? AND id = ?"


class SqliteWebhooks:
    """``ports.webhooks.WebhookStore`` over one file."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    async def add(self, webhook: Webhook, /, *, limit: int) -> bool:
        tenant = webhook.scope.tenant

        def work(connected: Connected) -> bool:
            if connected.value("SELECT count(*) FROM webhooks WHERE tenant = ?", (tenant,)) >= limit:
                return False
            connected.execute(
                "INSERT INTO webhooks (tenant, id, document) VALUES (?, ?, ?)",
                (tenant, webhook.id, to_json(document_of(webhook))),
            )
            return True

        return await self._writer.run(work)

    async def get(self, tenant: str, webhook_id: str, /) -> Webhook | None:
        row = await self._readers.run(lambda connected: connected.one(_ONE, (tenant, webhook_id)))
        return None if row is None else webhook_of(from_json(str(row[1])))

    async def list(self, selector: ScopeSelector, /) -> Sequence[Webhook]:
        rows = await self._readers.run(
            lambda connected: connected.rows(
                "SELECT document FROM webhooks WHERE tenant = ? ORDER BY number", (selector.tenant,)
            )
        )
        found = [webhook_of(from_json(str(document))) for (document,) in rows]
        return [each for each in found if selector.admits(each.scope)]

    async def all(self) -> Sequence[Webhook]:
        rows = await self._readers.run(
            lambda connected: connected.rows("SELECT document FROM webhooks ORDER BY number")
        )
        return [webhook_of(from_json(str(document))) for (document,) in rows]

    async def remove(self, tenant: str, webhook_id: str, /) -> bool:
        def work(connected: Connected) -> bool:
            row = connected.one(_ONE, (tenant, webhook_id))
            if row is None:
                return False
            connected.execute("DELETE FROM webhook_deliveries WHERE webhook = ?", (row[0],))
            connected.execute("DELETE FROM webhooks WHERE number = ?", (row[0],))
            return True

        return await self._writer.run(work)

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
        def work(connected: Connected) -> None:
            row = connected.one(_ONE, (tenant, webhook_id))
            if row is None:
                return
            known = webhook_of(from_json(str(row[1])))
            noted = replace(
                known, position=max(known.position, position), failing_since=failing_since, last_error=last_error
            )
            connected.execute(
                "UPDATE webhooks SET document = ? WHERE number = ?", (to_json(document_of(noted)), row[0])
            )
            if delivery is not None:
                connected.execute(
                    "INSERT INTO webhook_deliveries (webhook, document) VALUES (?, ?)",
                    (row[0], to_json(delivery_document(delivery))),
                )
                connected.execute(
                    "DELETE FROM webhook_deliveries WHERE webhook = ? AND number <= (SELECT number FROM "
                    "webhook_deliveries WHERE webhook = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                    (row[0], row[0], DELIVERIES_KEPT),
                )

        await self._writer.run(work)

    async def deliveries(self, tenant: str, webhook_id: str, /, *, limit: int) -> Sequence[Delivery]:
        rows = await self._readers.run(
            lambda connected: connected.rows(
                "SELECT d.document FROM webhooks AS w JOIN webhook_deliveries AS d ON d.webhook = w.number "
                "WHERE w.tenant = ? AND w.id = ? ORDER BY d.number DESC LIMIT ?",
                (tenant, webhook_id, limit),
            )
        )
        return [delivery_of(from_json(str(document))) for (document,) in rows]
