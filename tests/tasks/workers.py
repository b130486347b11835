"""Worker processes as operators start them: ``docket worker`` or ``agent-memory task-worker``."""

from __future__ import annotations

import signal
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.forked_process import Process, signal_group, started
from tests.server_process import bare_environment, command
from tests.waiting import wait_until

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0


class WorkerProcess:
    """One worker; use as a context manager. ``kill`` and ``start`` may be repeated."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        *,
        plain: bool,
        queue_name: str,
        arguments: Sequence[str] = ("task-worker", "--concurrency", "5", "--redelivery-timeout", "2"),
        from_nothing: bool = False,
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._log = folder / f"worker-{id(self)}.log"
        docket = [
            str(Path(sysconfig.get_path("scripts")) / "docket"), "worker",
            "--tasks", "agent_memory_server.docket_tasks:task_collection",
            "--docket", queue_name, "--concurrency", "5", "--redelivery-timeout", "2s",
        ]  # fmt: skip
        self._command = docket if plain else [command(), *arguments]
        self._process: Process | None = None
        self._from_nothing = from_nothing

    def __enter__(self) -> WorkerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self, *, wait: bool = True) -> None:
        begun_at = self._log.stat().st_size if self._log.exists() else 0
        environment = bare_environment(self._folder, self._environment)
        process = started(
            self._command, environment, folder=self._folder, log=self._log, from_nothing=self._from_nothing
        )
        self._process = process
        if wait:
            wait_until(
                lambda: process.poll() is not None or "working through pending work" in self.log[begun_at:],
                "the worker did not begin",
                START_TIMEOUT_S,
            )
            assert process.poll() is None, self.log[-3000:]

    def kill(self) -> None:
        """As a crash does it; nothing when it is gone."""
        process, self._process = self._process, None
        if process is not None:
            signal_group(process, signal.SIGKILL)
            process.wait(STOP_TIMEOUT_S)

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit status, and the seconds that it took."""
        process, self._process = self._process, None
        assert process is not None
        asked_at = time.monotonic()
        signal_group(process, signal.SIGTERM)
        return process.wait(STOP_TIMEOUT_S), time.monotonic() - asked_at
