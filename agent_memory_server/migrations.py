"""The ordered, resumable migrations of the configured store, with a dry run.

The embedded engine also brings its schema up to date whenever it is opened; running this beforehand only says what it does.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent_memory_server.app import storage_url
from agent_memory_server.config import Settings
from agent_memory_server.stores.opening import open_migrator


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """``steps``: what was done, or for a dry run what would be; empty when the data is up to date."""

    storage: str
    steps: tuple[str, ...]
    dry_run: bool


async def migrate(settings: Settings, *, dry_run: bool = False) -> MigrationReport:
    """Run what is pending. Raises ConfigurationError with what to change."""
    migrator = open_migrator(storage_url(settings))
    steps = tuple(await migrator.pending())
    if not dry_run:
        # Also without a pending step: it refuses a file that is not ours.
        await migrator.run()
    return MigrationReport(storage=migrator.describe(), steps=steps, dry_run=dry_run)
