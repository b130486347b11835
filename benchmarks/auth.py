"""``python -m benchmarks.auth [--json FILE]``: what authentication costs, and what a flood of wrong tokens does to others.

The cost is that of ``Authentication.authenticate`` in the process, with as many tokens in the store as ``--tokens`` says; the
flood meets a real server, which also holds imported tokens that every unknown one has to be tried against.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import bcrypt
import click
import httpx
import jwt
import structlog
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from rich.console import Console
from rich.table import Table

from agent_memory_server.app import DATABASE_NAME, MemoryApp, open_app, utc_now
from agent_memory_server.auth.issuer_keys import IssuerKey, IssuerKeys, usable_keys
from agent_memory_server.auth.jwt_tokens import JwtTokens
from agent_memory_server.config import AuthMode, Settings
from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.errors import MemoryServerError
from agent_memory_server.stores.opening import open_stores
from agent_memory_server.testing.running import RunningServer, running_server
from benchmarks.engines import engine
from benchmarks.processes import machine

TARGET_MS = 0.2
HEALTH_TARGET_MS = 100.0
_IMPORTED = 20
"""Tokens of the reference server: every unknown token is tried against them, a quarter of a second each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    name: str
    tokens: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    name: str
    wrong_per_s: float
    health_p50_ms: float
    health_p99_ms: float
    answers: dict[str, int]
    """How the wrong tokens were answered, by status."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--tokens", default=1_000, show_default=True, help="Tokens in the store.")
@click.option("--seconds", default=8.0, show_default=True, help="How long each flood lasts.")
@click.option("--engine", "engines", default="sqlite", show_default=True, help="sqlite, redis, or both with a comma.")
@click.option("--quick", is_flag=True, help="Small sizes, to see that it runs.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, tokens: int, seconds: float, engines: str, quick: bool, json_file: Path | None) -> None:
    """Milliseconds a request, and the health check's latency beside 50 wrong tokens a second."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    if quick:
        tokens, seconds = 50, 1.0
    costs: list[Cost] = []
    for name in engines.split(","):
        with tempfile.TemporaryDirectory(prefix="agent-memory-auth-") as folder, engine(name, Path(folder)) as place:
            costs += uvloop.run(_costs(name, place.storage_url, Path(folder), tokens, 200 if quick else 5_000))
    costs.append(uvloop.run(_signed_cost(200 if quick else 5_000)))
    floods = [
        uvloop.run(_flood("no flood", 0, seconds, imported=0)),
        uvloop.run(_flood("wrong tokens", 50, seconds, imported=0)),
        uvloop.run(_flood("wrong tokens, imported ones to try", 50, seconds, imported=2 if quick else _IMPORTED)),
    ]
    _show(costs, floods, Console())
    if json_file is not None:
        found = {"costs": [asdict(each) for each in costs], "floods": [asdict(each) for each in floods]}
        json_file.write_text(json.dumps({"machine": machine(), **found}, indent=2))


# -- cost


async def _costs(name: str, url: str, folder: Path, tokens: int, times: int) -> list[Cost]:
    settings = Settings(
        data_dir=folder / "data",
        storage_url=url,
        auth_mode=AuthMode.TOKEN,
        embedding_model="wordllama",
    )
    async with open_app(settings) as app:
        held = [(await app.access_tokens.add(description="b", actor="benchmark"))[0] for _ in range(tokens)]
        right = await _timed(lambda number: app.authentication.authenticate(held[number % tokens]), times)
        wrong = await _timed(lambda number: _refused(app, f"wrong-{number}"), times)
    return [
        Cost(name=f"{name}: a valid token", tokens=tokens, p50_ms=right[0], p99_ms=right[1]),
        Cost(name=f"{name}: an unknown token", tokens=tokens, p50_ms=wrong[0], p99_ms=wrong[1]),
    ]


class _KnownKeys(IssuerKeys):
    """An issuer whose keys are here already: what every request but the first of ten minutes sees."""

    def __init__(self, issuer: str, key: rsa.RSAPrivateKey) -> None:
        super().__init__(issuer=issuer, url=None)
        described = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._known = usable_keys({"keys": [{**described, "kid": "k"}]})

    async def key(self, kid: str) -> IssuerKey | None:
        return self._known.get(kid)


async def _signed_cost(times: int) -> Cost:
    issuer, audience = "https://issuer.example", "https://memory.example"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"iss": issuer, "aud": audience, "sub": "alice", "exp": int(time.time()) + 3_600, "scope": "memory:read"}
    token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "k"})
    tokens = JwtTokens(
        issuer=issuer, audience=audience, algorithms=["RS256"], jwks_url=None, keys=_KnownKeys(issuer, key)
    )
    p50, p99 = await _timed(lambda _: tokens.claims(token), times)
    return Cost(name="a signed token (RS256)", tokens=0, p50_ms=p50, p99_ms=p99)


async def _refused(app: MemoryApp, token: str) -> None:
    with contextlib.suppress(MemoryServerError):
        await app.authentication.authenticate(token)


async def _timed(call: Callable[[int], Awaitable[object]], times: int) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    for number in range(50):
        await call(number)
    spent: list[float] = []
    for number in range(times):
        begun = time.perf_counter()
        await call(number)
        spent.append((time.perf_counter() - begun) * 1e3)
    return _percentiles(spent)


def _percentiles(spent: list[float]) -> tuple[float, float]:
    return statistics.median(spent), statistics.quantiles(spent, n=100)[98]


# -- flood


async def _flood(name: str, wrong_per_s: int, seconds: float, *, imported: int) -> Flood:
    """Health checks, one after another, beside so many requests with tokens that nobody made."""
    async with _server(imported) as server, httpx.AsyncClient(base_url=server.base_url, timeout=30) as client:
        answers: dict[str, int] = {}
        until = time.perf_counter() + seconds
        flooding = asyncio.create_task(_send_wrong(server.base_url, wrong_per_s, until, answers))
        spent: list[float] = []
        while time.perf_counter() < until:
            begun = time.perf_counter()
            (await client.get("/v1/health")).raise_for_status()
            spent.append((time.perf_counter() - begun) * 1e3)
            await asyncio.sleep(0.005)
        sent = await flooding
    p50, p99 = _percentiles(spent)
    return Flood(
        name=name,
        wrong_per_s=sent / seconds,
        health_p50_ms=p50,
        health_p99_ms=p99,
        answers=dict(sorted(answers.items())),
    )


async def _send_wrong(base_url: str, per_s: int, until: float, answers: dict[str, int]) -> int:
    """Send at this rate whether answers come or not; returns how many were sent."""
    if not per_s:
        return 0
    waiting: list[asyncio.Task[None]] = []
    async with httpx.AsyncClient(base_url=base_url, timeout=30, limits=httpx.Limits(max_connections=500)) as client:

        async def one() -> None:
            headers = {"Authorization": f"Bearer {secrets.token_urlsafe(32)}"}
            answer = await client.get("/v1/long-term-memory", headers=headers)
            answers[str(answer.status_code)] = answers.get(str(answer.status_code), 0) + 1

        while time.perf_counter() < until:
            waiting.append(asyncio.create_task(one()))
            await asyncio.sleep(1 / per_s)
        await asyncio.gather(*waiting)
    return len(waiting)


@contextlib.asynccontextmanager
async def _server(imported: int) -> AsyncGenerator[RunningServer]:
    with tempfile.TemporaryDirectory(prefix="agent-memory-auth-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        stores = await open_stores(f"sqlite:///{data / DATABASE_NAME}", now=utc_now)
        for number in range(imported):
            hashed = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(rounds=12)).decode()
            await stores.access_tokens.add(
                AccessToken(
                    id=f"I{number}", description="old", created_at=utc_now(), tenant="default", imported_hash=hashed
                )
            )
        await stores.engine.close()
        with running_server(data_dir=data, environment={"AUTH_MODE": "token"}) as server:
            yield server


def _show(costs: list[Cost], floods: list[Flood], console: Console) -> None:
    table = Table(title="Authentication of one request", title_justify="left")
    for column in ("", "tokens stored", "p50 ms", "p99 ms", "target"):
        table.add_column(column, justify="left" if not column else "right")
    for cost in costs:
        good = cost.p50_ms < TARGET_MS
        table.add_row(
            cost.name,
            f"{cost.tokens:,}",
            f"{cost.p50_ms:.3f}",
            f"{cost.p99_ms:.3f}",
            f"[{'green' if good else 'red'}]< {TARGET_MS} ms[/]",
        )
    console.print(table)
    table = Table(title="The health check beside wrong tokens", title_justify="left")
    for column in ("", "wrong a second", "health p50 ms", "health p99 ms", "target", "answers"):
        table.add_column(column, justify="left" if not column else "right")
    for flood in floods:
        good = flood.health_p99_ms < HEALTH_TARGET_MS
        table.add_row(
            flood.name,
            f"{flood.wrong_per_s:.0f}",
            f"{flood.health_p50_ms:.1f}",
            f"{flood.health_p99_ms:.1f}",
            f"[{'green' if good else 'red'}]< {HEALTH_TARGET_MS:.0f} ms[/]",
            ", ".join(f"{status}: {count}" for status, count in flood.answers.items()),
        )
    console.print(table)


if __name__ == "__main__":
    main()
