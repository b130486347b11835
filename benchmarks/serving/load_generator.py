"""The process that drives the server: reads one plan a line from standard input, writes one result a line.

It accounts for its own share of the processor, so that a reader can see whether it or the server was the limit.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import uvloop

from benchmarks.processes import processor_s
from benchmarks.serving.connections import Answer, ClosedLoop, ask
from benchmarks.serving.workloads import Plan, big_session, encoded, requests

BIG_SESSION = "big_session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One round. Latencies are of the requests answered within the measured time; shares are of one processor."""

    requests: int
    seconds: float
    errors: int
    error_sample: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    request_bytes: int
    response_bytes: int
    server_share: float | None
    generator_share: float
    engine_share: float | None = None
    """Of an engine in a process of its own."""

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BigSession:
    """A PUT and a GET of one very long session, while health is asked for again and again."""

    put_s: float
    get_s: float
    get_bytes: int
    health_max_ms: float
    health_requests: int
    errors: int
    error_sample: str


async def measure(plan: Plan) -> Measured:
    """Warm up, record for ``plan.seconds`` (or until ``plan.count`` requests are answered), then let requests finish."""
    sizes: list[int] = []
    loop = ClosedLoop(plan.port, plan.clients, _noting_sizes(plan, sizes))
    loop.recording = plan.count is not None
    running = asyncio.ensure_future(loop.run())
    if plan.count is None:
        await asyncio.sleep(plan.warm_up_s)
        loop.recording = True
    begun, used = time.perf_counter(), time.process_time()
    server, engine = processor_s(plan.server_pid), _engine_s(plan)
    if plan.count is None:
        await asyncio.sleep(plan.seconds)
        loop.recording = False
    else:
        await running
    seconds = time.perf_counter() - begun
    generator_share = (time.process_time() - used) / seconds
    server_share = _share(server, processor_s(plan.server_pid), seconds)
    engine_share = _share(engine, _engine_s(plan), seconds)
    answers = list(loop.answers)
    loop.stop()
    await running
    measured = _summary(answers, sizes, seconds, generator_share, server_share)
    return replace(measured, engine_share=engine_share)


def _engine_s(plan: Plan) -> float | None:
    return None if plan.engine_pid is None else processor_s(plan.engine_pid)


async def measure_big_session(plan: Plan) -> BigSession:
    """One client writes and reads ``plan.big_session_messages``, another asks for health all the while."""
    put, get = big_session(plan)
    health = ClosedLoop(plan.port, 1, _repeated(encoded("GET", "/v1/health")))
    health.recording = True
    running = asyncio.ensure_future(health.run())
    await asyncio.sleep(plan.warm_up_s)
    stored = await ask(plan.port, put)
    read = await ask(plan.port, get)
    health.stop()
    await running
    failed = [each for each in (stored, read, *health.answers) if each.status != 200]
    return BigSession(
        put_s=stored.seconds,
        get_s=read.seconds,
        get_bytes=read.body_bytes,
        health_max_ms=max(each.seconds for each in health.answers) * 1000,
        health_requests=len(health.answers),
        errors=len(failed),
        error_sample=_sample(failed),
    )


def _noting_sizes(plan: Plan, sizes: list[int]) -> Any:
    for number, request in enumerate(requests(plan)):
        if plan.count is not None and number >= plan.count:
            return
        if len(sizes) < 256:
            sizes.append(len(request) - request.index(b"\r\n\r\n") - 4)
        yield request


def _repeated(request: bytes) -> Any:
    while True:
        yield request


def _summary(
    answers: Sequence[Answer], sizes: Sequence[int], seconds: float, generator_share: float, server: float | None
) -> Measured:
    failed = [each for each in answers if each.status != 200]
    good = sorted(each.seconds * 1000 for each in answers if each.status == 200) or [0.0]
    return Measured(
        requests=len(answers) - len(failed),
        seconds=seconds,
        errors=len(failed),
        error_sample=_sample(failed),
        p50_ms=_quantile(good, 0.50),
        p95_ms=_quantile(good, 0.95),
        p99_ms=_quantile(good, 0.99),
        max_ms=good[-1],
        request_bytes=sum(sizes) // max(1, len(sizes)),
        response_bytes=sum(each.body_bytes for each in answers) // max(1, len(answers)),
        server_share=server,
        generator_share=generator_share,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _share(before: float | None, after: float | None, seconds: float) -> float | None:
    return None if before is None or after is None else (after - before) / seconds


def _sample(failed: Sequence[Answer]) -> str:
    return f"{failed[0].status}: {failed[0].sample}" if failed else ""


def main() -> None:
    for line in sys.stdin:
        plan = Plan(**json.loads(line))
        work = measure_big_session(plan) if plan.workload == BIG_SESSION else measure(plan)
        print(json.dumps(asdict(uvloop.run(work))), flush=True)


if __name__ == "__main__":
    main()
