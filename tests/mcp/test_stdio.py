"""``agent-memory mcp`` on stdin and stdout: nothing but the protocol, beside whatever else runs, and an orderly end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import pytest

from agent_memory_server.app import open_app
from agent_memory_server.domain.identity import Permission
from tests.cli.commands import CommandLine
from tests.mcp.messages import message, tool_call
from tests.server_process import ServerProcess, bare_environment, command
from tests.setting_proofs.running import settings_of

ENDS_WITHIN_S = 30
INITIALIZE = message(
    "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "test", "version": "1"}
)


class Piped:
    """The command with pipes, spoken to by hand: one line is one message."""

    def __init__(self, folder: Path, **environment: str) -> None:
        told = {"DATA_DIR": str(folder / "data"), "EXTRACTION_DEBOUNCE_SECONDS": "0", **environment}
        self.lines: list[str] = []
        self._log = folder / "stderr"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [command(), "mcp"],
                env=bare_environment(folder, told),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Piped:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and read the next line."""
        self.send(json.dumps(body))
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the process ended:\n{self.log[-3000:]}"
        self.lines.append(line)
        return json.loads(line)

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def greet(self) -> dict[str, Any]:
        greeting = self.ask(INITIALIZE)
        self.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        return greeting["result"]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = self.ask(tool_call(tool, arguments))["result"]
        assert not result["isError"], result
        return result["structuredContent"]

    def end(self) -> int:
        """Close stdin, as a client that goes does; returns the exit status. What else was written is kept."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(ENDS_WITHIN_S)
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        return status


def test_stdout_holds_nothing_but_the_protocol(tmp_path: Path) -> None:
    """Also with DEBUG logging, settings that are warned of, bad lines, failing tools and background work; logs quote nobody."""
    secret = "canary-of-somebody"
    with Piped(tmp_path, LOG_LEVEL="DEBUG", SLOW_MODEL="x") as agent:
        agent.greet()
        agent.call("set_working_memory", session_id="s", messages=[{"role": "user", "content": f"I am {secret}"}])
        agent.call("create_long_term_memories", memories=[{"text": f"Ana is {secret}"}])
        agent.call("search_long_term_memory", text=secret)
        assert agent.ask(tool_call("get_long_term_memory", {"memory_id": "absent"}))["result"]["isError"]
        assert agent.ask(tool_call("nonsense", {"text": secret}))["error"]["code"] == -32602
        agent.send(f"this is no message: {secret}")
        agent.send(json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": [secret]}}))
        assert agent.end() == 0
        for line in agent.lines:
            assert json.loads(line)["jsonrpc"] == "2.0", line
        assert '"SLOW_MODEL"' in agent.log
        assert secret not in agent.log


def test_it_works_beside_a_running_api_on_the_same_data(tmp_path: Path) -> None:
    """What one stores the other finds at once, by id and by words, in both directions."""
    with ServerProcess(tmp_path / "data") as server, Piped(tmp_path) as agent, server.client() as client:
        agent.greet()
        (memory_id,) = agent.call("create_long_term_memories", memories=[{"text": "Ana likes tea"}])["ids"]
        assert client.get(f"/v1/long-term-memory/{memory_id}").json()["text"] == "Ana likes tea"
        record = {"id": "rest", "text": "Bob likes coffee"}
        assert client.post("/v1/long-term-memory/", json={"memories": [record]}).status_code == 200
        found = agent.call("search_long_term_memory", text="coffee")["memories"]
        assert found[0]["id"] == "rest"
        assert agent.end() == 0
        assert httpx.get(f"{server.url}/v1/ready").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    """Although a thread waits for stdin: exit code 0 and a closed store."""
    with Piped(tmp_path) as agent:
        agent.greet()
        assert (tmp_path / "data" / "memory.db-wal").exists()
        agent.process.send_signal(number)
        assert agent.process.wait(ENDS_WITHIN_S) == 0
    assert not (tmp_path / "data" / "memory.db-wal").exists()


def test_a_token_says_who_calls(tmp_path: Path) -> None:
    """MCP_TOKEN: its scope and permissions hold; removed, it stops working in the running process; a wrong one is refused."""

    async def with_store(action: str, token: str = "") -> str:
        async with open_app(settings_of(tmp_path)) as app:
            if action == "add":
                made, _ = await app.access_tokens.add(
                    description="agent", actor="test", user_id="ana", permissions=[Permission.READ]
                )
                return made
            (kept,) = await app.access_tokens.list()
            await app.access_tokens.remove(kept, actor="test")
            return token

    token = asyncio.run(with_store("add"))
    with Piped(tmp_path, AUTH_MODE="token", MCP_TOKEN=token) as agent:
        agent.greet()
        agent.call("search_long_term_memory", text="tea")
        refused = agent.ask(tool_call("create_long_term_memories", {"memories": [{"text": "x"}]}))["result"]
        assert "needs the permission write" in refused["content"][0]["text"]
        asyncio.run(with_store("remove"))
        refused = agent.ask(tool_call("search_long_term_memory", {"text": "tea"}))["result"]
        assert refused["isError"]
        assert "Not authenticated" in refused["content"][0]["text"]
    outcome = CommandLine(folder=tmp_path, environment={"AUTH_MODE": "token", "MCP_TOKEN": token}).run("mcp")
    assert (outcome.code, outcome.out) == (1, "")
    assert "MCP_TOKEN is not valid" in outcome.err
    assert token not in outcome.err


def test_a_start_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    """On stderr, with exit code 1, and nothing on stdout."""
    for environment, said in (
        ({"MCP_TOOLS": "many"}, "MCP_TOOLS"),
        ({"EMBEDDING_MODEL": "local:/nowhere"}, "nowhere"),
    ):
        outcome = CommandLine(folder=tmp_path, environment=environment).run("mcp")
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.splitlines()[-1].startswith("Error: ")
        assert said in outcome.err


def test_the_instructions_and_the_name_come_with_the_greeting(tmp_path: Path) -> None:
    """And the small tool set when it is chosen."""
    with Piped(tmp_path, MCP_TOOLS="simple") as agent:
        greeting = agent.greet()
        assert greeting["serverInfo"]["name"] == "agent-memory-server"
        assert "`recall`" in greeting["instructions"]
        assert greeting["capabilities"]["tools"] is not None
        listed = agent.ask(message("tools/list"))["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["remember", "recall", "forget"]
        assert agent.end() == 0
