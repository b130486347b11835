"""A file that is imported is checked beside other work, however long it is."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from agent_memory_server.domain.identity import ANONYMOUS
from agent_memory_server.errors import InvalidInput
from agent_memory_server.services.export_file import FileSource


async def test_a_long_file_is_checked_in_turns_with_others() -> None:
    """Requests of others are answered while the lines are read."""
    source = FileSource(io.BytesIO(b"\n" * 10_000), ANONYMOUS, model="", parse=json.loads)
    checking = asyncio.create_task(source.check())
    turns = 0
    while not checking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 100
    with pytest.raises(InvalidInput, match="there is no export in it"):
        await checking
