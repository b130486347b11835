"""Starting the engine that a benchmark measures: a file in its folder, or a Redis of its own as the tests start one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import click
import redis

ENGINES = ("sqlite", "redis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What is measured. ``pid`` and what the engine says about itself are known of a Redis that the benchmark started."""

    name: str
    storage_url: str
    pid: int | None = None
    port: int | None = None

    def used_bytes(self) -> int | None:
        """Memory that Redis holds for the data; None for other engines."""
        if self.port is None:
            return None
        with redis.Redis(host="127.0.0.1", port=self.port) as client:
            told = client.info("memory")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return int(told["used_memory"])  # pyright: ignore[reportUnknownArgumentType, reportIndexIssue, reportArgumentType]


@contextlib.contextmanager
def engine(name: str | None, folder: Path) -> Generator[Engine]:
    """The engine by its name; without one STORAGE_URL decides, or else a new file in ``folder``.

    A Redis writes its append-only file once a second, as an operator would have it.
    """
    if name != "redis":
        url = None if name == "sqlite" else os.environ.get("STORAGE_URL")
        url = url or f"sqlite:///{folder / 'memory.db'}"
        yield Engine(name=url.partition(":")[0], storage_url=url)
        return
    # Only here: who measures another engine needs no test tools.
    try:
        from tests.redis_server import RedisServer
    except ImportError as error:
        raise click.ClickException(
            "--engine redis starts Redis as the tests do: install the development tools"
        ) from error
    data = folder / "redis"
    data.mkdir()
    server = RedisServer(data, "--appendonly", "yes", "--appendfsync", "everysec")
    server.start()
    try:
        yield Engine(name="redis", storage_url=server.url, pid=server.pid, port=server.port)
    finally:
        server.kill()
