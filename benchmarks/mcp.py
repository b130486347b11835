"""``python -m benchmarks.mcp``: what a tool call costs beside the service call that it makes, and how long stdio takes to start.

Everything runs in this process on the embedded engine, one call after the other. ``service``: the service and the answer as
JSON. ``tool``: the same through the tool, with its arguments checked. ``http``: a whole message through the endpoint as a
server process gets it, without a socket, in the protocol with a handshake and in the newest. Times are medians; processor
time counts what other programs on the machine do not take away.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import structlog
from rich.console import Console
from rich.table import Table
from starlette.types import Message

from agent_memory_server.api.answers import encoded
from agent_memory_server.api.dependencies import Afterwards
from agent_memory_server.api.schemas.memories import memory_wire, page_wire
from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ANONYMOUS, Scope
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.server import answered
from agent_memory_server.mcp.tools import TOOL_SETS
from agent_memory_server.testing.running import RunningApp, running_app
from benchmarks.processes import machine

TARGET_MS = 2.0
WARM_UP = 30
_TOOLS = {tool.name: tool for tool in TOOL_SETS["full"]}
_ACCEPTED = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
_NEWEST = "2026-07-28"

Call = Callable[[int], Awaitable[object]]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--calls", default=400, show_default=True, help="Calls of each kind.")
@click.option("--memories", default=2_000, show_default=True, help="Memories that are searched.")
@click.option("--starts", default=5, show_default=True, help="Starts of the command over stdio.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, calls: int, memories: int, starts: int, json_file: Path | None) -> None:
    """Overhead of MCP. Data go to temporary folders."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    found = {"calls": asyncio.run(_measured(calls, memories)), "stdio_start_s": [_started() for _ in range(starts)]}
    _show(found, Console())
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine(), **found}, indent=2))


async def _measured(calls: int, memories: int) -> dict[str, dict[str, dict[str, float]]]:
    async with running_app(background=False, index_all_messages_in_long_term_memory=False) as running:
        app = running.app
        await _fill(app, memories)
        call = ToolCall(app=app, caller=ANONYMOUS, afterwards=Afterwards())
        kinds: dict[str, tuple[str, dict[str, Any], Call]] = {
            "search": (
                "search_long_term_memory",
                {"text": "what does user 3 drink?", "user_id": "u3"},
                lambda _: _search(app),
            ),
            "get": ("get_long_term_memory", {"memory_id": "m3", "user_id": "u3"}, lambda _: _get(app)),
            "clock": ("get_current_datetime", {}, lambda _: _nothing()),
        }
        figures: dict[str, dict[str, dict[str, float]]] = {}
        for name, (tool, arguments, service) in kinds.items():
            ways = {
                "service": service,
                "tool": _through_tool(call, tool, arguments),
                "http": _over_http(running, tool, arguments, newest=False),
                "http, newest": _over_http(running, tool, arguments, newest=True),
            }
            figures[name] = await _side_by_side(ways, calls)
        await call.afterwards.finish()
        return figures


async def _side_by_side(ways: dict[str, Call], calls: int) -> dict[str, dict[str, float]]:
    """In turns, so that a moment in which the machine is busy is every way's."""
    wall: dict[str, list[float]] = {way: [] for way in ways}
    processor: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(calls + WARM_UP):
        for way, call in ways.items():
            began, used = time.perf_counter(), time.process_time()
            await call(number)
            if number >= WARM_UP:
                wall[way].append(1000 * (time.perf_counter() - began))
                processor[way].append(1000 * (time.process_time() - used))
    return {
        way: {"wall_ms": statistics.median(wall[way]), "processor_ms": statistics.median(processor[way])}
        for way in ways
    }


async def _fill(app: MemoryApp, count: int) -> None:
    at = app.now()
    for start in range(0, count, 500):
        memories = [
            Memory(
                id=f"m{number}",
                scope=Scope("default", None, f"u{number % 20}"),
                text=f"User {number % 20} drinks tea number {number} in the morning",
                created_at=at,
                updated_at=at,
                last_accessed=at,
            )
            for number in range(start, min(count, start + 500))
        ]
        await app.memories.create(ANONYMOUS, memories, deduplicate=False)


async def _search(app: MemoryApp) -> bytes:
    query = SearchQuery(text="what does user 3 drink?", mode=SearchMode.HYBRID, recency=RecencyWeights())
    criteria = MemoryFilter(selector=ANONYMOUS.selector(None, "u3"))
    return encoded(page_wire(await app.optimized_search.search(criteria, query)))


async def _get(app: MemoryApp) -> bytes:
    return encoded(memory_wire(await app.memories.get(ANONYMOUS, memory_id="m3", user_id="u3")))


async def _nothing() -> None:
    return None


def _through_tool(call: ToolCall, tool: str, arguments: dict[str, Any]) -> Call:
    async def once(_: int) -> bytes:
        return encoded(await answered(_TOOLS[tool], call, arguments))

    return once


def _over_http(running: RunningApp, tool: str, arguments: dict[str, Any], *, newest: bool) -> Call:
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    headers = {**_ACCEPTED, "mcp-protocol-version": _NEWEST if newest else "2025-11-25"}
    if newest:
        headers |= {"mcp-method": "tools/call", "mcp-name": tool}
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": _NEWEST,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "headers": [(b"host", b"agent-memory"), *((k.encode(), v.encode()) for k, v in headers.items())],
    }

    async def once(_: int) -> bytes:
        """The endpoint's whole work for one message, from its bytes to the answer's."""
        answer = bytearray()
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answer.extend(message.get("body", b""))

        await running.api({**scope}, receive, send)
        assert b'"isError":false' in answer, answer
        return bytes(answer)

    return once


def _started() -> float:
    """Seconds from the start of ``agent-memory mcp`` to its greeting; the first start makes the store."""
    command = Path(sysconfig.get_path("scripts")) / "agent-memory"
    greeting = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "b", "version": "1"}},
    }  # fmt: skip
    folder = tempfile.mkdtemp(prefix="agent-memory-")
    environment = {"PATH": os.environ["PATH"], "HOME": folder, "DATA_DIR": folder}
    try:
        began = time.perf_counter()
        with subprocess.Popen(
            [str(command), "mcp"],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(greeting).encode() + b"\n")
            process.stdin.flush()
            assert b'"protocolVersion"' in process.stdout.readline()
            took = time.perf_counter() - began
            process.stdin.close()
            process.wait(30)
        return took
    finally:
        shutil.rmtree(folder)


def _show(found: dict[str, Any], console: Console) -> None:
    table = Table(
        title=f"A tool call beside its service call (target: less than {TARGET_MS:g} ms more)", title_justify="left"
    )
    for heading in ("call", "way", "wall, ms", "processor, ms", "more than the service, ms"):
        table.add_column(heading, justify="left" if heading in ("call", "way") else "right")
    for name, ways in found["calls"].items():
        alone = ways["service"]
        for way, figures in ways.items():
            more = "" if way == "service" else f"{figures['wall_ms'] - alone['wall_ms']:.2f}"
            table.add_row(name, way, f"{figures['wall_ms']:.2f}", f"{figures['processor_ms']:.2f}", more)
    console.print(table)
    if found["stdio_start_s"]:
        console.print(
            f"agent-memory mcp over stdio: greets after {statistics.median(found['stdio_start_s']):.2f} s "
            f"(median of {len(found['stdio_start_s'])} starts on an empty store; target: 2 s)"
        )


if __name__ == "__main__":
    main()
