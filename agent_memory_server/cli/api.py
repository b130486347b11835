"""``agent-memory api``: the REST server in this process.

Ends with exit code 0 when it is told to stop, and with 1 and a sentence when it cannot start: a setting that cannot be used,
an address that is refused or taken, data that cannot be opened.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_memory_server import __version__
from agent_memory_server.cli.mcp_clients import lines_to_paste
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

EXAMPLE = Path("examples/conversation.json")
"""In the working directory when the server is started from a clone."""
FACTORY = "agent_memory_server.serving:api_from_environment"


@click.command(short_help="Run the REST server.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 lets the system choose. Default: PORT, or 8000.")
@click.option("--host", help="Address to listen on. Default: HOST, or 127.0.0.1.")
@click.option("--reload", is_flag=True, help="For development: start anew when the code changes.")
@click.option(
    "--task-backend",
    type=click.Choice(["asyncio", "docket"]),
    help="docket: with REDIS_URL, leave background work to workers that share that Redis; else do it in this process, as "
    "asyncio always does. Default: docket, or asyncio with USE_DOCKET=false.",
)
@click.option("--no-worker", is_flag=True, help="Deprecated; the same as --task-backend asyncio.")
def api(port: int | None, host: str | None, reload: bool, task_backend: str | None, no_worker: bool) -> None:
    """Run the REST server until it is told to stop (Ctrl-C or SIGTERM).

    Without authentication it listens on this machine only.
    """
    if no_worker:
        click.echo("--no-worker is deprecated; use --task-backend asyncio", err=True)
        task_backend = "asyncio"
    use_docket = None if task_backend is None else task_backend == "docket"
    settings = load_settings(port=port, host=host, use_docket=use_docket)
    settings.checked_host(settings.host)
    refuse_taken(settings.host, settings.port)
    if reload:
        _run_reloading(settings)
        return
    _run(settings)


def _run(settings: Settings) -> None:
    import structlog

    from agent_memory_server.logs import configure_logging
    from agent_memory_server.serving import serve

    configure_logging(settings.log_level)
    quieten_uvicorn(settings.log_level)
    name_settings_without_effect()
    serving = False

    def announce(app: MemoryApp, url: str) -> None:
        nonlocal serving
        serving = True
        log = structlog.stdlib.get_logger(__name__)
        log.info("serving", url=url, storage=app.storage, embedding_model=app.embedding_model, version=__version__)
        if app.local_mode and (settings.generation_model or settings.fast_model):
            log.warning(
                "a model is named, but it cannot be asked: this is local mode",
                missing="OPENAI_API_KEY, ANTHROPIC_API_KEY, or the base URL of an endpoint",
            )
        click.echo(banner(settings, app, url))
        sys.stdout.flush()

    end_quietly_until(lambda: serving)
    run_on_fast_loop(serve(settings, announce=announce))


def _run_reloading(settings: Settings) -> None:
    """The process that is started anew reads its settings from the environment, so the options go there."""
    import uvicorn

    os.environ["HOST"], os.environ["PORT"] = settings.host, str(settings.port)
    os.environ["USE_DOCKET"] = str(settings.use_docket)
    uvicorn.run(FACTORY, factory=True, host=settings.host, port=settings.port, reload=True, access_log=False)


def banner(settings: Settings, app: MemoryApp, url: str) -> str:
    """What a newcomer wants to know: where it listens, where the data lives, which models it uses, what to try next."""
    lines = [
        "",
        "  Agent Memory Server",
        "",
        *([f"  Look   {url} in a browser shows what is remembered and why"] if settings.console else ()),
        f"  API    {url}",
        *([f"  MCP    {url}/mcp"] if settings.mcp_in_api else ()),
        f"  Docs   {url}/docs{'' if app.docs_public else ' (with a credential; DOCS_PUBLIC=true shows it to everybody)'}",
        f"  Data   {app.storage}",
        f"  Model  {app.embedding_model} finds memories by meaning",
        *_access(settings),
        "",
    ]
    if app.local_mode:
        lines += [
            "  Local mode: no model key was found. Everything runs on this machine, by the bundled model and by rules, and",
            "  no text leaves it. OPENAI_API_KEY or ANTHROPIC_API_KEY lets a language model extract facts and summarize.",
            "",
        ]
    if settings.has_workers:
        lines += [
            "  Background work waits for workers that share REDIS_URL; start one: agent-memory task-worker",
            "",
        ]
    if not settings.wants_authentication and settings.allow_unauthenticated:
        lines += ["  ALLOW_UNAUTHENTICATED is set: whoever reaches this address can read and change every memory.", ""]
    example = " import-conversation examples/conversation.json --url " + url if EXAMPLE.is_file() else " --help"
    lines += [
        "  Try this in another terminal:",
        f"    curl {url}/v1/ready",
        f"    {_command()}{example}",
        "",
        *(lines_to_paste(settings, url) if settings.mcp_in_api else ()),
        "  Stop with Ctrl-C.",
        "",
    ]
    return "\n".join(lines)


def _access(settings: Settings) -> list[str]:
    """Who may use the server, and how to become one of them."""
    from agent_memory_server.config import AuthMode

    mode = settings.authentication_mode
    if mode is AuthMode.DISABLED:
        return ["  Access open, without authentication (AUTH_MODE=token asks for access tokens)"]
    make = f'make one: {_command()} token add -d "my laptop"'
    if mode is AuthMode.TOKEN:
        return [f"  Access by access token; {make}"]
    lines = [f"  Access by tokens of {settings.oauth2_issuer_url}, or by access token; {make}"]
    if settings.oauth2_user_claim is None:
        lines.append("         OAUTH2_USER_CLAIM is not set: a token of the issuer reaches every user of its tenant")
    return lines


def _command() -> str:
    """How the next command is typed here: by its name where a shell would find this installation's, else by its path, as
    after ``make run``, whose virtual environment is not active in another terminal."""
    installed = Path(sysconfig.get_path("scripts")) / "agent-memory"
    found = shutil.which("agent-memory")
    if not installed.exists() or (found is not None and Path(found).resolve() == installed.resolve()):
        return "agent-memory"
    with contextlib.suppress(ValueError):
        installed = installed.relative_to(Path.cwd())
    return shlex.quote(str(installed))
