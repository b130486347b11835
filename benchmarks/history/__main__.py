"""``python -m benchmarks.history``: ten thousand memories of one user, and a journal of a million operations."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import uvloop

from benchmarks.history.measuring import opened_and_measured
from benchmarks.processes import machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--memories", default=10_000, show_default=True, help="Of the one user that is searched.")
@click.option("--operations", default=1_000_000, show_default=True, help="In the journal, when it is read.")
@click.option("--rounds", default=200, show_default=True, help="Writes, reads and searches of each kind.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, memories: int, operations: int, rounds: int, json_file: Path | None) -> None:
    """What the journal costs a write, and what it takes to read it and to look back."""
    with tempfile.TemporaryDirectory(prefix="history-") as folder:
        measured = uvloop.run(
            opened_and_measured(Path(folder), memories=memories, operations=operations, rounds=rounds)
        )
    found: dict[str, Any] = {"machine": machine(), **measured}
    for name, cost in found["writes"].items():
        click.echo(
            f"{name}: {cost['ms']:.2f} ms with the disk; statements {cost['statements_ms']:.3f} ms, the journal's among them "
            f"{cost['journal_ms']:.3f} ms ({cost['share']:.0%} on top)"
        )
    click.echo(f"history of one memory among {operations:,} operations: {found['history_ms']:.2f} ms")
    click.echo(f"the newest 20 operations: {found['operations_ms']:.2f} ms")
    for mode in ("semantic", "hybrid"):
        each = found["searches"][mode]
        click.echo(
            f"{mode} search of {memories:,} memories: {each['now_ms']:.2f} ms now, {each['then_ms']:.2f} ms as of before "
            f"{found['searches']['changed_since']} changes ({each['times']:.1f} times)"
        )
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
