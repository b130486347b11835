"""One app in this process for all tests of the REST API; each test keeps to a namespace of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from ulid import ULID

from agent_memory_server.testing.running import RunningApp, running_app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running() -> AsyncGenerator[RunningApp]:
    async with running_app() as opened:
        yield opened


@pytest.fixture
def client(running: RunningApp) -> httpx.AsyncClient:
    return running.client


@pytest.fixture
def new_id() -> str:
    """An id that no other test uses."""
    return f"id-{ULID()}"


def encoded(text: str) -> str:
    """The text as one path segment; dots too, because clients resolve ``.`` and ``..`` themselves."""
    return quote(text, safe="").replace(".", "%2E")
