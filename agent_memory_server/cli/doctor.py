"""``agent-memory doctor``: what is wrong with this installation, and the command that mends it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agent_memory_server.cli.running import load_settings, opened_app
from agent_memory_server.errors import MemoryServerError

if TYPE_CHECKING:
    from agent_memory_server.config import Settings
    from agent_memory_server.services.doctor import Finding

_SIGNS = {"good": ("ok", "green"), "warning": ("!!", "yellow"), "bad": ("XX", "red")}


@click.command(short_help="Say what is wrong, and what mends it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Look at the store, its disk, the index and the model, background work, authentication and settings. Changes nothing.

    Exit code 1 when something has to be mended.
    """
    findings = asyncio.run(_examined())
    if as_json:
        click.echo(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        for each in findings:
            sign, colour = _SIGNS[each.verdict.value]
            click.echo(f"{click.style(sign, fg=colour)}  {each.name}: {each.detail}")
            if each.remedy is not None:
                click.echo(f"      → {each.remedy}")
    if any(each.verdict.value == "bad" for each in findings):
        raise SystemExit(1)


async def _examined() -> Sequence[Finding]:
    from agent_memory_server.services.doctor import Finding, Verdict

    settings = load_settings()
    found = [*_address(settings), *_without_effect()]
    try:
        async with opened_app() as app:
            model = "local mode: rules and the bundled model, nothing leaves this machine"
            if not app.local_mode:
                model = "a language model is configured"
            about = [
                Finding(name="data", verdict=Verdict.GOOD, detail=app.storage),
                Finding(name="language-model", verdict=Verdict.GOOD, detail=model),
            ]
            return [*about, *await app.doctor.examine(), *found]
    except MemoryServerError as error:
        # It does not even open: that sentence says what to do.
        return [Finding(name="start", verdict=Verdict.BAD, detail=error.detail), *found]


def _address(settings: Settings) -> Sequence[Finding]:
    from agent_memory_server.config import is_loopback
    from agent_memory_server.services.doctor import Finding, Verdict

    if settings.wants_authentication or is_loopback(settings.host):
        return ()
    allowed = settings.allow_unauthenticated
    return [
        Finding(
            name="address",
            verdict=Verdict.WARNING if allowed else Verdict.BAD,
            detail=f"HOST={settings.host} without authentication: "
            + (
                "everybody who reaches it can read and change every memory"
                if allowed
                else "the server refuses to start"
            ),
            remedy="AUTH_MODE=token and agent-memory token add, or HOST=127.0.0.1",
        )
    ]


def _without_effect() -> Sequence[Finding]:
    """Settings that somebody set and that do nothing."""
    from dotenv import dotenv_values

    from agent_memory_server.config import WITHOUT_EFFECT
    from agent_memory_server.services.doctor import Finding, Verdict

    given = {name.upper() for name, value in {**dotenv_values(".env"), **os.environ}.items() if value}
    return [
        Finding(
            name=name,
            verdict=Verdict.WARNING,
            detail="is set and has no effect",
            remedy=f"unset it: {WITHOUT_EFFECT[name]}",
        )
        for name in sorted(given & WITHOUT_EFFECT.keys())
    ]
