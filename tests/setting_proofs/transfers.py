"""Proofs of the settings that name what the reference server left in its Redis."""

from __future__ import annotations

from pathlib import Path

from agent_memory_server.cli.door import Wanted, pass_through
from agent_memory_server.migrations import DoorOptions
from tests.migrations import reference_layout
from tests.migrations.conftest import command
from tests.redis_server import RedisServer
from tests.setting_proofs.running import settings_of


async def _left_by(folder: Path, *, prefix: str, index: str, **settings: str) -> list[str]:
    """The search indexes that are left when the data under this prefix was carried over and removed."""
    data = folder / "reference"
    data.mkdir()
    database = RedisServer(data)
    database.load_json()
    database.start()
    try:
        with database.client() as client:
            reference_layout.put_memory(client, "found", "x", prefix=prefix)
            if index:
                command(client, "FT.CREATE", index, "ON", "HASH", "PREFIX", 1, prefix, "SCHEMA", "text", "TEXT")
        chosen = settings_of(folder, redis_url=database.url, **settings)
        await pass_through(chosen, DoorOptions(), Wanted(quarantine=str(folder / "unread.ndjson"), verify=True))
        await pass_through(chosen, DoorOptions(), Wanted(quarantine=str(folder / "unread.ndjson"), prune=True))
        with database.client() as client:
            left = [name.decode() for name in command(client, "FT._LIST")]
        return [name for name in left if not name.startswith("{ams}")]
    finally:
        database.kill()


async def redisvl_index_prefix(folder: Path) -> None:
    """Memories under another prefix are found without an index."""
    assert await _left_by(folder, prefix="mine", index="", redisvl_index_prefix="mine") == []


async def redisvl_index_name(folder: Path) -> None:
    """An index of this name is known as the reference server's, and goes with its data."""
    assert await _left_by(folder, prefix="memory_idx", index="mine", redisvl_index_name="mine") == []


async def working_memory_index_name(folder: Path) -> None:
    """So is that of its sessions."""
    assert await _left_by(folder, prefix="memory_idx", index="mine", working_memory_index_name="mine") == []
