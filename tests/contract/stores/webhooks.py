"""What every engine's WebhookStore has to do. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.webhooks import Delivery, Webhook
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.webhooks import DELIVERIES_KEPT
from tests.contract.stores.making import T0

HOOK = Webhook(
    id="w1",
    scope=Scope("acme", None, "alice"),
    url="https://example.com/ü",
    secret="s",
    kinds=("edit",),
    description="d",
    created_at=T0,
    created_by="tester",
    position=3,
)


def delivery(number: int, *, status: int | None = 200) -> Delivery:
    return Delivery(
        id=f"d{number}",
        at=T0 + timedelta(seconds=number),
        events=number,
        first_operation="a",
        last_operation="b",
        status=status,
        error=None if status else "no answer",
        duration_ms=5,
    )


class WebhookStoreContract:
    async def test_webhooks_are_their_scopes(self, stores: Stores) -> None:
        """Read back equal, listed within a selector, counted within a tenant, removed with everything."""
        hooks = stores.webhooks
        other = replace(HOOK, scope=Scope("other", None, None))
        wide = replace(HOOK, id="w2", scope=Scope("acme", None, None), created_at=T0 + timedelta(seconds=1))
        assert await hooks.add(HOOK, limit=2)
        assert await hooks.add(wide, limit=2)
        assert await hooks.add(other, limit=2)
        assert not await hooks.add(replace(HOOK, id="w3"), limit=2)
        assert await hooks.get("acme", "w1") == HOOK
        assert await hooks.get("other", "w2") is None
        assert await hooks.list(ScopeSelector("acme")) == [HOOK, wide]
        assert await hooks.list(ScopeSelector("acme", None, "alice")) == [HOOK]
        assert await hooks.list(ScopeSelector("acme", None, "bob")) == []
        assert len(await hooks.all()) == 3
        assert await hooks.remove("acme", "w1")
        assert not await hooks.remove("acme", "w1")
        assert await hooks.get("other", "w1") == other

    async def test_notes_move_on_and_deliveries_are_kept(self, stores: Stores) -> None:
        """The position never goes back; the newest deliveries stay; nothing is noted of what is gone."""
        hooks = stores.webhooks
        await hooks.add(HOOK, limit=9)
        for number in range(DELIVERIES_KEPT + 3):
            failing = T0 if number == 0 else None
            await hooks.note(
                "acme", "w1", position=10 - number, failing_since=failing, last_error=None, delivery=delivery(number)
            )
        assert await hooks.get("acme", "w1") == replace(HOOK, position=10)
        kept = await hooks.deliveries("acme", "w1", limit=1000)
        assert len(kept) == DELIVERIES_KEPT
        assert kept[0] == delivery(DELIVERIES_KEPT + 2)
        assert len(await hooks.deliveries("acme", "w1", limit=2)) == 2
        await hooks.note("acme", "w1", position=11, failing_since=T0, last_error="e", delivery=delivery(1, status=None))
        found = await hooks.get("acme", "w1")
        assert found is not None
        assert (found.position, found.failing_since, found.last_error) == (11, T0, "e")
        await hooks.remove("acme", "w1")
        await hooks.note("acme", "w1", position=12, failing_since=None, last_error=None, delivery=delivery(1))
        assert await hooks.get("acme", "w1") is None
        assert await hooks.deliveries("acme", "w1", limit=9) == []
