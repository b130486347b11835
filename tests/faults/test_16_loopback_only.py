"""Check 16: without any setting only loopback is bound; what asks for more without authentication is refused at start."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.commands import CommandLine
from tests.problem_details import assert_problem
from tests.server_process import ServerProcess, bare_environment, free_port


def listening_addresses(pid: int) -> set[str]:
    """The local addresses on which a process listens for TCP connections, from the kernel's tables."""
    held: set[str] = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(str(entry.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
                found.add(_address(fields[1].split(":")[0]))
    return found


def _address(hexadecimal: str) -> str:
    raw = bytes.fromhex(hexadecimal)
    words = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return str(ipaddress.ip_address(words))


class UnsetServer(ServerProcess):
    """A server with no setting at all in its environment: not even where its data lives."""

    def environment(self) -> dict[str, str]:
        return bare_environment(self.data_dir.parent)


@pytest.fixture
def unset_server(tmp_path: Path) -> Generator[ServerProcess]:
    with UnsetServer(tmp_path / "home") as server:
        yield server


def test_check_16_no_settings_bind_loopback_only(unset_server: ServerProcess) -> None:
    """A server without settings listens on 127.0.0.1 (and ::1 at most), works, and keeps its data in its user's folder."""
    addresses = listening_addresses(unset_server.pid)
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}
    with unset_server.client() as client:
        assert client.get("/v1/health").status_code == 200
    assert "http://127.0.0.1:" in unset_server.log
    databases = [path for path in unset_server.data_dir.parent.rglob("memory.db") if path.is_file()]
    assert len(databases) == 1
    assert databases[0].stat().st_mode & 0o077 == 0, "other users of the machine can read the memories"


def test_pages_of_other_sites_reach_nothing(unset_server: ServerProcess) -> None:
    """A form of another site cannot erase a user, and a name that it lets point here (DNS rebinding) reads nothing."""
    memory = {"id": "m", "text": "keeps bees", "user_id": "ana"}
    with unset_server.client() as client:
        assert client.post("/v1/long-term-memory/", json={"memories": [memory]}).status_code == 200
        for origin in (
            "https://evil.example",
            "http://localhost.evil.example",
            "http://192.0.2.7",
            "null",
            "http://[",
            "",
        ):
            headers = {"Origin": origin, "Content-Type": "text/plain"}
            assert_problem(client.post("/v1/users/ana/erase?dry_run=false", headers=headers), 403)
            assert_problem(client.post("/v1/long-term-memory/", json={"memories": []}, headers={"Origin": origin}), 403)
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "[", ""):
            for path in ("/v1/long-term-memory/m", "/v1/export", "/metrics"):
                refused = client.get(path, headers={"Host": host})
                assert_problem(refused, 403)
                assert "bees" not in refused.text
        for headers in (
            {"Host": "localhost"}, {"Host": "LOCALHOST.:8000"}, {"Host": "[::1]:8000"}, {"Host": "memory.localhost:1"},
            {"Host": "0.0.0.0:8000"}, {"Host": "192.0.2.7:8000", "Origin": "http://192.0.2.7:8000"}, {"Origin": "http://localhost:3000"},
        ):  # fmt: skip
            assert client.get("/v1/long-term-memory/m", headers=headers).json()["text"] == "keeps bees"
        assert client.get("/v1/health", headers={"Host": "evil.example"}).status_code == 200


def test_who_opens_it_on_purpose_may_name_it(tmp_path: Path) -> None:
    """Behind a proxy that authenticates, the server is called by the proxy's name."""
    environment = {"ALLOW_UNAUTHENTICATED": "true"}
    with ServerProcess(tmp_path / "data", environment=environment) as server, server.client() as client:
        headers = {"Host": "memory.example", "Origin": "https://memory.example"}
        assert client.get("/v1/long-term-memory", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--host", "0.0.0.0"], {}, "ALLOW_UNAUTHENTICATED"),
        ([], {"HOST": "0.0.0.0"}, "ALLOW_UNAUTHENTICATED"),
        (["--host", "::"], {}, "ALLOW_UNAUTHENTICATED"),
        (["--host", "192.0.2.1"], {"ALLOW_UNAUTHENTICATED": "false"}, "ALLOW_UNAUTHENTICATED"),
        ([], {"AUTH_MODE": "oauth2", "ALLOW_UNAUTHENTICATED": "true"}, "OAUTH2_ISSUER_URL"),
        ([], {"AUTH_MODE": "oauth2", "OAUTH2_ISSUER_URL": "https://issuer.example"}, "OAUTH2_AUDIENCE"),
        ([], {"OAUTH2_ISSUER_URL": "https://issuer.example"}, "AUTH_MODE"),
        ([], {"AUTH_MODE": "tokens"}, "AUTH_MODE"),
    ],
    ids=[
        "host option",
        "host setting",
        "any IPv6",
        "not allowed",
        "no issuer",
        "no audience",
        "an issuer without a mode",
        "no such mode",
    ],
)
def test_check_16_what_would_be_open_is_refused(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    """The process exits with status 1 and one sentence that names the setting to change; it does not start open."""
    commands = CommandLine(folder=tmp_path, environment=environment)
    ended = commands.run("api", "--port", str(free_port()), *arguments)
    assert ended.code == 1, ended
    assert said in ended.err
    assert "Traceback" not in ended.out + ended.err


@pytest.mark.parametrize(
    "environment",
    [
        {"DISABLE_AUTH": "true", "AUTH_MODE": "token", "ALLOW_UNAUTHENTICATED": "true"},
        {"DISABLE_AUTH": "false", "AUTH_MODE": "disabled"},
    ],
    ids=["a mode", "not disabled"],
)
def test_check_16_asking_for_authentication_wins(tmp_path: Path, environment: dict[str, str]) -> None:
    """Whatever else is set: nothing but the two probes answers without a credential, the documentation neither; the start
    says so, and every address may be bound."""
    environment = {**environment, "HOST": "0.0.0.0"}
    with ServerProcess(tmp_path / "data", environment=environment) as server, server.client() as client:
        for path in ("/docs", "/redoc", "/openapi.json", "/docs-assets/swagger-ui-bundle.js", "/v1/working-memory/"):
            assert client.get(path).status_code == 401, path
        for path in ("/v1/health", "/v1/ready"):
            assert client.get(path).status_code == 200, path
        assert "Access" in server.log
        assert "agent-memory token add" in server.log
