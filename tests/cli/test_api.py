"""``agent-memory api``: what it says at start, how it ends, and when it refuses."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import httpx
import pytest

from agent_memory_server.cli.api import FACTORY
from tests.cli.commands import CommandLine
from tests.server_process import START_TIMEOUT_S, ServerProcess, bare_environment, command
from tests.waiting import wait_until

pytestmark = pytest.mark.long


def test_the_banner_says_what_a_newcomer_needs(tmp_path: Path) -> None:
    """Address, documentation, data, model, what local mode means, and what to try next."""
    with ServerProcess(tmp_path / "data") as server:
        for part in (
            f"Look   {server.url} in a browser",
            f"API    {server.url}\n",
            f"Docs   {server.url}/docs\n",
            f"Data   {tmp_path / 'data' / 'memory.db'}\n",
            "Model  wordllama",
            "Local mode: no model key was found.",
            f"curl {server.url}/v1/ready",
            f"{command()} --help\n",
        ):
            assert part in server.log
        assert httpx.get(f"{server.url}/docs").status_code == 200


def test_the_banner_s_next_command_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    """In a clone it loads the example, by the command's path where no shell would find it; where one would, by its name."""
    clone = tmp_path / "clone"
    (clone / "examples").mkdir(parents=True)
    (clone / "examples" / "conversation.json").write_text('[{"role": "user", "content": "I moved to Lisbon"}]')
    with _started(clone, [command(), "api", "--port", "0"]) as (_, printed):
        line = printed.partition("/v1/ready\n")[2].split("\n")[0]
        done = subprocess.run(line, shell=True, cwd=clone, capture_output=True, text=True, timeout=30)
        assert done.stdout == "Imported 1 messages into 1 sessions.\n"
        assert line.split()[0] == command()
    on_path = {"PATH": f"{Path(command()).parent}:/usr/bin:/bin"}
    with _started(clone, [command(), "api", "--port", "0"], on_path) as (_, printed):
        assert "    agent-memory import-conversation examples/conversation.json --url http://" in printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 0 and a closed store: no write-ahead log is left behind."""
    with _started(tmp_path, [command(), "api", "--port", "0"]) as (process, _):
        assert (tmp_path / "data" / "memory.db-wal").exists()
        process.send_signal(number)
        assert process.wait(15) == 0
    assert not (tmp_path / "data" / "memory.db-wal").exists()


def test_port_zero_lets_the_system_choose_and_the_banner_names_it(tmp_path: Path) -> None:
    """The address in the banner answers; ``python -m agent_memory_server.main`` is the same server."""
    with _started(tmp_path, [sys.executable, "-m", "agent_memory_server.main", "--port", "0"]) as (_, printed):
        url = printed.partition("API    ")[2].split()[0]
        assert httpx.get(f"{url}/v1/health").status_code == 200


def test_a_taken_port_is_one_sentence(terminal: CommandLine) -> None:
    """Before the store is opened."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        outcome = terminal.run("api", "--port", port)
    assert outcome.code == 1
    assert outcome.err == (
        f"Error: cannot listen on 127.0.0.1 port {port} (Address already in use). Choose another with --port or PORT; "
        "0 lets the system choose.\n"
    )
    assert not (terminal.folder / "data").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_beyond_this_machine_is_refused(terminal: CommandLine, host: str) -> None:
    """Without authentication, whether it comes from the option or from HOST; nothing is opened."""
    by_option = terminal.run("api", "--host", host)
    by_setting = CommandLine(folder=terminal.folder, environment={"HOST": host}).run("api")
    for outcome in (by_option, by_setting):
        assert outcome.code == 1
        assert f"refusing to listen on {host} without authentication" in outcome.err
    assert not (terminal.folder / "data").exists()


def test_without_settings_only_loopback_is_bound(tmp_path: Path) -> None:
    """The listening socket is 127.0.0.1's, in the kernel's own words."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("this system does not show its sockets in /proc")
    with ServerProcess(tmp_path / "data") as server:
        listening = [
            line.split()[1]
            for name in ("tcp", "tcp6")
            if Path(f"/proc/net/{name}").exists()
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{server.port:04X}")
        ]
    assert listening == [f"0100007F:{server.port:04X}"]


def test_options_of_the_reference_are_accepted(tmp_path: Path) -> None:
    """``--task-backend`` and the deprecated ``--no-worker``."""
    arguments = ["--port", "0", "--host", "127.0.0.1", "--task-backend", "asyncio", "--no-worker"]
    with _started(tmp_path, [command(), "api", *arguments]) as (_, printed):
        assert "--no-worker is deprecated" in printed


def test_the_factory_for_uvicorn_and_reloading_logs_as_the_command_does(tmp_path: Path) -> None:
    """``uvicorn --factory`` and ``--reload``: JSON lines on stderr, from LOG_LEVEL up."""
    started = [sys.executable, "-m", "uvicorn", "--factory", FACTORY, "--port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        environment = bare_environment(tmp_path, {"DATA_DIR": str(tmp_path / "data")})
        process = subprocess.Popen(started, env=environment, cwd=tmp_path, stdout=output, stderr=output)
    try:
        wait_until(lambda: '"level": "info"' in log.read_text(), "our log lines did not come as JSON", START_TIMEOUT_S)
        assert '"level": "debug"' not in log.read_text()
    finally:
        process.kill()
        process.wait(15)


@contextlib.contextmanager
def _started(
    folder: Path, arguments: list[str], extra: Mapping[str, str] | None = None
) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """The server's process and all that it printed until its banner was complete."""
    log = folder / "log"
    environment = bare_environment(folder, {"PATH": "/usr/bin:/bin", "DATA_DIR": str(folder / "data"), **(extra or {})})
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, env=environment, cwd=folder, stdout=output, stderr=output)
    try:
        yield process, wait_until(lambda: _complete(log.read_text()), "the server did not start", START_TIMEOUT_S)
    finally:
        process.kill()
        process.wait(15)


def _complete(printed: str) -> str:
    return printed if "Stop with Ctrl-C." in printed else ""
