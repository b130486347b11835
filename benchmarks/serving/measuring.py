"""One run: load through the API, then interleaved rounds of every scenario, its bare route, and bare fsyncs."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks.engines import Engine
from benchmarks.processes import reset_peak, resident_bytes, resident_peak_bytes
from benchmarks.serving.load_generator import BIG_SESSION, BigSession, Measured
from benchmarks.serving.scenarios import SCENARIOS, Scenario
from benchmarks.serving.servers import LoadGenerator, Server, ServerFailed, storage_file
from benchmarks.serving.workloads import LOAD_BATCH, Plan

LOAD_CLIENTS = 4
FSYNC_BYTES = 4096
"""What a bare fsync appends: the size of one page, the least that an engine writes for a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    memories: int = 100_000
    users: int = 1_000
    rounds: int = 5
    seconds: float = 2.0
    only: str = ""
    """Only scenarios whose workload begins so; several with commas between."""
    sessions: int = 50
    big_session_messages: int = 10_000


@dataclass(slots=True, kw_only=True)
class Rounds:
    """All rounds of one scenario, ours and the bare route's, with the background work that each of ours left behind."""

    scenario: Scenario
    ours: list[Measured] = field(default_factory=list["Measured"])
    bare: list[Measured] = field(default_factory=list["Measured"])
    background_s: list[float] = field(default_factory=list[float])

    def middle(self, of: Callable[[Measured], float], *, bare: bool = False) -> float:
        return median(of(each) for each in (self.bare if bare else self.ours))

    @property
    def ratio(self) -> float | None:
        """Our rate over the bare route's, round by round; the median. None: no round was long enough for the bare route."""
        pairs = zip(self.ours, self.bare, strict=True)
        ratios = [ours.per_s / bare.per_s for ours, bare in pairs if bare.per_s]
        return median(ratios) if ratios else None

    @property
    def errors(self) -> int:
        return sum(each.errors for each in self.ours)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Everything that a run found out."""

    ready_s: float
    load: Measured
    load_background_s: float
    scenarios: list[Rounds]
    fsyncs_per_s: list[float]
    big_sessions: list[BigSession]
    big_session_growth_bytes: list[int]
    resident_idle_bytes: int | None
    resident_peak_bytes: int | None
    file_bytes: int | None
    engine: Engine
    engine_empty_bytes: int | None
    engine_loaded_bytes: int | None
    """Memory of Redis before and after the memories were loaded; None for engines that keep a file."""


def run(
    size: Size,
    *,
    engine: Engine,
    server: Server,
    bare: Server,
    generator: LoadGenerator,
    folder: Path,
    say: Callable[[str], None],
) -> Outcome:
    """Measure. Raises ServerFailed when the server ends or the data cannot be loaded."""
    idle, empty_bytes = resident_bytes(server.pid), engine.used_bytes()
    plan = Plan(
        workload="load",
        port=server.port,
        server_pid=server.pid,
        engine_pid=engine.pid,
        run=f"b{secrets.token_hex(3)}",
        memories=size.memories,
        users=size.users,
        sessions=size.sessions,
        big_session_messages=size.big_session_messages,
    )
    load = _load_memories(plan, generator, say)
    background_s = server.wait_for_background()
    loaded_bytes = engine.used_bytes()
    _load_sessions(plan, generator)
    background_s += server.wait_for_background()
    wanted = tuple(size.only.split(","))
    measured = [Rounds(scenario=each.on(engine.name)) for each in SCENARIOS if each.workload.startswith(wanted)]
    outcome = Outcome(
        ready_s=server.ready_s,
        load=load,
        load_background_s=background_s,
        scenarios=measured,
        fsyncs_per_s=[],
        big_sessions=[],
        big_session_growth_bytes=[],
        resident_idle_bytes=idle,
        resident_peak_bytes=None,
        file_bytes=None,
        engine=engine,
        engine_empty_bytes=empty_bytes,
        engine_loaded_bytes=loaded_bytes,
    )
    for number in range(size.rounds):
        say(f"round {number + 1} of {size.rounds}")
        server.wait_for_background()
        outcome.fsyncs_per_s.append(fsync_rate(folder, min(1.0, size.seconds)))
        for rounds in measured:
            _round(rounds, replace(plan, number=number, seconds=size.seconds), server, bare, generator)
        if not size.only:
            _big_session(outcome, replace(plan, workload=BIG_SESSION, number=number), server, generator)
    outcome.resident_peak_bytes = _highest(outcome.resident_peak_bytes, resident_peak_bytes(server.pid))
    stored = storage_file(folder)
    if stored.exists():
        outcome.file_bytes = sum(each.stat().st_size for each in folder.glob(f"{stored.name}*"))
    return outcome


def fsync_rate(folder: Path, seconds: float) -> float:
    """Appends of one page, each fsynced, one after the other, per second."""
    path = folder / "fsync.bin"
    content = os.urandom(FSYNC_BYTES)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            os.write(descriptor, content)
            os.fsync(descriptor)
            done += 1
        return done / (time.perf_counter() - begun)
    finally:
        os.close(descriptor)
        path.unlink()


def _load_memories(plan: Plan, generator: LoadGenerator, say: Callable[[str], None]) -> Measured:
    say(f"loading {plan.memories:,} memories of {plan.users:,} users through the API")
    load = generator.measure(replace(plan, clients=LOAD_CLIENTS, count=plan.memories))
    if load.errors:
        raise ServerFailed(f"loading failed: {load.error_sample}")
    say(f"loaded {load.per_s * LOAD_BATCH:,.0f} memories/s")
    return load


def _load_sessions(plan: Plan, generator: LoadGenerator) -> None:
    sessions = generator.measure(replace(plan, workload="sessions", clients=LOAD_CLIENTS, count=plan.memories))
    if sessions.errors:
        raise ServerFailed(f"loading failed: {sessions.error_sample}")


def _round(rounds: Rounds, plan: Plan, server: Server, bare: Server, generator: LoadGenerator) -> None:
    scenario = rounds.scenario
    # Scenarios that share a workload write in the same round: their ids must not meet.
    number = plan.number * 100 + scenario.clients
    ours = generator.measure(replace(plan, workload=scenario.workload, clients=scenario.clients, number=number))
    rounds.ours.append(ours)
    if scenario.writes:
        rounds.background_s.append(server.wait_for_background())
    rounds.bare.append(
        generator.measure(
            replace(
                plan,
                workload=scenario.bare,
                port=bare.port,
                server_pid=bare.pid,
                engine_pid=None,
                clients=scenario.clients,
                seconds=plan.seconds / 2,
                request_bytes=ours.request_bytes,
                response_bytes=ours.response_bytes,
            )
        )
    )


def _big_session(outcome: Outcome, plan: Plan, server: Server, generator: LoadGenerator) -> None:
    outcome.resident_peak_bytes = _highest(outcome.resident_peak_bytes, resident_peak_bytes(server.pid))
    before = resident_bytes(server.pid) if reset_peak(server.pid) else None
    outcome.big_sessions.append(generator.measure_big_session(plan))
    peak = resident_peak_bytes(server.pid)
    if before is not None and peak is not None:
        outcome.big_session_growth_bytes.append(peak - before)


def _highest(*values: int | None) -> int | None:
    return max((each for each in values if each is not None), default=None)


def middle(values: Sequence[float]) -> float | None:
    return median(values) if values else None
