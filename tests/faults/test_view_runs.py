"""A run of a summary view that was accepted is not lost with the process that accepted it."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.server_process import ServerProcess
from tests.waiting import wait_until


def test_an_accepted_run_survives_kill_9(tmp_path: Path) -> None:
    """Killed at once after the answer: the view, its task and the memories are there, and the task has not got stuck.

    The run itself goes on when the dead process's claim has run out; tests/services/test_claims.py proves that part without
    waiting for it.
    """
    memories = [{"id": f"m{number}", "text": f"Fact {number}", "user_id": f"u{number % 20}"} for number in range(200)]
    with ServerProcess(tmp_path / "data") as server:
        with server.client() as client:
            assert client.post("/v1/long-term-memory/", json={"memories": memories}).status_code == 200
            body = {"source": "long_term", "group_by": ["user_id"]}
            view = client.post("/v1/summary-views", json=body).json()["id"]
            accepted = client.post(f"/v1/summary-views/{view}/run", json={"task_id": "mine"})
            assert accepted.status_code == 200, accepted.text
            server.kill()
        server.start()
        with server.client() as client:
            task = client.get("/v1/tasks/mine").json()
            assert (task["view_id"], task["type"]) == (view, "summary_view_full_run")
            assert task["status"] in ("pending", "running", "success"), task
            assert client.get(f"/v1/summary-views/{view}").status_code == 200
            one = client.post(f"/v1/summary-views/{view}/partitions/run", json={"user_id": "u7"}).json()
            assert one["memory_count"] == 10


def test_a_stopped_server_gives_its_run_back(tmp_path: Path) -> None:
    """SIGTERM in the middle of a run: the next process takes it up at once, and it ends in success."""
    memories = [{"id": f"m{number}", "text": f"Fact {number}", "user_id": f"u{number}"} for number in range(300)]
    with ServerProcess(tmp_path / "data") as server:
        with server.client() as client:
            assert client.post("/v1/long-term-memory/", json={"memories": memories}).status_code == 200
            body = {"source": "long_term", "group_by": ["user_id"]}
            view = client.post("/v1/summary-views", json=body).json()["id"]
            client.post(f"/v1/summary-views/{view}/run", json={"task_id": "mine"})
        assert server.stop() == 0
        server.start()
        with server.client() as client:
            done = wait_until(lambda: _ended(client), "the run did not go on after the restart")
            assert done == "success"
            listed = client.get(f"/v1/summary-views/{view}/partitions")
            assert listed.headers["x-total-count"] == "300"


def _ended(client: httpx.Client) -> str:
    status: str = client.get("/v1/tasks/mine").json()["status"]
    return status if status in ("success", "failed") else ""
