"""Servers that several fault tests share because they do them no harm."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.server_process import ServerProcess, servers_on_one_file


@pytest.fixture(scope="session")
def two_servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[list[ServerProcess]]:
    """Two server processes on one file."""
    with servers_on_one_file(tmp_path_factory.mktemp("two-servers") / "data", 2) as servers:
        yield servers
