"""Fixtures and reports that all tests share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator

import pytest
from ulid import ULID

from tests.server_process import ServerProcess
from tests.system_tools import MISSING_PREFIX


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerProcess]:
    """One real server process for all tests that keep to a namespace of their own and break nothing."""
    with ServerProcess(tmp_path_factory.mktemp("shared-server") / "data") as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"test-{ULID()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which tests were skipped because this machine lacks a program."""
    missing: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        found = re.search(rf"{re.escape(MISSING_PREFIX)}([\w.+-]+)", report.longreprtext)
        if found:
            missing[found[1]] += 1
    if missing:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(missing.items()))
        terminalreporter.write_line(
            f"!! {missing.total()} TESTS DID NOT RUN for lack of system tools: {listed}", red=True, bold=True
        )
