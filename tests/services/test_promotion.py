"""What a message becomes in long-term memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.sessions import Message
from agent_memory_server.services.promotion import message_memory

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_an_old_message_that_came_in_today_counts_as_used_today() -> None:
    """It keeps the time it was said at, and is not at once what nobody has used for years: as if it was created directly."""
    said_at = NOW - timedelta(days=700)
    message = Message(id="m", role="user", content="I moved to Lisbon.", created_at=said_at, name="Ana")
    memory = message_memory(message, Scope("default", None, "ana", "s"), NOW)
    assert (memory.created_at, memory.last_accessed, memory.updated_at) == (said_at, NOW, NOW)
    assert (memory.id, memory.name, memory.text) == ("m", "Ana", "I moved to Lisbon.")
