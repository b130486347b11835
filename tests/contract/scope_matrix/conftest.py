"""One server an engine for everything that is aimed with credentials: REST's operations and MCP's tools."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.scope_matrix.parties import World, credential_world
from tests.redis_server import running_redis


@pytest.fixture(scope="session", params=["sqlite", "redis"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Parties of two tenants with records of their own, on a running server."""
    folder = tmp_path_factory.mktemp("credentials")
    if request.param == "sqlite":
        yield from credential_world(folder)
        return
    (folder / "redis").mkdir()
    with running_redis(folder / "redis") as redis:
        yield from credential_world(folder, storage_url=redis.url)
