"""One app for the tests of this folder that keep to a namespace of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import Principal
from agent_memory_server.testing.running import running_app
from tests.mcp.conversing import Conversation, conversing


@pytest.fixture
async def app() -> AsyncGenerator[MemoryApp]:
    """An open app with nothing in it."""
    async with running_app(background=False, index_all_messages_in_long_term_memory=False) as running:
        yield running.app


@pytest.fixture
async def agent(app: MemoryApp) -> AsyncGenerator[Conversation]:
    """A client of all tools, whose credential is bound to nothing."""
    async with conversing(app, tools="admin") as conversation:
        yield conversation


@pytest.fixture
def ana() -> Principal:
    """A credential that is bound to one user."""
    return Principal(subject="token:ana", user_id="ana")
