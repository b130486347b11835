"""``agent-memory import-conversation``: a conversation file into working memory, whose messages become searchable.

Importing the same file again changes nothing: message ids depend on the file alone, and appending is idempotent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from agent_memory_server.cli.running import OPERATOR, opened_app, parsed
from agent_memory_server.importers.conversations import FileMessage, FileSession, Owner, read_sessions

if TYPE_CHECKING:
    from agent_memory_server.app import MemoryApp

BATCH_SIZE_MAX = 1_000
"""Messages an append; the API's own limit."""


class Destination(Protocol):
    """Where messages go: a running server, or the store itself."""

    async def append(self, session_id: str, messages: Sequence[FileMessage], owner: Owner) -> tuple[int, int]:
        """(appended, duplicates)"""
        ...


@dataclass(slots=True, kw_only=True)
class Report:
    sessions: int = 0
    appended: int = 0
    duplicates: int = 0
    blank: int = 0


@click.command("import-conversation", short_help="Load a conversation file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--session-id", help="Session id; for LoCoMo files the prefix of the ids. Default: the file's own name.")
@click.option("-u", "--user-id", help="The user whose memories these become.")
@click.option("-n", "--namespace", help="The namespace that they go to.")
@click.option(
    "--conversation", help="Which of several conversations: its sample id, or its number from 1. Default: all."
)
@click.option(
    "--url", help="A running server, as in http://127.0.0.1:8000. Default: straight into the configured store."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_conversation(
    file: Path,
    session_id: str | None,
    user_id: str | None,
    namespace: str | None,
    conversation: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Load the conversation in FILE.

    FILE is a JSON list of messages {role, content, created_at?, name?, id?}, or a file in the LoCoMo format. Importing the
    same file again changes nothing.
    """
    for option, value in (("--namespace", namespace), ("--user-id", user_id), ("--session-id", session_id)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{option} must not be blank")
    sessions = read_sessions(file, session_id=session_id, conversation=conversation)
    owner = Owner(namespace=namespace, user_id=user_id)
    report = asyncio.run(_to_server(url, sessions, owner, as_json) if url else _to_store(sessions, owner, as_json))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "sessions": [each.session_id for each in sessions],
                    "appended": report.appended,
                    "duplicates": report.duplicates,
                    "blank": report.blank,
                }
            )
        )
        return
    known = f" {report.duplicates} were there already." if report.duplicates else ""
    blank = f" {report.blank} without text were left out." if report.blank else ""
    click.echo(f"Imported {report.appended} messages into {report.sessions} sessions.{known}{blank}")


async def _to_server(url: str, sessions: Sequence[FileSession], owner: Owner, quiet: bool) -> Report:
    from agent_memory_server.cli.server_client import ServerClient

    return await import_into(ServerClient(url), sessions, owner, quiet=quiet)


async def _to_store(sessions: Sequence[FileSession], owner: Owner, quiet: bool) -> Report:
    async with opened_app() as app:
        report = await import_into(StoreDestination(app), sessions, owner, quiet=quiet)
        # So that what was imported can be found when the command ends, whether a server runs or not.
        await app.pending_work.run_due()
        return report


async def import_into(
    destination: Destination, sessions: Sequence[FileSession], owner: Owner, *, quiet: bool = True
) -> Report:
    """Append every session in portions. Stopped midway, the next import goes on where this one ended."""
    from agent_memory_server.cli.progress import counting

    report = Report(blank=sum(session.blank for session in sessions))
    total = sum(len(session.messages) for session in sessions)
    with counting("Importing messages", total=total, quiet=quiet) as tell:
        for session in sessions:
            report.sessions += bool(session.messages)
            for start in range(0, len(session.messages), BATCH_SIZE_MAX):
                batch = session.messages[start : start + BATCH_SIZE_MAX]
                appended, duplicates = await destination.append(session.session_id, batch, owner)
                report.appended += appended
                report.duplicates += duplicates
                tell(report.appended + report.duplicates)
    return report


class StoreDestination:
    """Writes through the services, with the checks that the API makes."""

    def __init__(self, app: MemoryApp) -> None:
        self._app = app

    async def append(self, session_id: str, messages: Sequence[FileMessage], owner: Owner) -> tuple[int, int]:
        from agent_memory_server.api.schemas.working_memory import AppendMessagesRequest, to_message
        from agent_memory_server.errors import InvalidInput

        body = parsed(
            AppendMessagesRequest,
            messages=[asdict(each) for each in messages],
            namespace=owner.namespace,
            user_id=owner.user_id,
        )
        if self._app.require_message_timestamps and any(each.created_at is None for each in messages):
            raise InvalidInput("REQUIRE_MESSAGE_TIMESTAMPS is set, and a message of the file has no created_at")
        at = self._app.now()
        appendable = [to_message(each, at=at, new_id=self._app.new_id) for each in body.messages]
        outcome = await self._app.working_memory.append(
            OPERATOR,
            session_id=session_id,
            messages=appendable,
            namespace=body.namespace,
            user_id=body.user_id,
        )
        return outcome.appended, outcome.duplicates
