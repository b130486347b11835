"""``python -m benchmarks.serving``: start the server, drive it, print the table. ``--quick`` for a look within a minute."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from benchmarks.engines import ENGINES, engine
from benchmarks.serving.measuring import Size, run
from benchmarks.serving.report import document, show
from benchmarks.serving.servers import LoadGenerator, bare_server, memory_server


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--memories", default=100_000, show_default=True, help="Long-term memories in the store.")
@click.option("--users", default=1_000, show_default=True, help="Users among whom they are dealt out.")
@click.option("--rounds", default=5, show_default=True, help="Interleaved rounds; figures are their medians.")
@click.option("--seconds", default=2.0, show_default=True, help="Length of one scenario's round.")
@click.option(
    "--only",
    default="",
    help="Only scenarios whose workload begins so (several with commas): get, put, append, create, search, prompt.",
)
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(ENGINES),
    help="What to measure; redis starts one for the run, as the tests do. Otherwise STORAGE_URL, or SQLite.",
)
@click.option(
    "--quick", is_flag=True, help="A few hundred memories and one very short round: does everything still run?"
)
@click.option(
    "--beside",
    type=click.Path(path_type=Path, exists=True),
    help="A file that --json wrote, of another engine: its rates and processor times stand beside these.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(
    *,
    memories: int,
    users: int,
    rounds: int,
    seconds: float,
    only: str,
    engine_name: str | None,
    quick: bool,
    beside: Path | None,
    json_file: Path | None,
) -> None:
    """Requests per second and latency of a real server process over loopback.

    Data go to a temporary folder, or to STORAGE_URL, where they are left behind. The exit status is 1 when a request failed.
    """
    size = Size(memories=memories, users=users, rounds=rounds, seconds=seconds, only=only)
    if quick:
        size = Size(memories=300, users=10, rounds=1, seconds=0.25, only=only, sessions=2, big_session_messages=500)
    console = Console()
    progress = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="serving-") as name:
        folder = Path(name)
        with (
            engine(engine_name, folder) as measured,
            memory_server(folder, storage_url=measured.storage_url, quiet_s=size.seconds) as server,
            bare_server(folder) as bare,
            LoadGenerator() as generator,
        ):
            outcome = run(
                size,
                engine=measured,
                server=server,
                bare=bare,
                generator=generator,
                folder=folder,
                say=lambda line: progress.print(f"[dim]{line}[/dim]"),
            )
    found = document(size, outcome)
    show(found, console, beside=None if beside is None else json.loads(beside.read_text()))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))
    failed = sum(each["errors"] for each in (*found["scenarios"], found["big_session"] or {"errors": 0}))
    if failed:
        samples = {each["error_sample"] for each in found["scenarios"] if each["errors"]}
        console.print(f"[red]{failed} requests failed[/red], for example: {'; '.join(sorted(samples))}")
        sys.exit(1)


if __name__ == "__main__":
    main()
