"""``agent-memory doctor`` names what is wrong with the command that mends it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.commands import CommandLine


def test_a_healthy_store_has_nothing_to_mend(tmp_path: Path) -> None:
    """Exit code 0, and each line says what was found."""
    said = CommandLine(folder=tmp_path).done("doctor")
    assert "ok  dead-letters: none" in said
    assert "every memory has one" in said
    assert "→" not in said


def test_what_is_wrong_comes_with_its_remedy(tmp_path: Path) -> None:
    """Work that nobody does, an open address, a setting without effect, expired tokens: exit code 1, also as JSON."""
    command = CommandLine(folder=tmp_path, environment={"HOST": "0.0.0.0", "NER_MODEL": "x"})
    (tmp_path / "said.json").write_text('[{"role": "user", "content": "I live in Lisbon."}]')
    CommandLine(folder=tmp_path).done("import-conversation", "said.json")
    outcome = command.run("doctor")
    assert outcome.code == 1
    assert "address: HOST=0.0.0.0" in outcome.out
    assert "NER_MODEL: is set and has no effect" in outcome.out
    assert "nobody works through them" in outcome.out
    assert "agent-memory task-worker" in outcome.out
    found = {each["name"]: each for each in json.loads(command.run("doctor", "--json").out)}
    assert found["address"]["verdict"] == "bad"
    assert found["background-work"]["remedy"] is not None


def test_a_store_that_cannot_be_opened_is_a_finding(tmp_path: Path) -> None:
    """The sentence that a start would fail with, and exit code 1."""
    outcome = CommandLine(folder=tmp_path, environment={"STORAGE_URL": "redis://127.0.0.1:1/0"}).run("doctor")
    assert outcome.code == 1
    assert "cannot be reached" in outcome.out
