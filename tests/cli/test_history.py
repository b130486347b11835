"""``agent-memory history``, ``operations`` and ``undo``: what happened is told in words and as JSON, and taken back."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

from agent_memory_server.app import open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Scope
from agent_memory_server.domain.records import Memory
from agent_memory_server.services.memories import MemoryPatch
from tests.cli.commands import CommandLine

AT = datetime(2026, 3, 1, tzinfo=UTC)


async def _edited(line: CommandLine) -> None:
    """A memory that was created and edited."""
    async with open_app(Settings(data_dir=line.folder / "data", embedding_model="wordllama")) as app:
        scope = Scope(DEFAULT_TENANT, None, "ana")
        made = Memory(id="home", scope=scope, text="Ana lives in Rome.", created_at=AT, updated_at=AT, last_accessed=AT)
        await app.memories.create(ANONYMOUS, [made])
        await app.memories.edit(ANONYMOUS, memory_id="home", patch=MemoryPatch(changes={"text": "Ana lives in Oslo."}))


def test_an_edit_is_told_and_taken_back(terminal: CommandLine) -> None:
    """The difference, the operation, what an undo would do, the undo, and why it is not possible twice."""
    asyncio.run(_edited(terminal))
    told = terminal.done("history", "home")
    assert told.startswith("Memory home (user ana): Ana lives in Oslo.\n")
    assert "    - text: Ana lives in Rome.\n    + text: Ana lives in Oslo.\n" in told
    listed = json.loads(terminal.done("operations", "--json"))["operations"]
    assert [each["kind"] for each in listed] == ["edit", "create"]
    edit = listed[0]["id"]
    assert f"{edit}  edit     anonymous\n    1 updated" in terminal.done("operations", "-u", "ana", "-l", "1")
    assert (
        terminal.done("undo", edit, "--dry-run") == f"Would undo {edit}: 1 revert\n  home gets its earlier state back\n"
    )
    done = terminal.done("undo", edit)
    assert done.startswith(f"Undid {edit}: 1 revert\n")
    assert "To take that back: agent-memory undo " in done
    (history,) = (json.loads(terminal.done("history", "home", "--json")),)
    assert history["memory"]["text"] == "Ana lives in Rome."
    assert [each["kind"] for each in history["revisions"]] == ["create", "edit", "undo"]
    again = terminal.run("undo", edit)
    assert (again.code, again.out) == (1, "")
    assert "undone already" in again.err


def test_what_is_not_there_is_said_in_a_sentence(terminal: CommandLine) -> None:
    """Unknown ids and a cursor that is none: exit code 1."""
    for arguments in (("history", "nope"), ("operations", "--after", "nope")):
        outcome = terminal.run(*arguments)
        assert outcome.code == 1
        assert outcome.err.startswith("Error: ")
        assert outcome.err.count("\n") == 1
