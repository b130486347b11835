"""Imports what a server and a command need, in the process from which others are forked (``tests/forked_process.py``)."""

import importlib
import os

# As the command does before it imports numpy.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[name] = "1"
for module in (
    "uvicorn.protocols.websockets.auto",
    "uvloop",
    "agent_memory_server.api.http_protocol",
    "agent_memory_server.cli",
    "agent_memory_server.docket_tasks",
    "agent_memory_server.serving",
    "agent_memory_server.stores.redis",
):
    importlib.import_module(module)
