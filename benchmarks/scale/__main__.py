"""``python -m benchmarks.scale``: 10,000 and 100,000 memories; ``--sizes 10000,100000,1000000`` takes its time."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.console import Console
from rich.table import Table

from agent_memory_server.app import open_app
from agent_memory_server.config import Settings
from agent_memory_server.stores.opening import sqlite_path
from benchmarks.processes import machine, resident_bytes
from benchmarks.scale.growing import BATCH, insert, search

JSON = dict[str, Any]
MIB = 1024 * 1024


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--sizes", default="10000,100000", show_default=True, help="Numbers of memories to measure at, ascending."
)
@click.option("--stored", default=0, help="So many are in the store at STORAGE_URL already, from a run before.")
@click.option(
    "--queries", default=200, show_default=True, help="Searches of one user's memories; a quarter of all memories."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, sizes: str, stored: int, queries: int, json_file: Path | None) -> None:
    """How search, insert, memory and file size grow with the number of memories.

    Data go to a temporary folder, or to STORAGE_URL, which should then be empty (or hold what ``--stored`` says).
    """
    progress = Console(stderr=True)
    ascending = sorted({int(each) for each in sizes.split(",")})
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        steps = uvloop.run(
            _measured(ascending, stored, queries, Path(folder), lambda line: progress.print(f"[dim]{line}[/dim]"))
        )
    found: JSON = {"machine": machine(), "queries": queries, "steps": steps}
    _show(found, Console())
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))


async def _measured(
    sizes: list[int], stored: int, queries: int, folder: Path, say: Callable[[str], None]
) -> list[JSON]:
    url = os.environ.get("STORAGE_URL") or f"sqlite:///{folder / 'memory.db'}"
    database = sqlite_path(url) if url.startswith("sqlite:") else None
    steps: list[JSON] = []
    async with open_app(Settings(storage_url=url, data_dir=folder)) as app:
        opened = resident_bytes(os.getpid())
        first = stored
        for size in sizes:
            say(f"inserting up to {size:,} memories")
            begun = time.perf_counter()
            inserted = await insert(app, first=first, end=size, singles=min(100, queries))
            say(f"inserted in {time.perf_counter() - begun:,.0f} s; searching")
            searched = await search(app, size=size, queries=queries)
            steps.append(
                {
                    "memories": size,
                    "insert": asdict(inserted),
                    "search": asdict(searched),
                    "resident_opened_bytes": opened,
                    "resident_bytes": resident_bytes(os.getpid()),
                    "file_bytes": _file_bytes(database),
                }
            )
            first = size
    return steps


def _file_bytes(database: Path | None) -> int | None:
    """The database with its write-ahead log; None when the data are elsewhere."""
    if database is None:
        return None
    return sum(each.stat().st_size for each in database.parent.glob(f"{database.name}*")) or None


def _show(found: JSON, console: Console) -> None:
    where, steps = found["machine"], found["steps"]
    console.print(
        f"\n[bold]Scale[/bold]: one call at a time in process; {where['processors']} processors, Python {where['python']}, "
        f"{where['system']}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for step in steps:
        table.add_column(f"{step['memories']:,}", justify="right")
    for kind, title in (("user", "one user's 100"), ("everything", "all memories")):
        for mode in ("semantic", "keyword", "hybrid"):
            timed = [step["search"][kind][mode] for step in steps]
            table.add_row(
                f"search {title}, {mode}: p50 / p95 ms",
                *(f"{each['p50_ms']:.2f} / {each['p95_ms']:.2f}" for each in timed),
            )
    table.add_row(
        "search all memories after a write, ms", *(f"{step['search']['after_write_ms']:.1f}" for step in steps)
    )
    table.add_row(f"insert in commits of {BATCH:,}, memories/s", *(f"{step['insert']['per_s']:,.0f}" for step in steps))
    table.add_row(
        "insert one, durable: p50 / p95 ms",
        *(f"{step['insert']['one']['p50_ms']:.2f} / {step['insert']['one']['p95_ms']:.2f}" for step in steps),
    )
    table.add_row("resident memory, MiB", *(_mib(step["resident_bytes"]) for step in steps))
    table.add_row("files, MiB", *(_mib(step["file_bytes"]) for step in steps))
    table.add_row(
        "files, MiB per 100,000 memories",
        *(_mib(step["file_bytes"] and step["file_bytes"] * 100_000 / step["memories"]) for step in steps),
    )
    console.print(table)


def _mib(value: float | None) -> str:
    return "–" if value is None else f"{value / MIB:,.0f}"


if __name__ == "__main__":
    main()
