"""``python -m benchmarks.migrate [--json FILE]``: how fast the reference server's data is carried over, and in how much memory.

A Redis is filled by the documented layout; ``agent-memory migrate-memories`` then carries it over in place and into a file, and
``agent-memory copy`` carries the file into another Redis. Each command is a process of its own. It runs with a tenth of the
memories first: the peak of its memory must not grow with their number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import redis
from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine, resident_peak_bytes
from tests.migrations import reference_layout
from tests.redis_server import RedisServer
from tests.server_process import bare_environment

_FILLED_AT_ONCE = 500
_WORDS = ("tea", "coffee", "morning", "train", "city", "garden", "letter", "music", "winter", "summer", "river")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    title: str
    memories: int
    seconds: float
    per_s: float
    """Of the command as a whole: start, reading, writing, and the walk that finds nothing new."""
    processor_s: float
    """Of the command alone, without Redis: what is left of ``seconds`` is waiting, for Redis, the disk and others' work."""
    peak_mib: float


def fill(client: redis.Redis, count: int, dimensions: int) -> None:
    """Memories of 100 users, 1,536 bytes of vector for 384 dimensions, and one session for each hundred of them."""
    drawn = np.random.default_rng(7)
    for first in range(0, count, _FILLED_AT_ONCE):
        pipeline = client.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
        vectors = drawn.normal(size=(_FILLED_AT_ONCE, dimensions)).astype("<f4")
        for number in range(first, min(count, first + _FILLED_AT_ONCE)):
            words = " ".join(_WORDS[(number * step) % len(_WORDS)] for step in range(1, 13))
            fields = reference_layout.memory_fields(
                f"m{number}",
                f"{words} {number}",
                user_id=f"user {number % 100}",
                namespace="bench",
                topics="one,two",
                vector=vectors[number - first].tobytes(),
            )
            pipeline.hset(f"memory_idx:m{number}", mapping=fields)  # pyright: ignore[reportUnknownMemberType]
        pipeline.execute()
    for number in range(count // 100):
        messages = [reference_layout.message(f"x{each}", "user", f"message {each}") for each in range(20)]
        document = reference_layout.session_document(f"s{number}", user_id=f"user {number % 100}", messages=messages)
        reference_layout.put_session(client, f"working_memory:user {number % 100}:s{number}", document)


def measured(title: str, count: int, folder: Path, environment: dict[str, str], *arguments: str) -> Run:
    """One command to its end, with the highest resident size that was seen."""
    program = str(Path(sysconfig.get_path("scripts")) / "agent-memory")
    begun, used = time.perf_counter(), _children_s()
    with (folder / "out.txt").open("w") as out:
        process = subprocess.Popen(
            [program, *arguments], env=bare_environment(folder, environment), cwd=folder, stdout=out, stderr=out
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, resident_peak_bytes(process.pid) or 0)
            time.sleep(0.05)
    seconds = time.perf_counter() - begun
    said = (folder / "out.txt").read_text()
    if process.returncode:
        raise click.ClickException(f"{title} failed:\n{said}")
    return Run(
        title=title,
        memories=count,
        seconds=seconds,
        per_s=count / seconds,
        processor_s=_children_s() - used,
        peak_mib=peak / 2**20,
    )


def _children_s() -> float:
    """Processor time of the commands that have ended."""
    used = os.times()
    return used.children_user + used.children_system


def runs(count: int, dimensions: int, folder: Path, tell: Callable[[str], None]) -> list[Run]:
    """Into a file, in place, and from the file into another Redis: in this order the source is untouched for the second."""
    folder.mkdir()
    for name in ("reference", "other"):
        (folder / name).mkdir()
    old, other = RedisServer(folder / "reference"), RedisServer(folder / "other")
    old.load_json()
    old.start()
    other.start()
    try:
        tell(f"filling a Redis with {count:,} memories of the reference server")
        with old.client() as client:
            reference_layout.make_indexes(client, dimensions=dimensions)
            fill(client, count, dimensions)
        file = f"sqlite:///{folder / 'memory.db'}"
        reusing = {"EMBEDDING_MODEL": "text-embedding-3-small"}
        found: list[Run] = []
        for title, environment, arguments in (
            ("reference Redis to SQLite", reusing, ("migrate-memories", "--from", old.url, "--to", file)),
            ("reference Redis in place", {**reusing, "REDIS_URL": old.url}, ("migrate-memories",)),
            ("compared both sides", {**reusing, "REDIS_URL": old.url}, ("migrate-memories", "--verify")),
            ("copy, SQLite to Redis", {}, ("copy", "--from", file, "--to", other.url, "--no-verify")),
        ):
            tell(f"{title}, {count:,} memories")
            found.append(measured(title, count, folder, environment, *arguments))
        return found
    finally:
        old.kill()
        other.kill()


@click.command()
@click.option("--memories", type=int, default=100_000, show_default=True)
@click.option("--dimensions", type=int, default=384, show_default=True, help="Of each vector.")
@click.option("--quick", is_flag=True, help="A few hundred memories.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(memories: int, dimensions: int, quick: bool, json_path: Path | None) -> None:
    """Measure what it costs to take over a reference server, and to move between engines."""
    console = Console()
    sizes = (200,) if quick else (memories // 10, memories)
    found: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            found += runs(size, dimensions, Path(folder) / str(size), lambda said: console.print(f"[dim]{said} …[/]"))
    table = Table(
        "command", "memories", "seconds", "memories/s", "processor s", "peak MiB", title="Taking over and moving"
    )
    for run in found:
        figures = (f"{run.seconds:.1f}", f"{run.per_s:,.0f}", f"{run.processor_s:.1f}", f"{run.peak_mib:.0f}")
        table.add_row(run.title, f"{run.memories:,}", *figures)
    console.print(table)
    if json_path is not None:
        told: dict[str, Any] = {"machine": machine(), "dimensions": dimensions, "runs": [asdict(run) for run in found]}
        json_path.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
