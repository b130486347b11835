"""How big the installation is, how fast it starts, and what it holds when idle: ``python -m benchmarks.startup [--json]``.

Installs the project into a fresh virtual environment in a temporary folder, so that nothing of this checkout's environment
counts. Sizes are what the files take on disk, compiled modules included, without pip and setuptools, which every virtual
environment has. Memory is Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.processes import machine, resident_bytes

REPOSITORY = Path(__file__).resolve().parents[1]
HELP_RUNS = 5
START_RUNS = 3
READY_WITHIN_S = 60.0
SETTLED_AFTER_S = 1.0
"""Idle memory is read so long after readiness."""
_NOT_OURS = frozenset({"pip", "setuptools", "pkg_resources", "_distutils_hack"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``value`` is None where this system cannot tell."""

    name: str
    value: float | None
    target: float
    unit: str

    @property
    def holds(self) -> bool | None:
        return None if self.value is None else self.value < self.target


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="agent-memory-startup-") as folder:
        environment = Path(folder) / "environment"
        command = install(environment)
        helps = [timed(lambda: run([str(command), "--help"])) for _ in range(HELP_RUNS)]
        starts = [start(command, Path(folder) / f"data-{number}") for number in range(START_RUNS)]
        resident = [each for _, each in starts if each is not None]
        return [
            Figure(name="packages on disk", value=disk_bytes(environment) / 1e6, target=250, unit="MB"),
            Figure(name="agent-memory --help", value=statistics.median(helps), target=0.5, unit="s"),
            Figure(
                name="ready to serve", value=statistics.median(ready_s for ready_s, _ in starts), target=2, unit="s"
            ),
            Figure(
                name="resident when idle",
                value=statistics.median(resident) / 1e6 if resident else None,
                target=150,
                unit="MB",
            ),
        ]


def install(environment: Path) -> Path:
    """A fresh virtual environment with the project and its default dependencies; returns its command."""
    venv.create(environment, with_pip=True)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    run([str(scripts / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(REPOSITORY)])
    return scripts / "agent-memory"


def disk_bytes(environment: Path) -> int:
    """Blocks on disk of all installed packages but pip and setuptools."""
    total = 0
    for packages in environment.glob("lib*/python*/site-packages"):
        if packages.parent.parent.is_symlink():
            continue
        for path in packages.rglob("*"):
            top = path.relative_to(packages).parts[0].split("-")[0]
            if top not in _NOT_OURS and path.is_file():
                total += path.lstat().st_blocks * 512
    return total


def start(command: Path, data_dir: Path) -> tuple[float, int | None]:
    """Start the server on a new store; seconds until it is ready, and bytes resident when idle."""
    port = free_port()
    settings = {"DATA_DIR": str(data_dir), "EMBEDDING_MODEL": "wordllama"}
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    begun = time.perf_counter()
    process = subprocess.Popen(
        [str(command), "api", "--port", str(port)],
        cwd=data_dir.parent,
        env=environment | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not answers(f"http://127.0.0.1:{port}/v1/ready"):
            if process.poll() is not None or time.perf_counter() - begun > READY_WITHIN_S:
                raise RuntimeError("the server did not become ready: try `agent-memory api` by hand")
            time.sleep(0.01)
        ready_s = time.perf_counter() - begun
        time.sleep(SETTLED_AFTER_S)
        return ready_s, resident_bytes(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir())


def timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def show(figures: list[Figure]) -> None:
    table = Table(title="Start-up, in a fresh environment", title_justify="left")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_column("target", justify="right")
    table.add_column("")
    for each in figures:
        value = "unknown" if each.value is None else f"{each.value:.{2 if each.unit == 's' else 0}f} {each.unit}"
        verdict = {True: "holds", False: "MISSED", None: ""}[each.holds]
        table.add_row(each.name, value, f"< {each.target:g} {each.unit}", verdict)
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Size, start time and idle memory of a fresh installation.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = bool(parser.parse_args().json)
    figures = measure()
    if as_json:
        print(
            json.dumps({"machine": machine(), "figures": [{**asdict(each), "holds": each.holds} for each in figures]})
        )
    else:
        show(figures)


if __name__ == "__main__":
    main()
