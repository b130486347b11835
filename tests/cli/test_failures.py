"""What an operator reads when a command fails: what failed, how far it had come, and whose fault it is."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

from agent_memory_server.cli import AgentMemory
from agent_memory_server.cli.progress import counting_kinds
from agent_memory_server.errors import ConfigurationError, MemoryServerError, StoreUnavailable
from agent_memory_server.stores.redis import failures as redis_failures
from agent_memory_server.stores.sqlite import failures as sqlite_failures


def raised(cause: Exception) -> Exception:
    """The same, with a place where it came from."""
    try:
        raise cause  # noqa: TRY301 - this is all it does
    except Exception as met:  # noqa: BLE001 - whatever it is
        return met


def printed(error: BaseException, cause: Exception | None) -> str:
    """What a command prints that fails with this error in the middle of its work."""

    @click.group(cls=AgentMemory)
    def group() -> None:
        pass

    @group.command()
    def work() -> None:
        with counting_kinds("Copying", {"memories": 100_000}) as tell:
            tell("memories", 1_200)
            met = None if cause is None else raised(cause)
            raise error from met

    outcome = CliRunner().invoke(group, ["work"])
    assert outcome.exit_code == 1
    return outcome.output


@pytest.mark.parametrize("translated", [redis_failures.translated, sqlite_failures.translated])
def test_what_nobody_expected_is_named_with_its_place(translated: Callable[[BaseException], MemoryServerError]) -> None:
    """A fault of our own says what it was and where, so that it can be reported; and how far the command had come."""
    cause = KeyError("no such field")
    said = printed(translated(cause), cause)
    assert (
        "The store failed in an unexpected way. (KeyError: 'no such field') It came from test_failures.py, line" in said
    )
    assert "please report it" in said
    assert "Copying memories stopped: 1,200 of 100,000 were done. Run the same command again." in said


def test_a_store_that_is_away_is_named_with_what_the_system_says() -> None:
    """Who runs the command may know the address that a client of the API must not read."""
    said = printed(
        StoreUnavailable("The data cannot be reached."), ConnectionRefusedError(111, "refused by 127.0.0.1:1")
    )
    assert "Error: The data cannot be reached. (ConnectionRefusedError: [Errno 111] refused by 127.0.0.1:1)\n" in said
    assert "report" not in said


def test_settings_are_told_as_they_were_told() -> None:
    """A sentence that says what to change needs no more, and its cause may hold what was typed."""
    assert printed(ConfigurationError("PORT: too high"), ValueError("secret")).endswith("Error: PORT: too high\n")
    assert printed(MemoryServerError("Something."), None).endswith("Error: Something.\n")
