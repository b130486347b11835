"""``/metrics``: what Prometheus reads, without anybody's id or text in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from agent_memory_server.testing.running import running_app

ROOT = Path(__file__).parent.parent.parent


def _samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_requests_are_counted_by_route_and_status() -> None:
    """Ids and users are no labels; a strange method does not make a label of its own."""
    async with running_app(background=False) as running:
        client = running.client
        body = {"memories": [{"id": "secret-id", "text": "secret text", "user_id": "secret-user"}]}
        assert (await client.post("/v1/long-term-memory/", json=body)).status_code == 200
        assert (await client.get("/v1/long-term-memory/secret-id")).status_code == 200
        assert (await client.get("/v1/long-term-memory/absent")).status_code == 404
        await client.request("STRANGE", "/v1/health")
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert "secret" not in answer.text
        assert "STRANGE" not in answer.text
        samples = _samples(answer.text)
        by_id = (("method", "GET"), ("route", "/v1/long-term-memory/{memory_id}"))
        assert samples["agent_memory_requests_total", (*by_id, ("status", "200"))] == 1
        assert samples["agent_memory_requests_total", (*by_id, ("status", "404"))] == 1
        assert samples["agent_memory_request_seconds_count", by_id] == 2
        assert samples["agent_memory_ready", ()] == 1
        assert samples["agent_memory_dead_letters", ()] == 0


async def test_with_authentication_metrics_need_an_administrator() -> None:
    """A reader's token is refused, nobody's too."""
    async with running_app(background=False, auth_mode="token") as running:
        assert (await running.client.get("/metrics")).status_code == 401
        for permission, status in (("read", 403), ("admin", 200)):
            from agent_memory_server.domain.identity import Permission

            token, _ = await running.app.access_tokens.add(
                description=permission, actor="test", permissions=[Permission(permission)]
            )
            answer = await running.client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status


async def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    """Every name in the dashboard's queries is one that a server says."""
    dashboard = (ROOT / "deploy" / "grafana" / "agent-memory.json").read_text(encoding="utf-8")
    expressions = [target["expr"] for panel in json.loads(dashboard)["panels"] for target in panel["targets"]]
    asked = {name for each in expressions for name in re.findall(r"\b(?:agent_memory|process)_\w+", each)}
    async with running_app(background=False) as running:
        await running.client.get("/v1/health")
        text = (await running.client.get("/metrics")).text
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    known = families | {f"{name}_bucket" for name in families}
    assert asked <= known
    assert len(asked) > 6
