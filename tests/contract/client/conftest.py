"""The published Python client, unchanged, against a real server process."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from agent_memory_client import MemoryAPIClient, MemoryClientConfig

from tests.server_process import ServerProcess


@pytest.fixture
async def client(shared_server: ServerProcess, namespace: str) -> AsyncGenerator[MemoryAPIClient]:
    """A client whose default namespace is the test's own."""
    config = MemoryClientConfig(base_url=shared_server.url, default_namespace=namespace)
    async with MemoryAPIClient(config) as opened:
        yield opened
