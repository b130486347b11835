"""The command ``agent-memory``: one file a command.

At import only click and the standard library are loaded, so that ``--help`` answers at once; each command imports what it
needs when it runs. An expected failure is one sentence on stderr and exit code 1, a wrong usage exit code 2.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from agent_memory_server.cli.api import api
from agent_memory_server.cli.copy import copy
from agent_memory_server.cli.delete import delete
from agent_memory_server.cli.doctor import doctor
from agent_memory_server.cli.erase import erase, purge, verify_receipt
from agent_memory_server.cli.export import export, import_export
from agent_memory_server.cli.history import history
from agent_memory_server.cli.import_conversation import import_conversation
from agent_memory_server.cli.mcp import mcp
from agent_memory_server.cli.migrate_memories import migrate_memories
from agent_memory_server.cli.migrate_working_memory import migrate_working_memory
from agent_memory_server.cli.operations import operations, undo
from agent_memory_server.cli.rebuild_index import rebuild_index
from agent_memory_server.cli.schedule_task import schedule_task
from agent_memory_server.cli.search import search
from agent_memory_server.cli.task_worker import task_worker
from agent_memory_server.cli.tasks import tasks
from agent_memory_server.cli.token import token
from agent_memory_server.cli.version import version
from agent_memory_server.errors import ConfigurationError, InvalidInput, MemoryServerError

SPELLINGS = {"rebuild_index": "rebuild-index"}
"""Names that documentation of the reference server used beside the real ones."""
_CAUSE_LENGTH_MAX = 300


class AgentMemory(click.Group):
    """The group: knows the other spellings, and turns deliberate failures into a sentence."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, SPELLINGS.get(cmd_name, cmd_name))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MemoryServerError as error:
            raise click.ClickException(_sentence(error)) from error


def _sentence(error: MemoryServerError) -> str:
    """What failed, for whoever runs the command: they may read what a client of the API must not, such as an address."""
    cause = error.__cause__
    if isinstance(error, ConfigurationError | InvalidInput) or cause is None or isinstance(cause, MemoryServerError):
        return error.detail  # it says all there is, and a value that was refused may be a secret
    said = " ".join(str(cause).split())[:_CAUSE_LENGTH_MAX]
    named = f"{error.detail} ({type(cause).__name__}: {said})" if said else f"{error.detail} ({type(cause).__name__})"
    if type(error) is not MemoryServerError:
        return named
    frames = traceback.extract_tb(cause.__traceback__)
    place = f" It came from {Path(frames[-1].filename).name}, line {frames[-1].lineno}." if frames else ""
    return (
        f"{named}{place} That is a fault of the server: please report it. Commands that were stopped can be run again."
    )


@click.group(cls=AgentMemory, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """A memory server for AI agents: working memory and long-term memory, offline by default.

    Without any setting, data lives in a file in your user data folder; DATA_DIR or STORAGE_URL changes that. The commands
    that read and write memories work on the same data beside a running server.
    """


for command in (
    api,
    mcp,
    search,
    doctor,
    delete,
    history,
    operations,
    undo,
    erase,
    verify_receipt,
    purge,
    import_conversation,
    export,
    import_export,
    task_worker,
    schedule_task,
    tasks,
    rebuild_index,
    migrate_memories,
    migrate_working_memory,
    copy,
    token,
    version,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point of ``agent-memory``; without ``arguments`` those of the process."""
    # Must be set before numpy is loaded: our matrices are small, and more threads only fight over the processor.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    cli(arguments, prog_name="agent-memory")
