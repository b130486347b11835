"""A running server for tests: in this process without a socket (fast), or as a real process (real).

Both keep their data in a temporary folder, bind to nothing but loopback, and are gone when the context ends. Neither reads
the environment's settings or a ``.env`` file: what is not named has its default.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from agent_memory_server.api.server import MemoryApi, create_api
from agent_memory_server.app import MemoryApp, new_ulid, open_app, utc_now
from agent_memory_server.config import Settings
from agent_memory_server.ports.language_model import LanguageModel
from agent_memory_server.serving import beside_of
from agent_memory_server.tasks.running import open_working_app

READY_WITHIN_S = 90.0
STOPPED_WITHIN_S = 15.0
_POLL_S = 0.02
_HOST = "agent-memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningApp:
    """An open app with its API and a client for it; no socket is involved."""

    app: MemoryApp
    api: MemoryApi
    client: httpx.AsyncClient

    async def finish_afterwards(self) -> None:
        """Wait for what goes on after answers (counting accesses)."""
        await self.api.finish_afterwards()

    async def idle(self, *, within_s: float = 10.0) -> None:
        """Wait until no work is pending. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while (await self.client.get("/v1/pending")).json()["pending"]:  # noqa: ASYNC110 - what is awaited may be another process's work
                await asyncio.sleep(_POLL_S)


@contextlib.asynccontextmanager
async def running_app(
    *,
    data_dir: Path | None = None,
    now: Callable[[], datetime] = utc_now,
    new_id: Callable[[], str] = new_ulid,
    background: bool = True,
    language_model: LanguageModel | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    **settings: Any,
) -> AsyncGenerator[RunningApp]:
    """The real app on the real embedded engine, in this process. ``settings`` are fields of Settings.

    ``language_model`` (a ``ScriptedLanguageModel``) takes the place of local mode. ``background=False`` leaves pending work
    for the test to run (``app.pending_work.run_due()``), and ``sleep`` is how the wait between two attempts at a model is
    spent. The client raises nothing for error statuses, and an exception that leaves the API fails the test.
    """
    with contextlib.ExitStack() as folders:
        place = data_dir or Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="agent-memory-")))
        values: dict[str, Any] = {"data_dir": place, "mcp_allowed_hosts": [_HOST], **settings}
        chosen = _Unsurprising(**values)
        opening = open_working_app if background else open_app
        async with opening(chosen, now=now, new_id=new_id, language_model=language_model, sleep=sleep) as app:
            api = create_api(app, body_bytes_max=chosen.max_body_bytes, beside=beside_of(chosen, chosen.host))
            transport = httpx.ASGITransport(app=api)
            async with (
                api.router.lifespan_context(api),
                httpx.AsyncClient(transport=transport, base_url=f"http://{_HOST}") as client,
            ):
                yield RunningApp(app=app, api=api, client=client)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server process that accepts requests at ``base_url``."""

    base_url: str
    pid: int
    data_dir: Path
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.base_url, **options)


@contextlib.contextmanager
def running_server(
    *, data_dir: Path | None = None, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Generator[RunningServer]:
    """``agent-memory api`` as a process of its own on a free loopback port, ready to serve; stopped at the end.

    ``environment`` adds settings (``{"LONG_TERM_MEMORY": "false"}``). Raises RuntimeError with the end of the server's log when
    it does not become ready.
    """
    with contextlib.ExitStack() as folders:
        work_dir = Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="agent-memory-")))
        place = data_dir or work_dir / "data"
        log_path = work_dir / "server.log"
        chosen_port = _free_port() if port is None else port
        with log_path.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-c", _COMMAND, "api", "--host", "127.0.0.1", "--port", str(chosen_port)],
                cwd=work_dir,
                env={**_plain_environment(), "DATA_DIR": str(place), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        server = RunningServer(
            base_url=f"http://127.0.0.1:{chosen_port}", pid=process.pid, data_dir=place, log_path=log_path
        )
        try:
            _await_ready(process, server)
            yield server
        finally:
            _stop(process)


class _Unsurprising(Settings):
    """Settings that come from the caller alone, not from the environment or a file."""

    @classmethod
    def settings_customise_sources(cls, settings_cls: Any, init_settings: Any, *_: Any, **__: Any) -> tuple[Any, ...]:
        del settings_cls
        return (init_settings,)


_COMMAND = "from agent_memory_server.cli import main; main()"
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV", "PYTHONPATH")


def _plain_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_ready(process: subprocess.Popen[bytes], server: RunningServer) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    with server.client(timeout=2.0) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with status {process.returncode}:\n{server.log[-2000:]}")
            with contextlib.suppress(httpx.TransportError):
                if client.get("/v1/ready").is_success:
                    return
            time.sleep(_POLL_S)
    raise RuntimeError(f"the server was not ready within {READY_WITHIN_S} seconds:\n{server.log[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end; kill it when it does not. Nothing happens when it is gone already."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=STOPPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
