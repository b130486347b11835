"""One store a size, kept in a folder between runs: filled once, measured as often as one likes.

Filling a store of a million memories takes many minutes, measuring it a few. What is kept is never written to while it is
measured: each measurement works on a copy. A larger store begins as a copy of the next smaller one, and one whose filling
was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from agent_memory_server.app import open_app
from agent_memory_server.config import Settings
from benchmarks.scale.growing import BATCH, fill, stored

_FILE = "memory.db"
_FILLED = "filled.json"
_REPORTED_EVERY = 20 * BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What it took to reach a size from the next smaller one."""

    memories: int
    seconds: float
    processor_s: float


class KeptStores:
    """``folder/100000/memory.db`` and so on."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say

    def file(self, size: int) -> Path:
        return self._folder / str(size) / _FILE

    def filled(self, size: int) -> Filled | None:
        """None for a store that was brought here from elsewhere."""
        noted = self.file(size).with_name(_FILLED)
        return Filled(**json.loads(noted.read_text())) if noted.exists() else None

    async def provide(self, size: int) -> None:
        """See to it that a store of this size is there."""
        if self.file(size).exists():
            self._say(f"{size:,} memories are there already")
            return
        growing = self._folder / "growing"
        growing.mkdir(parents=True, exist_ok=True)
        path = growing / _FILE
        smaller = max((each for each in self._sizes() if each < size), default=None)
        if not path.exists() and smaller is not None:
            shutil.copyfile(self.file(smaller), path)
        begun, used = time.perf_counter(), time.process_time()
        async with open_app(Settings(storage_url=f"sqlite:///{path}", data_dir=growing)) as app:
            first = await stored(app)
            if first > size:
                raise click.ClickException(f"{path} holds more than {size:,} memories already: remove it")
            self._say(f"filling from {first:,} to {size:,} memories")
            for reached in range(first, size, _REPORTED_EVERY):
                await fill(app, first=reached, end=min(size, reached + _REPORTED_EVERY))
                self._say(f"{min(size, reached + _REPORTED_EVERY):,} memories")
        noted = Filled(
            memories=size - first, seconds=time.perf_counter() - begun, processor_s=time.process_time() - used
        )
        self.file(size).parent.mkdir(exist_ok=True)
        (growing / _FILLED).write_text(json.dumps(asdict(noted)))
        (growing / _FILLED).replace(self.file(size).with_name(_FILLED))
        path.replace(self.file(size))
        shutil.rmtree(growing)

    def _sizes(self) -> list[int]:
        return [int(each.name) for each in self._folder.iterdir() if each.name.isdigit() and (each / _FILE).exists()]
