"""A real server process for tests: started on a free loopback port, killed, frozen or restarted on its data.

It is ``agent-memory api`` unless other arguments are given, and begins at once (``tests/forked_process.py``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

from tests.forked_process import Process, signal_group, started
from tests.waiting import wait_until

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 20.0


def command() -> str:
    """The installed ``agent-memory`` command of the running interpreter."""
    return str(Path(sysconfig.get_path("scripts")) / "agent-memory")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bare_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without any of our settings: a path, a home, a locale and what ``extra`` adds."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **(extra or {})}


class ServerProcess:
    """One server on one data folder. Use as a context manager; ``kill`` and ``start`` may be repeated in between."""

    def __init__(
        self,
        data_dir: Path,
        *,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        arguments: Sequence[str] = ("api",),
        from_nothing: bool = False,
    ) -> None:
        """``from_nothing`` starts the command as a shell does; so does a ``prefix``, the command line of what runs it."""
        self.data_dir = data_dir
        self.port = free_port()
        self._environment = dict(environment or {})
        self._prefix = list(prefix)
        self._arguments = list(arguments)
        self._from_nothing = from_nothing or bool(prefix)
        self._process: Process | None = None
        self._log = data_dir.parent / f"{data_dir.name}.{self.port}.log"

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def environment(self) -> dict[str, str]:
        """All that the process is told. Sessions count as quiet at once, so that pending work ends within a test."""
        told = {"DATA_DIR": str(self.data_dir), "EXTRACTION_DEBOUNCE_SECONDS": "0", **self._environment}
        return bare_environment(self.data_dir.parent, told)

    def start(self) -> ServerProcess:
        """Start and wait until it is ready; a process that exits instead raises with its log."""
        self.launch()
        return self.await_ready()

    def await_ready(self) -> ServerProcess:
        """Wait until the launched process serves; one that exits instead raises with its log."""
        try:
            wait_until(self._ready, "the server did not become ready", START_TIMEOUT_S)
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Start without waiting."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._process = started(
            [*self._prefix, command(), *self._arguments, "--port", str(self.port)],
            self.environment(),
            folder=self.data_dir.parent,
            log=self._log,
            from_nothing=self._from_nothing,
        )

    def kill(self) -> None:
        """SIGKILL the process and its children, and wait for their end; nothing when it is not running."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM and the exit status of an orderly end."""
        return self._end(signal.SIGTERM)

    def exit_status(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def client(self, **options: float) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=options.get("timeout_s", REQUEST_TIMEOUT_S))

    def async_client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        return httpx.AsyncClient(base_url=self.url, timeout=REQUEST_TIMEOUT_S, limits=limits)

    def memory_peak_bytes(self) -> int:
        """Peak resident size since the start (Linux)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM in the process's status")

    def _ready(self) -> bool:
        status = self.exit_status()
        if status is not None:
            raise AssertionError(f"the server exited with status {status}:\n{self.log[-4000:]}")
        try:
            return httpx.get(f"{self.url}/v1/ready", timeout=REQUEST_TIMEOUT_S).status_code == 200
        except httpx.TransportError:
            return False

    def _end(self, signal_number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        signal_group(process, signal_number)
        try:
            return process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the server did not end within {STOP_TIMEOUT_S:g} s:\n{self.log[-4000:]}") from None


@contextlib.contextmanager
def servers_on_one_store(
    data_dir: Path, count: int, environment: Mapping[str, str] | None = None
) -> Generator[list[ServerProcess]]:
    """So many server processes on one data folder, or on the store that ``environment`` names, started at the same moment
    (the first start makes the store); all are killed at the end."""
    with contextlib.ExitStack() as stack:
        servers = [ServerProcess(data_dir, environment=environment) for _ in range(count)]
        for server in servers:
            stack.callback(server.kill)
            server.launch()
        yield [server.await_ready() for server in servers]


def wait_for_no_pending_work(client: httpx.Client, timeout_s: float = 30.0) -> None:
    """Until the background has finished all that was acknowledged."""

    def drained() -> bool:
        response = client.get("/v1/pending")
        assert response.status_code == 200, response.text
        return response.json()["pending"] == 0

    wait_until(drained, "pending work was not finished", timeout_s)
