"""A server whose files are looked through for what was erased, on either engine."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import httpx

from tests.cli.commands import Outcome, commands_beside
from tests.redis_server import running_redis
from tests.server_process import ServerProcess
from tests.waiting import wait_until

_HOOKS = {"WEBHOOK_ALLOW_PRIVATE_ADDRESSES": "true"}


class Store:
    """A server on one engine, and where that engine keeps its files."""

    def __init__(self, server: ServerProcess, files: Path) -> None:
        self.server = server
        self.files = files

    def run(self, *arguments: str) -> Outcome:
        """An ``agent-memory`` command on the same store."""
        return commands_beside(self.server).run(*arguments)

    def files_with(self, words: Iterable[str]) -> list[tuple[str, str]]:
        """Which of the words stand in which of the engine's files."""
        held = [(path.name, path.read_bytes()) for path in self.files.rglob("*") if path.is_file()]
        return [(word, name) for word in words for name, content in held if word.encode() in content]


@contextlib.contextmanager
def opened_store(engine: str, folder: Path) -> Generator[Store]:
    """A server of its own on ``sqlite`` or ``redis``."""
    data = folder / "data"
    if engine == "sqlite":
        with ServerProcess(data, environment=_HOOKS) as server:
            yield Store(server, data)
        return
    files = folder / "redis"
    files.mkdir()
    # Compressed text would not be found by its bytes.
    with running_redis(files, "--appendonly", "yes", "--rdbcompression", "no") as redis:
        environment = {"REDIS_URL": redis.url, "USE_DOCKET": "false", **_HOOKS}
        with ServerProcess(data, environment=environment) as server:
            yield Store(server, files)


def receipt_of(client: httpx.Client, task_id: str) -> dict[str, Any]:
    """What an erasure ends with."""

    def done() -> bool:
        task = client.get(f"/v1/tasks/{task_id}").json()
        assert task["status"] in ("pending", "running", "success"), task
        return task["status"] == "success"

    wait_until(done, "the erasure did not end", 60)
    return client.get(f"/v1/tasks/{task_id}").json()["result"]
