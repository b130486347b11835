"""The tables that a person reads and the document that a script reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine
from benchmarks.serving.measuring import Outcome, Rounds, Size, middle
from benchmarks.serving.scenarios import BIG_SESSION_GROWTH_BYTES_MAX, BIG_SESSION_HEALTH_MS_MAX, BIG_SESSION_S_MAX
from benchmarks.serving.workloads import LOAD_BATCH

MIB = 1024 * 1024
JSON = dict[str, Any]


def document(size: Size, outcome: Outcome) -> JSON:
    """All figures, medians and single rounds, with the machine they were measured on."""
    fsyncs = middle(outcome.fsyncs_per_s) or 0.0
    return {
        "machine": machine(),
        "size": asdict(size),
        "ready_s": outcome.ready_s,
        "load": {
            "memories_per_s": outcome.load.per_s * LOAD_BATCH,
            "server_share": outcome.load.server_share,
            "generator_share": outcome.load.generator_share,
            "background_s": outcome.load_background_s,
        },
        "fsyncs_per_s": fsyncs,
        "scenarios": [_scenario(each, fsyncs) for each in outcome.scenarios],
        "big_session": _big_session(size, outcome),
        "resident_idle_bytes": outcome.resident_idle_bytes,
        "resident_peak_bytes": outcome.resident_peak_bytes,
        "file_bytes": outcome.file_bytes,
        "engine": outcome.engine.name,
        "engine_bytes_per_100k": _per_100k(size, outcome),
    }


def show(found: JSON, console: Console, *, beside: JSON | None = None) -> None:
    """Print the tables; ``beside`` is the document of another run."""
    size, where = found["size"], found["machine"]
    console.print(
        f"\n[bold]Serving on {found['engine']}[/bold]: {size['memories']:,} memories, {size['users']:,} users, medians of "
        f"{size['rounds']} rounds of {size['seconds']:g} s; {where['processors']} processors, Python {where['python']}, "
        f"{where['system']}"
    )
    console.print(_scenarios_table(found, beside))
    if found["big_session"]:
        console.print(_big_session_line(found["big_session"]))
    console.print(
        f"ready in {found['ready_s']:.2f} s · loaded {found['load']['memories_per_s']:,.0f} memories/s "
        f"(server {_share(found['load']['server_share'])}, generator {_share(found['load']['generator_share'])}) · "
        f"bare fsync {found['fsyncs_per_s']:,.0f}/s · resident {_mib(found['resident_idle_bytes'])} idle, "
        f"{_mib(found['resident_peak_bytes'])} at most · {_kept(found)}"
    )
    console.print(
        "[dim]bare: a FastAPI route that returns as many bytes (writes: that fsyncs as many) under the same uvicorn. "
        "server, generator: share of one processor; cpu ms: the server's for one request, which a busy machine disturbs "
        "least; redis ms: the same of Redis. background: time until promotion and extraction are done after a round (with "
        "the quiet that they wait for, a round's length). 0.15.2: the Redis Agent Memory Server, measured elsewhere.[/dim]"
    )


def _per_100k(size: Size, outcome: Outcome) -> float | None:
    """Memory that Redis holds for a hundred thousand memories: their records, vectors, index and journal."""
    if outcome.engine_loaded_bytes is None or outcome.engine_empty_bytes is None:
        return None
    return (outcome.engine_loaded_bytes - outcome.engine_empty_bytes) / size.memories * 100_000


def _scenario(rounds: Rounds, fsyncs: float) -> JSON:
    scenario = rounds.scenario
    per_s, p50 = rounds.middle(lambda each: each.per_s), rounds.middle(lambda each: each.p50_ms)
    shares = [each.server_share for each in rounds.ours if each.server_share is not None]
    server_ms = [each.server_share * 1000 / each.per_s for each in rounds.ours if each.server_share and each.per_s]
    engine_ms = [each.engine_share * 1000 / each.per_s for each in rounds.ours if each.engine_share and each.per_s]
    return {
        "title": scenario.title,
        "workload": scenario.workload,
        "clients": scenario.clients,
        "per_s": per_s,
        "p50_ms": p50,
        "p95_ms": rounds.middle(lambda each: each.p95_ms),
        "p99_ms": rounds.middle(lambda each: each.p99_ms),
        "server_share": middle(shares),
        "server_ms": middle(server_ms),
        "engine_ms": middle(engine_ms),
        "generator_share": rounds.middle(lambda each: each.generator_share),
        "response_bytes": rounds.ours[0].response_bytes,
        "request_bytes": rounds.ours[0].request_bytes,
        "bare_per_s": rounds.middle(lambda each: each.per_s, bare=True),
        "bare_generator_share": rounds.middle(lambda each: each.generator_share, bare=True),
        "ratio": rounds.ratio,
        "share_of_fsync": per_s / fsyncs if fsyncs and scenario.writes else None,
        "background_s": middle(rounds.background_s),
        "errors": rounds.errors,
        "error_sample": next((each.error_sample for each in rounds.ours if each.errors), ""),
        "target": scenario.target,
        "holds": scenario.holds(per_s=per_s, p50_ms=p50, fsyncs_per_s=fsyncs) if scenario.has_target else None,
        "reference_per_s": scenario.reference_per_s,
        "rounds": [asdict(each) for each in rounds.ours],
    }


def _big_session(size: Size, outcome: Outcome) -> JSON | None:
    if not outcome.big_sessions:
        return None
    growth = middle([float(each) for each in outcome.big_session_growth_bytes])
    put, get = (middle([getattr(each, name) for each in outcome.big_sessions]) or 0.0 for name in ("put_s", "get_s"))
    health = max(each.health_max_ms for each in outcome.big_sessions)
    return {
        "messages": size.big_session_messages,
        "put_s": put,
        "get_s": get,
        "get_bytes": outcome.big_sessions[0].get_bytes,
        "growth_bytes": growth,
        "health_max_ms": health,
        "errors": sum(each.errors for each in outcome.big_sessions),
        "error_sample": next((each.error_sample for each in outcome.big_sessions if each.errors), ""),
        "holds": put + get <= BIG_SESSION_S_MAX
        and (growth is None or growth <= BIG_SESSION_GROWTH_BYTES_MAX)
        and health <= BIG_SESSION_HEALTH_MS_MAX,
        "rounds": [asdict(each) for each in outcome.big_sessions],
        "growth_bytes_rounds": outcome.big_session_growth_bytes,
    }


def _scenarios_table(found: JSON, beside: JSON | None) -> Table:
    others = {} if beside is None else {(each["title"], each["clients"]): each for each in beside["scenarios"]}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("request")
    for name in (
        "clients",
        "per s",
        "p50",
        "p95",
        "p99 ms",
        "bare/s",
        "ratio",
        "server",
        "cpu ms",
        "redis ms",
        "generator",
        "background",
    ):
        table.add_column(name, justify="right")
    other = () if beside is None else (f"{beside['engine']}/s", f"{beside['engine']} ms")
    for name in ("errors", *other, "0.15.2"):
        table.add_column(name, justify="right")
    table.add_column("target")
    for each in found["scenarios"]:
        reference = each["reference_per_s"]
        background = each["background_s"]
        table.add_row(
            each["title"],
            str(each["clients"]),
            f"{each['per_s']:,.0f}",
            *(f"{each[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
            f"{each['bare_per_s']:,.0f}",
            "–" if each["ratio"] is None else f"{each['ratio']:.2f}",
            _share(each["server_share"]),
            "–" if each["server_ms"] is None else f"{each['server_ms']:.2f}",
            "" if each["engine_ms"] is None else f"{each['engine_ms']:.2f}",
            _share(each["generator_share"]),
            "" if background is None else f"{background:.1f} s",
            f"[red]{each['errors']}[/red]" if each["errors"] else "0",
            *(() if beside is None else _other(others.get((each["title"], each["clients"])))),
            "" if reference is None else f"{reference:,.0f}",
            _verdict(each["holds"], each["target"], each["share_of_fsync"] if "fsync" in each["target"] else None),
        )
    return table


def _other(scenario: JSON | None) -> tuple[str, str]:
    """Rate and processor time of the same scenario in another run."""
    if scenario is None:
        return "", ""
    return f"{scenario['per_s']:,.0f}", "–" if scenario["server_ms"] is None else f"{scenario['server_ms']:.2f}"


def _big_session_line(big: JSON) -> str:
    return (
        f"{big['messages']:,} messages of 200 bytes: PUT {big['put_s']:.2f} s, GET {big['get_s']:.2f} s, peak growth "
        f"{_mib(big['growth_bytes'])}, health meanwhile at most {big['health_max_ms']:.0f} ms, errors {big['errors']}  "
        + _verdict(big["holds"], "within 1 s, ≤ 80 MiB, < 100 ms", None)
    )


def _verdict(holds: bool | None, target: str, measured: float | None) -> str:
    if holds is None:
        return ""
    share = "" if measured is None else f" ({measured:.0%})"
    return f"[green]✓[/green] {target}{share}" if holds else f"[red]✗[/red] {target}{share}"


def _kept(found: JSON) -> str:
    if found["engine_bytes_per_100k"] is None:
        return f"file {_mib(found['file_bytes'])}"
    return f"Redis holds {_mib(found['engine_bytes_per_100k'])} per 100,000 memories"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _mib(value: float | None) -> str:
    return "–" if value is None else f"{value / MIB:,.0f} MiB"
