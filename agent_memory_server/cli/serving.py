"""What the commands that serve have in common: how they begin, which loop they run on, and how they end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from agent_memory_server.errors import ConfigurationError


def quieten_uvicorn(log_level: str) -> None:
    """Its five lines about every start and stop say less than a banner and one line of ours."""
    if log_level == "INFO":
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def end_quietly_until(serving: Callable[[], bool]) -> None:
    """A signal to stop ends the process with code 0 while it starts; afterwards the server that listens takes care of it."""

    def told_to_stop(_: int, __: FrameType | None) -> None:
        # While it serves, uvicorn listens for these signals; it raises them once more when it has stopped, and there
        # is nothing left to interrupt then: closing the store goes on.
        if not serving():
            raise SystemExit(0)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, told_to_stop)


def run_on_fast_loop(main: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one (not on Windows)."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def refuse_taken(host: str, port: int, *, setting: str = "PORT") -> None:
    """Bind once and let go, so that a taken port is a sentence before anything is opened."""
    if port == 0:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As uvicorn binds: an address whose last connections are still timing out is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = os.strerror(error.errno) if isinstance(error.errno, int) and error.errno > 0 else str(error)
        raise ConfigurationError(
            f"cannot listen on {host} port {port} ({reason}). Choose another with --port or {setting}; 0 lets the system choose."
        ) from error


def name_settings_without_effect() -> None:
    """One warning for each setting of the reference server that somebody set and that does nothing here."""
    import structlog
    from dotenv import dotenv_values

    from agent_memory_server.config import WITHOUT_EFFECT

    log = structlog.stdlib.get_logger(__name__)
    given = {name.upper() for name, value in {**dotenv_values(".env"), **os.environ}.items() if value}
    for name in sorted(given & WITHOUT_EFFECT.keys()):
        log.warning("this setting has no effect", setting=name, reason=WITHOUT_EFFECT[name])
