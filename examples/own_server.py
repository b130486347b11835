"""A real server in a process of its own, as an operator starts it, on a free loopback port.

Only the standard library is imported. The settings of the surrounding environment do not reach the server, and neither does
a ``.env`` file: it runs in an empty folder with what is passed in.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 15.0
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT", "COVERAGE_PROCESS_START")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any
    """Parsed JSON, or the text when it is not JSON."""


@dataclass(slots=True, kw_only=True)
class ServerProcess:
    url: str
    port: int
    process: subprocess.Popen[bytes]
    log_path: Path
    ready_s: float
    """From the start of the process until ``/v1/ready`` answered 200."""

    @property
    def log(self) -> str:
        """All that it wrote to stdout and stderr so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request; an error status is an answer like any other."""
        return call(self.url, method, path, body, headers)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait; returns its exit code. Killed when it does not end in time."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the server did not stop within {STOPPED_WITHIN_S:g} s:\n{self.log}") from None
        return self.process.returncode


def call(url: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One request with a JSON body to the server at ``url``."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, method=method, headers=dict(headers or {}))
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return _answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers, error.read())


def _answer(status: int, headers: Any, raw: bytes) -> Answer:
    try:
        body = json.loads(raw)
    except ValueError:
        body = raw.decode("utf-8", "replace")
    return Answer(status=status, headers={str(name).lower(): str(value) for name, value in headers.items()}, body=body)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hermetic_environment(data_dir: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which only ``settings`` are set, with the data in ``data_dir`` and the bundled embedding model."""
    inherited = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**inherited, "DATA_DIR": str(data_dir), "EMBEDDING_MODEL": "wordllama", **(settings or {})}


@contextlib.contextmanager
def server_process(
    data_dir: Path,
    *,
    settings: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    python: str = sys.executable,
) -> Generator[ServerProcess]:
    """Start the server, wait until it is ready, and stop it at the end. Raises AssertionError with its log when it is not."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="agent-memory-") as folder:
        log_path = Path(folder) / "server.log"
        started = time.perf_counter()
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [python, "-m", "agent_memory_server.main", "--port", str(port), *arguments],
                cwd=folder,
                env=hermetic_environment(data_dir, settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        url = f"http://127.0.0.1:{port}"
        server = ServerProcess(url=url, port=port, process=process, log_path=log_path, ready_s=0.0)
        try:
            _wait_until_ready(server, started)
            server.ready_s = time.perf_counter() - started
            yield server
            server.stop()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait_until_ready(server: ServerProcess, started: float) -> None:
    while time.perf_counter() - started < READY_WITHIN_S:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended with code {server.process.returncode}:\n{server.log}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if server.call("GET", "/v1/ready").status == 200:
                return
        time.sleep(0.01)
    raise AssertionError(f"the server was not ready within {READY_WITHIN_S:g} s:\n{server.log}")
