"""What the proofs share: settings of the test alone, and starting what an operator starts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from agent_memory_server.app import open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ANONYMOUS
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sessions import Message
from tests.cli.commands import CommandLine

WORDS = "I am allergic to penicillin."
"""A sentence that extraction makes a memory of, by rules too."""


def settings_of(folder: Path, **values: Any) -> Settings:
    """The defaults with the data in ``folder`` and these values; neither the environment nor a .env file is read."""
    chosen = {"data_dir": folder / "data", "embedding_model": "wordllama", "extraction_debounce_seconds": 0, **values}
    named = {name: chosen.get(name, field.get_default(call_default_factory=True)) for name, field in _fields()}
    return Settings(_env_file=None, **named)  # pyright: ignore[reportCallIssue]


def _fields() -> Any:
    return Settings.model_fields.items()


def message(at: datetime, content: str = WORDS) -> Message:
    return Message(id="m1", role="user", content=content, created_at=at)


async def memories_after_append(settings: Settings) -> list[Memory]:
    """The memories that there are when one message was appended and all due background work was tried."""
    async with open_app(settings) as app:
        await app.working_memory.append(ANONYMOUS, session_id="s", messages=[message(app.now())])
        await app.pending_work.run_due()
        listing = await app.memories.list(MemoryFilter(selector=ANONYMOUS.selector()))
        return list(listing.memories)


def refused(folder: Path, *arguments: str, **environment: str) -> str:
    """What ``agent-memory api`` says on stderr when it refuses to start, as it must here."""
    outcome = CommandLine(folder=folder, environment=environment).run("api", *arguments)
    assert outcome.code == 1, outcome.err
    return outcome.err
