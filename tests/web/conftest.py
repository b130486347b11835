"""Servers and a browser for tests of the console."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.redis_server import running_redis
from tests.server_process import ServerProcess
from tests.system_tools import require_system_tool

HOSTILE_TEXT = (
    "<script>document.title='broken'</script><img src=x onerror=alert(1)> &amp; \"quotes\" 'single' {{ 7*7 }} "
    "\u202eright to left\u202c שלום " + "w" * 10_000
)
HOSTILE_ID = "a/b?c=d&e <b>\"'%2F"


@pytest.fixture(scope="session", params=["sqlite", "redis"])
def console(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerProcess]:
    """A server with the example conversation of ``mara`` and hostile text of ``mallory``, on each engine."""
    folder = tmp_path_factory.mktemp(f"console-{request.param}")
    if request.param == "sqlite":
        with ServerProcess(folder / "data") as server:
            _fill(server)
            yield server
        return
    with running_redis(folder) as redis:
        environment = {"REDIS_URL": redis.url, "USE_DOCKET": "false"}
        with ServerProcess(folder / "data", environment=environment) as server:
            _fill(server)
            yield server


def _fill(server: ServerProcess) -> None:
    memories = [
        {"id": f"fact-{number}", "text": text, "user_id": "mara", "topics": ["travel"], "memory_type": "semantic"}
        for number, text in enumerate(["Mara prefers trains to planes.", "Mara has a cat named Pixel."])
    ]
    memories.append({"id": HOSTILE_ID, "text": HOSTILE_TEXT, "user_id": "mallory", "topics": ["<i>topic</i>"]})
    with server.client() as client:
        created = client.post("/v1/long-term-memory/", json={"memories": memories, "deduplicate": False})
        assert created.status_code == 200, created.text
        messages = [
            {"role": "user", "content": HOSTILE_TEXT, "id": "m1", "created_at": "2026-01-01T10:00:00Z"},
            {"role": "assistant", "content": "Thank you.", "id": "m2", "created_at": "2026-01-01T10:01:00Z"},
        ]
        body = {
            "messages": messages,
            "user_id": "mallory",
            "data": {"<b>": HOSTILE_TEXT[:200]},
            "context": "<u>so far</u>",
        }
        assert client.put(f"/v1/working-memory/{'hostile'}", json=body).status_code == 200


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's Chromium."""
    return require_system_tool("chromium")
