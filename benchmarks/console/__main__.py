"""``python -m benchmarks.console``: every page of the console at 100,000 memories, and the memory map in Chromium."""

from __future__ import annotations

import json
import sysconfig
import tempfile
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from agent_memory_server.domain.records import Memory
from agent_memory_server.services.overviews import MAP_POINTS_MAX
from benchmarks.console.filling import fill
from benchmarks.console.in_browser import map_in_browser
from benchmarks.console.pages import FIRST_CONTENT_MS, Cost, Page, Visitor, pages_for
from benchmarks.engines import ENGINES, Engine, engine
from benchmarks.processes import machine
from benchmarks.serving.servers import Server, bare_server

JSON = dict[str, Any]
_BARE_BYTES = 25_000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--engine", "engine_name", type=click.Choice(ENGINES), default="sqlite", show_default=True)
@click.option("--memories", default=100_000, show_default=True, help="A quarter of them are copies of messages.")
@click.option("--users", default=1_000, show_default=True)
@click.option("--sessions", default=200, show_default=True, help="Conversations of 40 messages.")
@click.option("--rounds", default=7, show_default=True, help="How often each page is asked for, each after a write.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Also the map in Chromium, where it is.")
@click.option("--quick", is_flag=True, help="A few thousand memories and one round: does everything still run?")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(
    *,
    engine_name: str,
    memories: int,
    users: int,
    sessions: int,
    rounds: int,
    browser: bool,
    quick: bool,
    json_file: Path | None,
) -> None:
    """What the first content of every page takes, and what the map takes until it is painted and says what a point is."""
    progress = Console(stderr=True)
    if quick:
        memories, users, sessions, rounds = min(memories, 2_000), min(users, 50), min(sessions, 20), 1

    def say(line: str) -> None:
        progress.print(f"[dim]{line}[/dim]")

    with tempfile.TemporaryDirectory(prefix="console-") as name, ExitStack() as stack:
        folder = Path(name)
        measured = stack.enter_context(engine(engine_name, folder))
        shown = fill(measured.storage_url, folder, memories=memories, users=users, sessions=sessions, say=say)
        server = stack.enter_context(_server(folder, measured))
        bare = _bare(folder, rounds=rounds)
        pages = _pages(server, measured, shown, rounds=rounds)
        seen = map_in_browser(f"http://127.0.0.1:{server.port}") if browser else None
    found: JSON = {
        "machine": machine(),
        "engine": engine_name,
        "memories": memories,
        "users": users,
        "bare_ms": bare.after_write_ms,
        "pages": pages,
        "map": None if seen is None else asdict(seen),
    }
    _show(found, Console())
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))


def _server(folder: Path, measured: Engine) -> Server:
    command = str(Path(sysconfig.get_path("scripts")) / "agent-memory")
    environment = {
        "STORAGE_URL": measured.storage_url,
        "LOG_LEVEL": "WARNING",
        # What is measured is what a page costs, not what the server does by itself meanwhile.
        "COMPACTION_EVERY_MINUTES": "10000",
        "USE_DOCKET": "false",
    }
    return Server([command, "api", "--port", "{port}"], folder=folder, name="server", environment=environment)


def _bare(folder: Path, *, rounds: int) -> Cost:
    """What a route that does nothing takes to answer as many bytes as a middling page has."""
    with bare_server(folder) as bare, closing(Visitor(bare.port, [bare.pid])) as visitor:
        return visitor.measured(Page(title="A bare route", path=f"/read/{_BARE_BYTES}"), rounds=rounds, writes=False)


def _pages(server: Server, measured: Engine, shown: Memory, *, rounds: int) -> list[JSON]:
    pids = [server.pid, *([] if measured.pid is None else [measured.pid])]
    with closing(Visitor(server.port, pids)) as visitor:
        return [asdict(visitor.measured(page, rounds=rounds)) for page in pages_for(shown, points=MAP_POINTS_MAX)]


def _show(found: JSON, console: Console) -> None:
    where = found["machine"]
    console.print(
        f"\n[bold]Console[/bold]: {found['memories']:,} memories of {found['users']:,} users, {found['engine']}; "
        f"{where['processors']} processors, load {where['load_average']}, Python {where['python']}; "
        f"a bare route answers {_BARE_BYTES // 1000} kB in {found['bare_ms']:.1f} ms"
    )
    table = Table("", box=None, pad_edge=False, header_style="bold")
    for title in ("first ms", "after a write ms", "slowest ms", "processor ms", "KiB"):
        table.add_column(title, justify="right")
    for each in found["pages"]:
        times = [each["first_ms"], each["after_write_ms"], each["slowest_ms"]]
        table.add_row(
            each["title"], *map(_milliseconds, times), f"{each['processor_ms']:.1f}", f"{each['kilobytes']:,.0f}"
        )
    console.print(table)
    seen = found["map"]
    if seen is None:
        console.print("The map was not looked at: no Chromium, or no Playwright.")
        return
    console.print(
        f"Map of {seen['points']:,} points in Chromium: first content {seen['content_ms']:.0f} ms, all points painted "
        f"{seen['painted_ms']:.0f} ms, a point says its text {seen['said_ms']:.0f} ms, a frame while dragging "
        f"{seen['frame_ms']:.0f} ms"
    )


def _milliseconds(value: float) -> str:
    return f"{value:,.1f}" if value < FIRST_CONTENT_MS else f"[red]{value:,.1f}[/red]"


if __name__ == "__main__":
    main()
