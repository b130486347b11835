"""``python -m benchmarks.background``: compaction of 10,000 and 100,000 memories, and conversations becoming memories."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.background.compacting import USER_MEMORIES, Measured, compacted
from benchmarks.background.flowing import Flowed, calls_over_the_wire, flowed_locally, flowed_with_model
from benchmarks.processes import machine

MIB = 1024 * 1024
_REFERENCE = (
    "The reference server, by the wire contract (T-61, T-62, T-66): 2 embeddings and 2 model calls for each stored memory on top "
    "of the extraction, and at least 1,000 embeddings for each idle compaction, which ends at 1,000 memories."
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sizes", default="10000,100000", show_default=True, help="Numbers of memories to compact.")
@click.option("--messages", default=2_000, show_default=True, help="Messages that become memories.")
@click.option("--one-user/--no-one-user", default=True, help="Also the largest size with one user who owns everything.")
@click.option("--quick", is_flag=True, help="Small sizes, to see that it runs.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, sizes: str, messages: int, one_user: bool, quick: bool, json_file: Path | None) -> None:
    """Seconds, calls and memory of what goes on in the background. Data go to temporary folders."""
    progress = Console(stderr=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    asked = [400] if quick else sorted({int(each) for each in sizes.split(",")})
    found = uvloop.run(
        _measured(asked, 80 if quick else messages, one_user, lambda line: progress.print(f"[dim]{line}[/dim]"))
    )
    _show(found, Console())
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine(), **_plain(found)}, indent=2))


async def _measured(sizes: list[int], messages: int, one_user: bool, say: Callable[[str], None]) -> dict[str, Any]:
    runs: list[Measured] = []
    layouts = [(size, max(1, size // USER_MEMORIES)) for size in sizes]
    if one_user:
        layouts.append((sizes[-1], 1))
    for size, users in layouts:
        say(f"filling and compacting {size:,} memories of {users:,} users")
        runs.append(await compacted(size, users=users))
        say(f"compacted in {runs[-1].first_s:,.1f} s; an idle run took {runs[-1].idle_ms:.2f} ms")
    say(f"{messages:,} messages become memories")
    flows = [
        await flowed_locally(messages),
        await flowed_with_model(messages),
        await calls_over_the_wire(max(40, messages // 10)),
    ]
    return {"compaction": runs, "flow": flows}


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {name: [asdict(each) for each in each_list] for name, each_list in found.items()}


def _show(found: dict[str, Any], console: Console) -> None:
    where = machine()
    console.print(
        f"\n[bold]Compaction[/bold] in local mode, 1 % duplicates; {where['processors']} processors, Python {where['python']}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = (
        "memories",
        "users",
        "first run, s",
        "superseded",
        "near, left",
        "embedded",
        "peak, MiB",
        "idle, ms",
        "after a write, ms",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    runs: list[Measured] = found["compaction"]
    for run in runs:
        peak = "–" if run.peak_growth_bytes is None else f"{run.peak_growth_bytes / MIB:,.0f}"
        table.add_row(
            f"{run.memories:,}", f"{run.users:,}", f"{run.first_s:.1f}", f"{run.superseded:,}", f"{run.near_duplicates:,}",
            f"{run.texts_embedded:,}", peak, f"{run.idle_ms:.1f}", f"{run.after_one_write_ms:.1f}",
        )  # fmt: skip
    console.print(table)
    console.print("\n[bold]From append to extracted and searchable[/bold]")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (
        "",
        "messages",
        "messages/s",
        "memories",
        "model calls a message",
        "a memory",
        "embedding calls a message",
        "a memory",
    ):
        table.add_column(heading, justify="right" if heading else "left")
    flows: list[Flowed] = found["flow"]
    for flow in flows:
        table.add_row(
            flow.mode,
            f"{flow.messages:,}",
            f"{flow.messages_per_s:,.0f}",
            f"{flow.memories:,}",
            f"{flow.model_calls_per_message:.3f}",
            f"{flow.model_calls_per_memory:.3f}",
            *(
                "in process" if calls is None else f"{calls:.3f}"
                for calls in (flow.embedding_calls_per_message, flow.embedding_calls_per_memory)
            ),
        )
    console.print(table)
    console.print(f"[dim]{_REFERENCE}[/dim]")


if __name__ == "__main__":
    main()
