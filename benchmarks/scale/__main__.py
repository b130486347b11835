"""``python -m benchmarks.scale``: 10,000 and 100,000 memories; ``--sizes 10000,100000,1000000`` takes its time.

With ``--keep FOLDER`` the filled stores stay there, and the next run only measures: a few minutes, a million memories included.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
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
from benchmarks.engines import ENGINES, Engine, engine
from benchmarks.processes import machine, reset_peak, resident_bytes, resident_peak_bytes
from benchmarks.scale.growing import fill, insert, search
from benchmarks.scale.keeping import KeptStores

JSON = dict[str, Any]
MIB = 1024 * 1024
_INSERTED_BATCHES = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--sizes", default="10000,100000", show_default=True, help="Numbers of memories to measure at, ascending."
)
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(ENGINES),
    default="sqlite",
    show_default=True,
    help="redis starts one for the run, as the tests do; a million memories take it some 7 GB.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the filled stores (SQLite) in this folder, and use those that are there: then nothing but the measuring is done.",
)
@click.option(
    "--queries",
    default=200,
    show_default=True,
    help="Searches of one user's memories; a quarter of them of all memories.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, sizes: str, engine_name: str, keep: Path | None, queries: int, json_file: Path | None) -> None:
    """How search, insert, memory and file size grow with the number of memories."""
    progress = Console(stderr=True)

    def say(line: str) -> None:
        progress.print(f"[dim]{line}[/dim]")

    ascending = sorted({int(each) for each in sizes.split(",")})
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        if engine_name == "redis":
            with engine(engine_name, folder) as measured:
                steps = uvloop.run(_on_redis(measured, ascending, queries, folder, say))
        else:
            stores = KeptStores((keep or folder / "kept").absolute(), say)
            steps = [uvloop.run(_on_sqlite(stores, size, queries, folder, say)) for size in ascending]
    found: JSON = {"machine": machine(), "engine": engine_name, "queries": queries, "steps": steps}
    _show(found, Console())
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))


async def _on_sqlite(stores: KeptStores, size: int, queries: int, folder: Path, say: Callable[[str], None]) -> JSON:
    """One size, in a copy of the store that is kept."""
    await stores.provide(size)
    filled = stores.filled(size)
    path = folder / "measured" / "memory.db"
    path.parent.mkdir()
    shutil.copyfile(stores.file(size), path)
    file_bytes = path.stat().st_size
    say(f"measuring at {size:,}")
    try:
        step = await _measured(f"sqlite:///{path}", size, queries, folder)
    finally:
        shutil.rmtree(path.parent)
    return {**step, "file_bytes": file_bytes, "filled": None if filled is None else asdict(filled)}


async def _on_redis(
    measured: Engine, sizes: list[int], queries: int, folder: Path, say: Callable[[str], None]
) -> list[JSON]:
    """Size after size in one Redis: what is measured at one is there at the next."""
    steps: list[JSON] = []
    for before, size in zip([0, *sizes], sizes, strict=False):
        say(f"filling from {before:,} to {size:,} memories")
        async with open_app(Settings(storage_url=measured.storage_url, data_dir=folder)) as app:
            await fill(app, first=before, end=size)
        say(f"measuring at {size:,}")
        held = measured.used_bytes()
        step = await _measured(measured.storage_url, size, queries, folder)
        steps.append({**step, "engine_bytes": held})
    return steps


async def _measured(url: str, size: int, queries: int, folder: Path) -> JSON:
    """Everything about one size, by services that have just been opened."""
    reset_peak(os.getpid())
    async with open_app(Settings(storage_url=url, data_dir=folder)) as app:
        opened = resident_bytes(os.getpid())
        searched = await search(app, size=size, queries=queries)
        resident = resident_bytes(os.getpid())
        inserted = await insert(app, size=size, batches=_INSERTED_BATCHES, singles=min(100, queries))
        return {
            "memories": size,
            "insert": asdict(inserted),
            "search": asdict(searched),
            "resident_opened_bytes": opened,
            "resident_bytes": resident,
            "resident_peak_bytes": resident_peak_bytes(os.getpid()),
        }


def _show(found: JSON, console: Console) -> None:
    where, steps = found["machine"], found["steps"]
    console.print(
        f"\n[bold]Scale, {found['engine']}[/bold]: one call at a time in process; {where['processors']} processors, Python "
        f"{where['python']}, {where['system']}, load average {where['load_average']}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("milliseconds: p50 / p95 (of processor)")
    for step in steps:
        table.add_column(f"{step['memories']:,}", justify="right")

    def timed(title: str, of: Callable[[JSON], JSON]) -> None:
        every = [of(step) for step in steps]
        table.add_row(
            title, *(f"{each['p50_ms']:.2f} / {each['p95_ms']:.2f} ({each['processor_ms']:.2f})" for each in every)
        )

    for kind, title in (("user", "one user's 100"), ("topic", "one topic of all"), ("everything", "all memories")):
        for mode in ("hybrid", "semantic", "keyword"):
            timed(f"search {title}, {mode}", lambda step, kind=kind, mode=mode: step["search"][kind][mode])
    table.add_row("search all, hybrid, the first after the start", *(_first(step["search"]["first"]) for step in steps))
    table.add_row(
        "search all, hybrid, right after a write", *(f"{step['search']['after_write_ms']:,.0f}" for step in steps)
    )
    timed("insert one, durable", lambda step: step["insert"]["one"])
    table.add_row(
        "insert in batches of 1,000, memories/s (per processor second)",
        *(f"{step['insert']['per_s']:,.0f} ({step['insert']['per_processor_s']:,.0f})" for step in steps),
    )
    table.add_row("memory after the start, MiB", *(_mib(step["resident_opened_bytes"]) for step in steps))
    table.add_row("memory after all searches, MiB", *(_mib(step["resident_bytes"]) for step in steps))
    table.add_row("memory at most, MiB", *(_mib(step["resident_peak_bytes"]) for step in steps))
    if found["engine"] == "redis":
        table.add_row("Redis's memory, MiB", *(_mib(step["engine_bytes"]) for step in steps))
    else:
        table.add_row("file, MiB", *(_mib(step["file_bytes"]) for step in steps))
        table.add_row("filled from the size before, of processor s", *(_filled(step["filled"]) for step in steps))
    console.print(table)


def _first(timed: JSON) -> str:
    again = f", {timed['timed_out']} times out" if timed["timed_out"] else ""
    return f"{timed['p50_ms']:,.0f} ({timed['processor_ms']:,.0f}){again}"


def _filled(filled: JSON | None) -> str:
    return "–" if filled is None else f"{filled['memories']:,} in {filled['processor_s']:,.0f}"


def _mib(value: float | None) -> str:
    return "–" if value is None else f"{value / MIB:,.0f}"


if __name__ == "__main__":
    main()
