"""Webhooks as a store keeps them, and how a request leaves the house."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.webhooks import Delivery, Webhook

DELIVERIES_KEPT = 100
"""Of each webhook, the newest."""


class WebhookStore(Protocol):
    async def add(self, webhook: Webhook, /, *, limit: int) -> bool:
        """False, and nothing is stored, when its tenant has ``limit`` of them already."""
        ...

    async def get(self, tenant: str, webhook_id: str, /) -> Webhook | None: ...

    async def list(self, selector: ScopeSelector, /) -> Sequence[Webhook]:
        """Those whose scope lies within the selector, oldest first."""
        ...

    async def all(self) -> Sequence[Webhook]:
        """Of every tenant."""
        ...

    async def remove(self, tenant: str, webhook_id: str, /) -> bool:
        """With its deliveries. False when there was none."""
        ...

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
        """How far it is and how it goes, with the attempt that shows it. The position never goes back. Nothing happens to one
        that was removed meanwhile."""
        ...

    async def deliveries(self, tenant: str, webhook_id: str, /, *, limit: int) -> Sequence[Delivery]:
        """The newest first."""
        ...


class WebhookSender(Protocol):
    async def check(self, url: str, /) -> None:
        """Raises InvalidInput for a URL that will never be called: no web address, one that cannot be resolved, or one of
        this machine or network."""
        ...

    async def post(self, url: str, /, *, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, whatever it is; redirects are not followed.

        The address is looked up and checked anew, and exactly the one that was checked is called. Raises
        DependencyUnavailable with the reason when there is no answer in time, or the address may not be called.
        """
        ...
