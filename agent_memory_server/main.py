"""``python -m agent_memory_server.main [--port N]``: the same as ``agent-memory api``."""

from __future__ import annotations

import sys

from agent_memory_server.cli import main

if __name__ == "__main__":
    main(["api", *sys.argv[1:]])
