"""A command line on an empty store, and one on a store with the shipped conversation."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.demo import SHIPPED
from tests.cli.commands import CommandLine


@pytest.fixture
def terminal(tmp_path: Path) -> CommandLine:
    return CommandLine(folder=tmp_path)


@pytest.fixture
def installed(tmp_path: Path) -> CommandLine:
    """The command as a shell starts it; for what depends on the start itself."""
    return CommandLine(folder=tmp_path, from_nothing=True)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """One store for a module's tests that only read."""
    line = CommandLine(folder=tmp_path_factory.mktemp("loaded"))
    line.done("import-conversation", str(SHIPPED), "--user-id", "mara", "--namespace", "home")
    return line
