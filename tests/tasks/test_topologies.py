"""A server and a worker as processes on a cluster, under a Sentinel, and as a user with few rights; data and queue together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

import httpx
import pytest

from tests.redis_server import running_redis
from tests.redis_topologies import running_cluster, running_watched, tell
from tests.server_process import ServerProcess
from tests.tasks.workers import WorkerProcess
from tests.waiting import wait_until

Topology = Callable[[Path], contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def _cluster(folder: Path) -> Generator[str]:
    with running_cluster(folder) as cluster:
        yield cluster.url


@contextlib.contextmanager
def _watched(folder: Path) -> Generator[str]:
    with running_watched(folder) as watched:
        yield watched.url


@contextlib.contextmanager
def _guarded(folder: Path) -> Generator[str]:
    """With the user of the operations guide for data and queue, and nobody else."""
    page = Path(__file__).parents[2] / "docs" / "operations" / "redis.md"
    (line,) = [each for each in page.read_text().splitlines() if each.startswith("ACL SETUSER memory on ")]
    with running_redis(folder) as redis:
        tell(redis, *line.split())
        yield redis.url.replace("redis://", "redis://memory:CHANGE-ME@")


@pytest.mark.parametrize("topology", [_cluster, _watched, _guarded])
def test_work_goes_through_the_queue(topology: Topology, tmp_path: Path) -> None:
    """What a session holds is promoted by the worker, woken by the server, and found by a search."""
    (tmp_path / "redis").mkdir()
    with topology(tmp_path / "redis") as url:
        environment = {"REDIS_URL": url, "EXTRACTION_DEBOUNCE_SECONDS": "0"}
        with (
            ServerProcess(tmp_path / "data", environment=environment) as server,
            WorkerProcess(tmp_path, environment, plain=False, queue_name="memory-server") as worker,
            httpx.Client(base_url=server.url, timeout=10) as client,
        ):
            assert url.split("://")[0] + "://" in server.log
            said = {
                "messages": [],
                "memories": [{"id": "m1", "text": "Ana likes green tea", "memory_type": "semantic"}],
            }
            client.put("/v1/working-memory/s1", json=said).raise_for_status()
            wait_until(lambda: client.get("/v1/long-term-memory/m1").status_code == 200, "not promoted", 20)
            asked = {"text": "green tea", "search_mode": "hybrid"}
            found = client.post("/v1/long-term-memory/search", json=asked).raise_for_status().json()
            assert [each["id"] for each in found["memories"]] == ["m1"]
            assert client.get("/v1/ready").json()["ready"]
            assert "cannot be woken" not in server.log
            assert "permission" not in (server.log + worker.log).lower()
            assert "CHANGE-ME" not in server.log + worker.log
