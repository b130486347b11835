"""The overview says what failed: for good, for now, and requests that could not be served; each to whom it concerns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent_memory_server.api.failures import KINDS_MAX, RecentFailures
from agent_memory_server.testing import model_server
from agent_memory_server.testing.model_server import ModelServer
from agent_memory_server.testing.running import running_app
from tests.mcp.messages import answer_in, headers, tool_call
from tests.redis_server import running_redis
from tests.server_process import ServerProcess
from tests.waiting import wait_until

LOCAL = {"Host": "127.0.0.1"}
AT = datetime(2026, 1, 1, tzinfo=UTC)


async def test_the_overview_names_what_failed_and_where_to_look() -> None:
    """With an embedding model that answers 500: the work that waits for it, with its reason, and the search that could not be
    answered, with the trace to look for in the log."""
    async with (
        ModelServer() as models,
        running_app(
            openai_api_base=models.base_url, openai_api_key="k", embedding_model="embeddings", background=False
        ) as running,
    ):
        client = running.client
        assert "all requests were served" in (await client.get("/", headers=LOCAL)).text
        models.fail(model_server.SERVER_ERROR)
        body = {"memories": [{"id": "a", "text": "Tea.", "user_id": "ada"}], "deduplicate": False}
        assert (await client.post("/v1/long-term-memory/", json=body)).status_code == 200
        await running.app.pending_work.run_due()
        refused = await client.post("/v1/long-term-memory/search", json={"text": "tea", "search_mode": "semantic"})
        assert refused.status_code == 503
        page = (await client.get("/", headers=LOCAL)).text
        assert "Failed, and is tried again" in page
        assert "embed memories" in page
        assert "/v1/long-term-memory/search" in page
        assert refused.headers["x-request-id"] in page
        asked = tool_call("search_long_term_memory", {"text": "tea", "search_mode": "semantic"})
        failed = await client.post("/mcp", headers=headers(), json=asked)
        assert answer_in(failed)["result"]["isError"]
        page = (await client.get("/", headers=LOCAL)).text
        assert "<strong>MCP <code>search_long_term_memory</code></strong>" in page
        assert failed.headers["x-request-id"] in page


def test_a_store_that_is_down_is_said_on_every_page(tmp_path: Path) -> None:
    """503 with what to do, and never an empty list; once it is back, the overview says which requests could not be served."""
    with (
        running_redis(tmp_path, "--appendonly", "yes") as redis,
        ServerProcess(tmp_path / "data", environment={"REDIS_URL": redis.url, "USE_DOCKET": "false"}) as server,
        server.client() as client,
    ):
        assert client.get("/memories").status_code == 200
        redis.kill()
        for path in ("/", "/memories", "/sessions", "/operations", "/memory?id=any"):
            page = client.get(path)
            assert (page.status_code, "Retry-After" in page.headers, "agent-memory doctor" in page.text) == (
                503,
                True,
                True,
            ), path
        redis.start()
        wait_until(lambda: client.get("/").status_code == 200, "the overview is shown again")
        assert "/memories" in client.get("/").text.partition("could not serve")[2]


def test_failures_are_counted_by_kind_and_kept_to_their_tenant() -> None:
    """Those of nobody known are everybody's; another tenant's are nobody else's; the number of kinds is bounded."""
    failures = RecentFailures()
    for number, (tenant, status) in enumerate([("a", 503), ("a", 503), (None, 503), ("b", 500), ("a", 404)]):
        failures.note(tenant, "GET", "/v1/x", status, trace_id=f"t{number}", at=AT + timedelta(seconds=number))
    (seen,) = failures.newest("a", limit=9)
    assert (seen.count, seen.status, seen.trace_id) == (3, 503, "t2")
    assert [each.status for each in failures.newest("b", limit=9)] == [500, 503]
    for number in range(KINDS_MAX):
        failures.note("c", "GET", f"/{number}", 500, trace_id="t", at=AT)
    assert len(failures.newest("c", limit=1_000)) == KINDS_MAX
    assert failures.newest("a", limit=9) == []
