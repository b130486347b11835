"""What the tests of background work share: one Redis a run, and queues that no other test uses."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from ulid import ULID

from tests.redis_server import RedisServer, running_redis


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("queue"), search=False) as server:
        yield server


@pytest.fixture
def queue_name() -> str:
    return f"queue-{ULID()}"
