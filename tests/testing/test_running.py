"""The shipped helps start a real app and a real server, and leave nothing behind."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_memory_server.testing.running import running_app, running_server


async def test_an_app_in_this_process_is_complete() -> None:
    """Stores, answers, knows the time it is given, and its work can be awaited."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    async with running_app(now=lambda: at) as running:
        stored = await running.client.put(
            "/v1/working-memory/x", json={"messages": [{"role": "user", "content": "hi"}]}
        )
        assert stored.json()["messages"][0]["created_at"] == "2026-01-02T00:00:00Z"
        await running.finish_afterwards()


async def test_the_environment_does_not_reach_an_app_in_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A developer's settings must not change what tests see."""
    monkeypatch.setenv("LONG_TERM_MEMORY", "false")
    async with running_app(data_dir=tmp_path) as running:
        assert running.app.long_term_memory
        assert str(tmp_path) in running.app.storage


def test_a_server_process_serves_until_the_context_ends() -> None:
    """On a free port, with the settings that are named; its data folder is its own."""
    with running_server(environment={"LONG_TERM_MEMORY": "false"}) as server, server.client() as client:
        os.kill(server.pid, 0)
        assert client.get("/v1/health").status_code == 200
        assert client.get("/v1/long-term-memory").status_code == 400
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_cannot_start_says_why() -> None:
    """The end of its log is in the error."""
    with pytest.raises(RuntimeError, match="OAUTH2_ISSUER_URL"), running_server(environment={"AUTH_MODE": "oauth2"}):
        raise AssertionError("it must not start")
