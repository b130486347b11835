"""Processes of ours that begin at once: each is forked from one that has imported the server already.

To start Python and to import what a server needs takes a second of processor, and the tests start hundreds of processes.
Each is a process of its own all the same, with its own environment, folder, output, session and end, and runs the script that is
installed: it can be killed, frozen and asked for its exit status as any other. What Python reads as it starts (PYTHONPATH) is not
read again. That the command also starts from nothing is proven where that is the subject: by the tests of the command itself, of
what is deployed, of an engine of somebody else, of the benchmarks and of the examples in the docs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_IMPORTED_ONCE = ["tests.forked_process_imports"]
"""Importing our modules creates nothing (``tests/architecture``), so every process finds the settings of its own environment."""


class ForkedProcess:
    """One running process; what ``subprocess.Popen`` offers, as far as tests ask for it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        folder: Path,
        out: Path,
        err: Path,
        typed: Path = Path(os.devnull),
    ) -> None:
        """Run a script of Python with its arguments in ``folder``. Output is added to the files, input is what was ``typed``."""
        for file in (out, err):
            file.touch()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_IMPORTED_ONCE)
        self.args = list(command)
        told = (self.args, dict(environment), folder, (typed, out, err))
        self._process: ForkServerProcess = context.Process(target=_become, args=told, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative for the signal that ended it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises TimeoutExpired when it does not end in so many seconds."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """To this process; nothing when it is gone."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | ForkedProcess


def started(
    command: Sequence[str], environment: Mapping[str, str], *, folder: Path, log: Path, from_nothing: bool = False
) -> Process:
    """The script with its arguments, in a session of its own; or any command ``from_nothing``, as a shell starts it."""
    if not from_nothing:
        return ForkedProcess(command, environment, folder=folder, out=log, err=log)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def signal_group(process: Process, number: signal.Signals) -> None:
    """To a process in a session of its own and to its children; nothing when they are gone."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        # Gone, or so young that its session has not begun.
        process.send_signal(number)


def _become(command: list[str], environment: dict[str, str], folder: Path, files: tuple[Path, Path, Path]) -> None:
    """In the new process: forget what the parent had, and run the script as the main module."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for descriptor, file in enumerate(files):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND if descriptor else os.O_RDONLY)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process lives
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
