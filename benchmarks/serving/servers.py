"""Starting the processes of a run: the server under test, the bare routes beside it, and the load generator."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.serving.load_generator import BIG_SESSION, BigSession, Measured
from benchmarks.serving.workloads import Plan

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
DRAIN_TIMEOUT_S = 900.0


class ServerFailed(RuntimeError):
    """A process of the run ended or did not start; the message ends with its log."""


class Server:
    """A process that listens on a free loopback port; ended by its id on leaving the context."""

    def __init__(
        self, arguments: list[str], *, folder: Path, name: str, environment: dict[str, str] | None = None
    ) -> None:
        self.port = _free_port()
        self._arguments = [each.format(port=self.port) for each in arguments]
        self._environment = {**os.environ, **(environment or {})}
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.ready_s = 0.0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Server:
        begun = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        while not self._listens():
            if self._process.poll() is not None or time.perf_counter() - begun > START_TIMEOUT_S:
                self._process.kill()
                raise ServerFailed(f"{self._arguments} did not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.02)
        self.ready_s = time.perf_counter() - begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def get(self, path: str) -> Any:
        """The JSON of a path; ServerFailed for any other status than 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ServerFailed(f"GET {path} answered {response.status}: {body[:300]!r}")
        return json.loads(body)

    def wait_for_background(self) -> float:
        """Until nothing that was acknowledged is still to be worked on; returns how long that took in seconds."""
        begun = time.perf_counter()
        while (pending := int(self.get("/v1/pending")["pending"])) > 0:
            if time.perf_counter() - begun > DRAIN_TIMEOUT_S:
                raise ServerFailed(f"{pending} pieces of background work are still pending after {DRAIN_TIMEOUT_S:g} s")
            time.sleep(0.05)
        return time.perf_counter() - begun

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


def memory_server(folder: Path, *, storage_url: str, quiet_s: float) -> Server:
    """The real server, by its command.

    ``quiet_s``: how long a session is quiet before it is extracted from; the default would have every write round wait half a
    minute for its background work.
    """
    command = str(Path(sysconfig.get_path("scripts")) / "agent-memory")
    return Server(
        [command, "api", "--port", "{port}"],
        folder=folder,
        name="server",
        environment={"STORAGE_URL": storage_url, "LOG_LEVEL": "WARNING", "EXTRACTION_DEBOUNCE_SECONDS": str(quiet_s)},
    )


def storage_file(folder: Path) -> Path:
    return folder / "memory.db"


def bare_server(folder: Path) -> Server:
    return Server(
        [sys.executable, "-m", "benchmarks.serving.bare", "{port}", str(folder / "bare.bin")],
        folder=folder,
        name="bare",
    )


class LoadGenerator:
    """The other process; ``measure`` runs one plan in it."""

    def __enter__(self) -> LoadGenerator:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving.load_generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def measure(self, plan: Plan) -> Measured:
        return Measured(**self._run(plan))

    def measure_big_session(self, plan: Plan) -> BigSession:
        assert plan.workload == BIG_SESSION
        return BigSession(**self._run(plan))

    def _run(self, plan: Plan) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(plan)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise ServerFailed("the load generator ended")
        return json.loads(line)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
