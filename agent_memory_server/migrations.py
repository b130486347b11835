"""The ordered, resumable migrations of the configured store, with a dry run.

The embedded engine also brings its schema up to date whenever it is opened; running this beforehand only says what it does.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent_memory_server.app import storage_url
from agent_memory_server.config import Settings
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.stores.opening import open_migrator
from agent_memory_server.stores.own_engine import is_own


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """``steps``: what was done, or for a dry run what would be; empty when the data is up to date."""

    storage: str
    steps: tuple[str, ...]
    dry_run: bool


async def migrate(settings: Settings, *, dry_run: bool = False) -> MigrationReport:
    """Run what is pending. Raises ConfigurationError with what to change."""
    if is_own(settings.memory_vector_db_factory):
        raise ConfigurationError(
            "The engine that MEMORY_VECTOR_DB_FACTORY opens brings its data up to date itself; unset the setting to migrate what "
            "STORAGE_URL names."
        )
    migrator = open_migrator(storage_url(settings))
    steps = tuple(await migrator.pending())
    if not dry_run:
        # Also without a pending step: it refuses a file that is not ours.
        await migrator.run()
    return MigrationReport(storage=migrator.describe(), steps=steps, dry_run=dry_run)
