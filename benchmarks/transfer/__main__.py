"""``python -m benchmarks.transfer``: twenty thousand memories on each engine, out, in and gone."""

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
from benchmarks.processes import machine
from benchmarks.transfer.measuring import measured


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--memories", default=20_000, show_default=True, help="In the store that is exported; 500 of them a user's."
)
@click.option("--rounds", default=100, show_default=True, help="Searches of each kind.")
@click.option("--engine", "only", type=click.Choice(ENGINES), help="Only this one.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, memories: int, rounds: int, only: str | None, json_file: Path | None) -> None:
    """Export, import, erasure, and search as of an earlier time."""
    progress = Console(stderr=True)
    found: dict[str, Any] = {"machine": machine(), "memories": memories, "engines": {}}
    for name in ENGINES if only is None else (only,):
        with tempfile.TemporaryDirectory(prefix="transfer-") as folder, engine(name, Path(folder)) as held:
            figures = uvloop.run(
                measured(
                    held,
                    Path(folder),
                    memories=memories,
                    rounds=rounds,
                    say=lambda line, name=name: progress.print(f"[dim]{name}: {line} …[/dim]"),
                )
            )
        found["engines"][name] = {**figures, "work": [asdict(each) for each in figures["work"]]}
    _show(found, Console())
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))


def _show(found: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{found['memories']:,} memories, a tenth of them edited")
    for column in ("engine", "work", "memories", "wall s", "memories/s", "processor s", "per processor second", "MiB"):
        table.add_column(column, justify="left" if column in ("engine", "work") else "right")
    for name, figures in found["engines"].items():
        for each in figures["work"]:
            table.add_row(
                name,
                each["title"],
                f"{each['memories']:,}",
                f"{each['wall_s']:.2f}",
                f"{each['memories'] / each['wall_s']:,.0f}",
                f"{each['processor_s']:.2f}",
                f"{each['memories'] / each['processor_s']:,.0f}",
                f"{each['bytes'] / 2**20:.1f}" if each["bytes"] else "",
            )
    console.print(table)
    for name, figures in found["engines"].items():
        for mode, each in figures["searches"].items():
            console.print(
                f"{name}: {mode} search of a user's {figures['user_memories']} memories {each['now_ms']:.2f} ms now, "
                f"{each['then_ms']:.2f} ms as of before {figures['changed_since']} edits ({each['times']:.1f} times)"
            )


if __name__ == "__main__":
    main()
