"""``agent-memory delete``: by id, by what is empty, a session; asked first, or forced."""

from __future__ import annotations

import json

import pytest

from examples.demo import SHIPPED
from tests.cli.commands import CommandLine


@pytest.fixture
def line(terminal: CommandLine) -> CommandLine:
    """A store of its own with the shipped conversation, for user mara."""
    terminal.done("import-conversation", str(SHIPPED), "-u", "mara")
    return terminal


def _total(line: CommandLine, *arguments: str) -> int:
    return int(json.loads(line.done("search", "--json", "-l", "1", *arguments))["total"])


def test_memories_are_deleted_by_id_after_asking(line: CommandLine) -> None:
    """No is no, yes is yes, and an id that is not there is said on stderr."""
    before = _total(line)
    refused = line.run("delete", "memory", "lisbon-D1:1", answer="n\n")
    assert refused.code == 1
    assert _total(line) == before
    outcome = line.run("delete", "memory", "lisbon-D1:1", "lisbon-D1:2", "nope", answer="y\n")
    assert outcome.code == 0
    assert outcome.out.endswith("Deleted 2 memories.\n")
    assert "Memory with ID nope not found" in outcome.err
    assert _total(line) == before - 2


def test_a_dry_run_deletes_nothing(line: CommandLine) -> None:
    """It names what would go, for a person and for a script."""
    before = _total(line)
    assert line.done("delete", "memory", "lisbon-D1:1", "--dry-run") == "Would delete 1 memories.\n  lisbon-D1:1\n"
    report = json.loads(line.done("delete", "memory", "lisbon-D1:1", "--dry-run", "--json"))
    assert report == {"deleted": 0, "would_delete": ["lisbon-D1:1"]}
    assert _total(line) == before


def test_scope_narrows_what_an_id_means(line: CommandLine) -> None:
    """Two users hold the same id: without a user nothing is deleted, with one only theirs."""
    line.done("import-conversation", str(SHIPPED), "-u", "another")
    ambiguous = line.run("delete", "memory", "lisbon-D1:1", "-f")
    assert ambiguous.code == 1
    assert "several memories have the id lisbon-D1:1" in ambiguous.err
    assert json.loads(line.done("delete", "memory", "lisbon-D1:1", "-f", "--json", "-u", "another")) == {"deleted": 1}
    assert line.done("delete", "memory", "lisbon-D1:1", "-f", "-u", "mara") == "Deleted 1 memories.\n"


def test_empty_and_invalid_memories_are_looked_for_everywhere(line: CommandLine) -> None:
    """This engine stores none, so there is nothing to find; the whole store is looked at."""
    assert line.done("delete", "memory", "--empty-text", "-f") == "Deleted 0 memories.\n"
    assert line.done("delete", "memory", "--invalid", "--dry-run") == "Would delete 0 memories.\n"


def test_a_session_is_deleted_with_its_messages_and_their_memories(line: CommandLine) -> None:
    """Asked with the number of its messages; the second time there is nothing to delete."""
    outcome = line.run("delete", "session", "lisbon-session_1", answer="y\n")
    assert "with 15 messages" in outcome.out
    assert outcome.out.endswith("Deleted session lisbon-session_1.\n")
    found = json.loads(line.done("search", "-s", "lisbon-session_1", "--json"))["memories"]
    assert [each["id"] for each in found if each["memory_type"] == "message"] == []
    again = line.done("delete", "session", "lisbon-session_1", "-f")
    assert again == "Session lisbon-session_1 not found; nothing to delete.\n"


def test_what_cannot_be_meant_is_wrong_usage(terminal: CommandLine) -> None:
    """Neither ids nor a flag; and JSON with a question in between."""
    assert terminal.run("delete", "memory").code == 2
    assert terminal.run("delete", "memory", "x", "--json").code == 2
