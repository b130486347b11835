"""``python -m benchmarks.history``: users of several sizes on each engine, and one history in a long journal."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.engines import ENGINES, engine
from benchmarks.history.measuring import opened_and_measured
from benchmarks.processes import machine

OPERATIONS = {"sqlite": 1_000_000, "redis": 200_000}
"""In the journal when one history is read: on Redis as many as fit into half a gigabyte."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sizes", default="100,1000,10000", show_default=True, help="Memories of the users that are searched.")
@click.option("--operations", type=int, help="In the journal, when it is read: 1,000,000 (SQLite) or 200,000 (Redis).")
@click.option("--rounds", default=50, show_default=True, help="Writes, reads and searches of each kind.")
@click.option("--engine", "only", type=click.Choice(ENGINES), help="Only this one.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, sizes: str, operations: int | None, rounds: int, only: str | None, json_file: Path | None) -> None:
    """What the journal costs a write, and what it takes to read it and to look back."""
    progress, console = Console(stderr=True), Console()
    found: dict[str, Any] = {"machine": machine(), "engines": {}}
    for name in ENGINES if only is None else (only,):
        with tempfile.TemporaryDirectory(prefix="history-") as folder, engine(name, Path(folder)) as held:
            length = operations or OPERATIONS[name]
            figures = uvloop.run(
                opened_and_measured(
                    held,
                    Path(folder),
                    sizes=[int(size) for size in sizes.split(",")],
                    operations=length,
                    rounds=rounds,
                    say=lambda line, name=name: progress.print(f"[dim]{name}: {line} …[/dim]"),
                )
            )
        _show(name, figures, length, console)
        figures["compared"] = [{**asdict(each), "times": each.times} for each in figures["compared"]]
        figures["writes"] = {kind: {**asdict(cost), "share": cost.share} for kind, cost in figures["writes"].items()}
        found["engines"][name] = {"operations": length, **figures}
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))


def _show(name: str, figures: dict[str, Any], operations: int, console: Console) -> None:
    table = Table(title=f"{name}: processor time of one question now and as of an earlier time, ms")
    for column in ("memories", "question", "changed since", "now", "then", "times", "first"):
        table.add_column(column, justify="left" if column in ("question", "changed since") else "right")
    for each in figures["compared"]:
        table.add_row(
            f"{each.memories:,}",
            each.question,
            each.changed_since,
            f"{each.now_ms:.2f}",
            f"{each.then_ms:.2f}",
            f"{each.times:.1f}",
            f"{each.first_ms:.0f}",
        )
    console.print(table)
    for kind, cost in figures["writes"].items():
        console.print(
            f"{name}: {kind} takes {cost.with_ms:.2f} ms of processor time with the journal, {cost.without_ms:.2f} ms without: "
            f"it costs {cost.share:.0%}"
        )
    console.print(f"{name}: history of one memory among {operations:,} operations: {figures['history_ms']:.2f} ms")
    console.print(f"{name}: the newest 20 of them: {figures['operations_ms']:.2f} ms")


if __name__ == "__main__":
    main()
