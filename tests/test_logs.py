"""What an operator reads while something is away: one line, and a traceback only for what nobody expected."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_LOGGED = """
import logging
from agent_memory_server.errors import StoreUnavailable
from agent_memory_server.logs import configure_logging

configure_logging("INFO")
for error in (ConnectionError("refused"), StoreUnavailable("away"), ValueError("a fault")):
    try:
        raise error
    except Exception:
        logging.getLogger("docket.worker").exception("Error in scheduler loop")
logging.getLogger("docket.strikelist").warning("Redis is unavailable, sleeping for 1 second...")
"""


def test_what_is_waited_for_is_told_without_a_traceback() -> None:
    """Docket's errors about what is away are named; a fault keeps its traceback; nothing repeats each second."""
    printed = subprocess.run([sys.executable, "-c", _LOGGED], capture_output=True, text=True, check=True).stderr
    refused, away, fault = (dict[str, Any](json.loads(line)) for line in printed.splitlines())
    assert (refused["error"], away["error"]) == ("ConnectionError", "StoreUnavailable")
    assert "exception" not in refused
    assert "exception" not in away
    assert "ValueError: a fault" in fault["exception"]
