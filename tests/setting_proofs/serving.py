"""Proofs of the settings of storage and of the REST server."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from agent_memory_server.app import open_app
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.testing.running import running_app
from tests.redis_server import running_redis
from tests.server_process import ServerProcess
from tests.setting_proofs.running import refused, settings_of


@contextlib.contextmanager
def _taken_port(address: str) -> Generator[int]:
    with socket.socket() as taken:
        taken.bind((address, 0))
        taken.listen()
        yield int(taken.getsockname()[1])


async def storage_url(folder: Path) -> None:
    """The data lies in the named file, not in DATA_DIR."""
    path = folder / "elsewhere.db"
    async with open_app(settings_of(folder, storage_url=f"sqlite:///{path}")) as app:
        assert app.storage == str(path)
    assert path.exists()
    assert not (folder / "data").exists()


async def data_dir(folder: Path) -> None:
    """Without a STORAGE_URL the file lies in the folder, whatever its name."""
    mine = folder / "50% of it? #1"
    async with open_app(settings_of(folder, data_dir=mine)):
        pass
    assert (mine / "memory.db").exists()


async def redis_url(folder: Path) -> None:
    """It selects the Redis engine where STORAGE_URL names no other."""
    with running_redis(folder) as redis:
        async with open_app(settings_of(folder, redis_url=redis.url)):
            with redis.client() as looking:
                assert looking.exists("{ams}:schema")  # pyright: ignore[reportUnknownMemberType]


async def durability(folder: Path) -> None:
    """strict: a Redis without an append-only file will not do, because it cannot confirm a write from its disk."""
    with running_redis(folder) as redis:
        async with open_app(settings_of(folder, redis_url=redis.url, durability="standard")) as app:
            assert (await app.readiness.check()).ready
        with pytest.raises(ConfigurationError, match="append-only file"):
            async with open_app(settings_of(folder, redis_url=redis.url, durability="strict")):
                raise AssertionError("it started")


async def memory_vector_db_factory(folder: Path) -> None:
    """The engine that the named function opens is the one in use."""
    own = "tests.stores.small_engine.open_engine"
    async with open_app(settings_of(folder, memory_vector_db_factory=own, storage_url=f"small://{folder}/x")) as app:
        assert app.storage == f"a small engine at {folder}/x"


def host(folder: Path) -> None:
    """An address that is not this machine's is refused."""
    assert "refusing to listen on 0.0.0.0" in refused(folder, HOST="0.0.0.0")


def allow_unauthenticated(folder: Path) -> None:
    """The same address is accepted: what is refused next is a port that is taken."""
    with _taken_port("0.0.0.0") as number:
        said = refused(folder, HOST="0.0.0.0", ALLOW_UNAUTHENTICATED="true", PORT=str(number))
    assert f"cannot listen on 0.0.0.0 port {number}" in said


def port(folder: Path) -> None:
    """The port that the environment names is the one that the server wants."""
    with _taken_port("127.0.0.1") as number:
        assert f"cannot listen on 127.0.0.1 port {number}" in refused(folder, PORT=str(number))


def max_body_bytes(folder: Path) -> None:
    """A body that the default takes is too large."""
    with (
        ServerProcess(folder / "data", environment={"MAX_BODY_BYTES": "1024"}) as server,
        server.client() as client,
    ):
        body = {"messages": [{"role": "user", "content": "x" * 2000, "id": "m1"}]}
        assert client.post("/v1/working-memory/s/messages", json=body).status_code == 413


def log_level(folder: Path) -> None:
    """The line about the start is logged at INFO and not at ERROR."""
    for level, logged in (("INFO", True), ("ERROR", False)):
        with ServerProcess(folder / level, environment={"LOG_LEVEL": level}) as server:
            server.stop()
            assert ('"event": "serving"' in server.log) is logged


async def console(folder: Path) -> None:
    """Off: there is no page at /."""
    del folder
    for on, status in ((True, 200), (False, 404)):
        async with running_app(background=False, console=on) as running:
            page = await running.client.get("/", headers={"Host": "127.0.0.1"})
            assert page.status_code == status


async def metrics(folder: Path) -> None:
    """Off: there is nothing at /metrics."""
    del folder
    for on, status in ((True, 200), (False, 404)):
        async with running_app(background=False, metrics=on) as running:
            assert (await running.client.get("/metrics")).status_code == status
