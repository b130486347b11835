"""``agent-memory mcp``: the MCP server, on stdin and stdout or over HTTP.

Ends with exit code 0 when its client goes or it is told to stop, and with 1 and a sentence when it cannot start.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from agent_memory_server import __version__
from agent_memory_server.cli.running import load_settings
from agent_memory_server.cli.serving import (
    end_quietly_until,
    name_settings_without_effect,
    quieten_uvicorn,
    refuse_taken,
    run_on_fast_loop,
)

if TYPE_CHECKING:
    from agent_memory_server.app import MemoryApp
    from agent_memory_server.config import Settings


@click.command(short_help="Run the MCP server.")
@click.option("--mode", type=click.Choice(["stdio", "sse", "streamable-http"]), default="stdio", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="For HTTP; 0 lets the system choose. Default: MCP_PORT, or 9000.",
)
@click.option(
    "--task-backend",
    type=click.Choice(["asyncio", "docket"]),
    default="asyncio",
    show_default=True,
    help="asyncio: do the background work in this process. docket: with REDIS_URL, leave it to workers that share that Redis.",
)
def mcp(mode: str, port: int | None, task_backend: str) -> None:
    """Give agents memory by the Model Context Protocol, on the same data as everything else here.

    stdio is for clients that start the server themselves (Claude Desktop, Claude Code, Cursor): they run this command. The
    other two listen on MCP_HOST; streamable-http is the current transport, at /mcp, and sse the older one, at /sse.
    `agent-memory api` serves /mcp as well.
    """
    settings = load_settings(mcp_port=port, use_docket=task_backend == "docket")
    if mode != "stdio":
        settings.checked_host(settings.mcp_host, setting="MCP_HOST")
        refuse_taken(settings.mcp_host, settings.mcp_port, setting="MCP_PORT")
    _run(settings, mode)


def _run(settings: Settings, mode: str) -> None:
    from agent_memory_server.logs import configure_logging

    configure_logging(settings.log_level)
    quieten_uvicorn(settings.log_level)
    name_settings_without_effect()
    if mode == "stdio":
        from agent_memory_server.mcp.running import serve_stdio

        if sys.stdin.isatty():
            click.echo(
                "Waiting for an MCP client on stdin; Ctrl-D ends this. Clients start this command themselves.", err=True
            )
        run_on_fast_loop(serve_stdio(settings))
        return
    from agent_memory_server.serving import serve_mcp

    serving = False

    def announce(app: MemoryApp, url: str) -> None:
        nonlocal serving
        serving = True
        path = "sse" if mode == "sse" else "mcp"
        click.echo(f"Agent Memory Server {__version__}: MCP at {url}/{path}, data in {app.storage}")
        sys.stdout.flush()

    end_quietly_until(lambda: serving)
    run_on_fast_loop(serve_mcp(settings, event_streams=mode == "sse", announce=announce))
