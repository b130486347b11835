"""The schema steps of the embedded engine, as ``agent-memory migrate-memories`` shows and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from agent_memory_server.errors import ConfigurationError, StoreTooNew
from agent_memory_server.stores.sqlite.migrating import prepare

_HEADER_BYTES = 100
_VERSION_AT = slice(60, 64)
"""Of ``user_version`` in a SQLite file's header; ``prepare`` sees to it that the header is current."""


class SqliteMigrator:
    """Over one file; opening the engine runs the same steps."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def describe(self) -> str:
        return str(self._path)

    async def pending(self) -> Sequence[str]:
        """All steps for a file that is not there yet."""
        version = await asyncio.to_thread(self._version)
        steps = _steps()
        newest = max(number for number, _ in steps)
        if version > newest:
            raise StoreTooNew(
                f"The data was written by a newer version of this server (schema {version}; this one knows {newest}). "
                "Update agent-memory-server, or restore a backup made before the update."
            )
        return [name for number, name in steps if number > version]

    async def run(self) -> None:
        await asyncio.to_thread(prepare, self._path)

    def _version(self) -> int:
        try:
            with self._path.open("rb") as file:
                header = file.read(_HEADER_BYTES)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise ConfigurationError(f"The data file {self._path} cannot be read ({error.strerror}).") from error
        return int.from_bytes(header[_VERSION_AT], "big")


def _steps() -> list[tuple[int, str]]:
    """(number, name) of every step, in order."""
    folder = resources.files("agent_memory_server.stores.sqlite") / "migrations"
    names = sorted(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), name) for name in names]
