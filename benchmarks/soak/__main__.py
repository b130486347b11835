"""``python -m benchmarks.soak --minutes 10 --engine sqlite|redis --memories 100000``: open check 20.

The exit status is 1 when a request failed, when the background had not ended a minute after the load, or when memory grew.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.engines import ENGINES, Engine, engine
from benchmarks.processes import machine, resident_bytes
from benchmarks.serving.servers import Server, memory_server
from benchmarks.serving.workloads import Plan
from benchmarks.soak.load import Clients, Heard, filling, mixed

DRAINED_WITHIN_S = 60.0
GROWTH_MAX = 0.10
"""Share by which the resident size may be larger in the last quarter than in the third: the first half fills caches, and the
first round of compaction, ten minutes after the start, takes a few megabytes."""
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One interval of the load."""

    at_s: float
    answered: int
    errors: int
    p50_ms: float
    p99_ms: float
    late_s: float
    pending: int
    server_bytes: int
    engine_bytes: int


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", default=10.0, show_default=True, help="Length of the load.")
@click.option("--engine", "engine_name", type=click.Choice(ENGINES), default="sqlite", show_default=True)
@click.option("--memories", default=100_000, show_default=True, help="Long-term memories that are searched.")
@click.option("--users", default=1_000, show_default=True, help="Users among whom they are dealt out.")
@click.option("--rate", default=50.0, show_default=True, help="Requests a second.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, minutes: float, engine_name: str, memories: int, users: int, rate: float, json_file: Path | None) -> None:
    """Mixed load on a real server process: half appends, a third searches, the rest reads, creates and prompts."""
    console, progress = Console(), Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as name, ExitStack() as stack:
        folder = Path(name)
        measured = stack.enter_context(engine(engine_name, folder))
        server = stack.enter_context(memory_server(folder, storage_url=measured.storage_url, quiet_s=5))
        plan = Plan(
            workload="soak", port=server.port, server_pid=server.pid, run="soak", memories=memories, users=users
        )
        found = asyncio.run(_soak(plan, server, measured, minutes=minutes, rate=rate, say=progress.print))
    found = {
        "machine": machine(),
        "engine": engine_name,
        "minutes": minutes,
        "memories": memories,
        "rate": rate,
        **found,
    }
    _show(found, console)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))
    problems = _problems(found)
    for each in problems:
        console.print(f"[red]{each}[/red]")
    sys.exit(1 if problems else 0)


async def _soak(
    plan: Plan, server: Server, measured: Engine, *, minutes: float, rate: float, say: Any
) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    filler = Clients(plan.port, filling(plan), rate=0, clients=4, patient=True)
    await filler.run()
    say(f"[dim]{plan.memories} memories are stored after {loop.time() - begun:.0f} s; waiting for the background[/dim]")
    await asyncio.to_thread(server.wait_for_background)
    filled_s = loop.time() - begun
    say(f"[dim]ready after {filled_s:.0f} s; the load begins[/dim]")
    clients = Clients(plan.port, mixed(plan), rate=rate)
    running = asyncio.create_task(clients.run(seconds=minutes * 60))
    samples = await _watched(running, clients, plan, server, measured, interval_s=max(1.0, minutes * 60 / 20), say=say)
    await running
    over = loop.time()
    await asyncio.to_thread(server.wait_for_background)
    drained_s = loop.time() - over
    total = clients.total
    return {
        "fill_s": round(filled_s, 1),
        "fill_errors": dict(filler.total.errors),
        "answered": total.answered,
        "errors": dict(total.errors),
        "error_samples": [*filler.total.samples, *total.samples],
        "late_max_s": round(total.late_s, 3),
        "kinds": {kind: _latencies(total, kind) for kind in sorted(total.seconds)},
        "drained_s": round(drained_s, 1),
        "samples": [_plain(each) for each in samples],
        "growth": {
            "server": _growth([each.server_bytes for each in samples]),
            "engine": _growth([each.engine_bytes for each in samples]),
        },
    }


async def _watched(
    running: asyncio.Task[None],
    clients: Clients,
    plan: Plan,
    server: Server,
    measured: Engine,
    *,
    interval_s: float,
    say: Any,
) -> list[Sample]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    samples: list[Sample] = []
    while not running.done():
        await asyncio.wait({running}, timeout=interval_s)
        heard = clients.look()
        pending = int((await asyncio.to_thread(server.get, "/v1/pending"))["pending"])
        samples.append(
            Sample(
                at_s=loop.time() - begun,
                answered=heard.answered,
                errors=sum(heard.errors.values()),
                p50_ms=heard.quantile_ms(0.5),
                p99_ms=heard.quantile_ms(0.99),
                late_s=heard.late_s,
                pending=pending,
                server_bytes=resident_bytes(plan.server_pid) or 0,
                engine_bytes=(resident_bytes(measured.pid) or 0) if measured.pid is not None else 0,
            )
        )
        say(f"[dim]{_line(samples[-1])}[/dim]")
    return samples


def _line(each: Sample) -> str:
    return (
        f"{each.at_s:5.0f} s  {each.answered} answered, {each.errors} errors, p99 {each.p99_ms:.0f} ms, {each.pending} pending, "
        f"server {each.server_bytes / _MEBIBYTE:.0f} MiB"
    )


def _latencies(heard: Heard, kind: str) -> dict[str, float]:
    return {
        "count": len(heard.seconds[kind]),
        "p50_ms": round(heard.quantile_ms(0.5, kind), 2),
        "p99_ms": round(heard.quantile_ms(0.99, kind), 2),
    }


def _plain(each: Sample) -> dict[str, float]:
    return {name: round(getattr(each, name), 3) for name in each.__slots__}


def _growth(sizes: list[int]) -> float | None:
    """The last quarter over the third; None where there are too few samples or no such process."""
    quarter = len(sizes) // 4
    if quarter < 1 or not sizes[-1]:
        return None
    return round(median(sizes[-quarter:]) / median(sizes[-2 * quarter : -quarter]) - 1, 3)


def _problems(found: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    if found["errors"] or found["fill_errors"]:
        problems.append(
            f"requests failed: {found['errors'] or found['fill_errors']}, for example {found['error_samples'][:2]}"
        )
    if found["drained_s"] > DRAINED_WITHIN_S:
        problems.append(
            f"the background needed {found['drained_s']} s after the load; {DRAINED_WITHIN_S:g} s are allowed"
        )
    growth = found["growth"]["server"]
    if growth is not None and growth > GROWTH_MAX:
        problems.append(f"the server's memory grew by {growth:.0%} from the third quarter to the last")
    return problems


def _show(found: dict[str, Any], console: Console) -> None:
    table = Table(
        title=f"{found['minutes']:g} minutes on {found['engine']}, {found['memories']} memories, {found['rate']:g} requests/s"
    )
    for heading in ("at", "answered", "errors", "p50 ms", "p99 ms", "late s", "pending", "server MiB", "engine MiB"):
        table.add_column(heading, justify="right")
    for each in found["samples"]:
        table.add_row(
            f"{each['at_s']:.0f} s",
            str(each["answered"]),
            str(each["errors"]),
            f"{each['p50_ms']:.1f}",
            f"{each['p99_ms']:.0f}",
            f"{each['late_s']:.2f}",
            str(each["pending"]),
            f"{each['server_bytes'] / _MEBIBYTE:.0f}",
            f"{each['engine_bytes'] / _MEBIBYTE:.0f}",
        )
    console.print(table)
    for kind, each in found["kinds"].items():
        console.print(f"{kind}: {each['count']} answered, p50 {each['p50_ms']} ms, p99 {each['p99_ms']} ms")
    console.print(f"{found['answered']} answered, {sum(found['errors'].values())} errors")
    console.print(f"background ended {found['drained_s']} s after the load")
    growth = found["growth"]
    console.print(
        f"memory, last quarter over third: server {_percent(growth['server'])}, engine {_percent(growth['engine'])}"
    )


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:+.1%}"


if __name__ == "__main__":
    main()
