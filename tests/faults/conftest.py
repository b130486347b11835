"""Servers that several fault tests share because they do them no harm, on every engine."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.redis_server import running_redis
from tests.server_process import ServerProcess, servers_on_one_store


@pytest.fixture(scope="session", params=["sqlite", "redis"])
def two_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[list[ServerProcess]]:
    """Two server processes on one store."""
    folder = tmp_path_factory.mktemp("two-servers")
    if request.param == "sqlite":
        with servers_on_one_store(folder / "data", 2) as servers:
            yield servers
        return
    with (
        running_redis(folder, "--appendonly", "yes") as redis,
        servers_on_one_store(folder / "data", 2, {"STORAGE_URL": redis.url}) as servers,
    ):
        yield servers


@pytest.fixture
def shared_server(two_servers: list[ServerProcess]) -> ServerProcess:
    """One of the two, for tests that need no other."""
    return two_servers[0]
