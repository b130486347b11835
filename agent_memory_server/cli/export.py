"""``agent-memory export`` and ``agent-memory import``: everything that is held, taken along as a file and taken in again."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import BinaryIO

import click

from agent_memory_server.cli.running import OPERATOR, opened_app
from agent_memory_server.errors import InvalidInput

ELSEWHERE = ("mem0", "zep", "langgraph", "mcp-memory", "markdown", "chatgpt", "claude")
KEPT = "Kept: something else is there under the same id. Delete it first if the file's is the right one."


@click.command(short_help="Write everything that is held as lines of JSON.")
@click.option("-u", "--user-id", help="Only what is held on this user.")
@click.option("-n", "--namespace", help="Only this namespace.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write. Default: stdout.")
@click.option("--vectors", is_flag=True, help="Vectors too: larger by far.")
@click.option("--no-history", is_flag=True, help="Without the revisions of memories.")
def export(user_id: str | None, namespace: str | None, output: Path | None, vectors: bool, no_history: bool) -> None:
    """Export memories with their history, sessions with archived messages, and summary views as NDJSON.

    The last line counts what came before it. agent-memory import takes the file in, on any engine.
    """
    _refuse_blank(user_id, namespace)
    asyncio.run(_export(user_id, namespace, output, vectors=vectors, history=not no_history))


@click.command("import", short_help="Take in an export, or what another system holds.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "form",
    type=click.Choice(["agent-memory", *ELSEWHERE]),
    default="agent-memory",
    show_default=True,
    help="Where the file is from.",
)
@click.option("-u", "--user-id", help="The user whose they become; for files from elsewhere.")
@click.option("-n", "--namespace", help="The namespace that they go to; for files from elsewhere.")
@click.option("--dry-run", is_flag=True, help="Check the file and count; change nothing.")
def import_export(file: Path, form: str, user_id: str | None, namespace: str | None, dry_run: bool) -> None:
    """Take in FILE, which agent-memory export (or the API) wrote, or which another system did.

    An export is checked as a whole before anything is written. What is there already is left as it is, so that it can be run
    again, and goes on where it was when it was stopped.

    From elsewhere: mem0 exports, episodes and facts of Zep and Graphiti, items of a LangGraph store, memory.json of the MCP
    reference memory server, Markdown notes (a file or a folder), and conversations.json of ChatGPT and Claude. What comes from
    there is marked as imported and trusted less than what users say here.
    """
    _refuse_blank(user_id, namespace)
    if form == "agent-memory":
        if user_id is not None or namespace is not None:
            raise click.UsageError("an export says itself whose its records are: leave --user-id and --namespace out")
        asyncio.run(_import(file, dry_run=dry_run))
        return
    asyncio.run(_import_elsewhere(file, form, user_id, namespace, dry_run=dry_run))


def _refuse_blank(user_id: str | None, namespace: str | None) -> None:
    for option, value in (("--namespace", namespace), ("--user-id", user_id)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{option} must not be blank")


async def _export(
    user_id: str | None, namespace: str | None, output: Path | None, *, vectors: bool, history: bool
) -> None:
    from agent_memory_server.api.answers import encoded_lines
    from agent_memory_server.services.exporting import ExportOptions

    async with opened_app() as app:
        selector = OPERATOR.selector(namespace, user_id)
        options = ExportOptions(vectors=vectors, history=history)
        counts: dict[str, int] = {}
        with _writing(output) as stream:
            async for portion in app.exporting.lines(selector, options, reach=OPERATOR.selector()):
                stream.write(encoded_lines(portion))
                counts = portion[-1].get("counts", counts) if portion else counts
    if output is not None:
        click.echo(f"In {output}: {_lines(counts)}.")


@contextlib.contextmanager
def _writing(output: Path | None) -> Generator[BinaryIO]:
    """The file under another name until it is whole, so that a cut one is never taken for an export."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = output.with_name(f"{output.name}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
        partial.replace(output)
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


async def _import(file: Path, *, dry_run: bool) -> None:
    try:
        stream = file.open("rb")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror or error}") from None
    with stream:
        async with opened_app() as app:
            done = await app.importing.run(OPERATOR, stream, dry_run=dry_run, waits=True)
            if not dry_run:
                # So that what was imported can be found by meaning when the command ends, whether a server runs or not.
                await app.pending_work.run_due()
    click.echo(f"In the file: {_lines(done.found)}.")
    verb = "would be written" if dry_run else "written"
    click.echo(f"{done.written:,} {verb}, {done.unchanged:,} are there already, {done.kept:,} kept as they are.")
    if done.kept:
        click.echo(KEPT)


def _lines(counts: Mapping[str, int]) -> str:
    said = [f"{count:,} {kind.replace('_', ' ')} lines" for kind, count in sorted(counts.items())]
    return ", ".join(said) or "nothing"


async def _import_elsewhere(
    file: Path, form: str, user_id: str | None, namespace: str | None, *, dry_run: bool
) -> None:
    from agent_memory_server.api.schemas.elsewhere import checked
    from agent_memory_server.importers.elsewhere import read_elsewhere

    found = read_elsewhere(file, form)
    async with opened_app() as app:
        held = checked(
            found,
            tenant=OPERATOR.tenant,
            at=app.now(),
            new_id=app.new_id,
            timestamps_required=app.require_message_timestamps,
        )
        done = await app.taking_in.run(
            OPERATOR, held.memories, held.conversations, namespace=namespace, user_id=user_id, dry_run=dry_run
        )
        if not dry_run:
            await app.pending_work.run_due()
    click.echo(
        f"In the file: {len(held.memories):,} memories, {held.messages:,} messages in {len(held.conversations):,} conversations."
    )
    if held.left_out:
        click.echo(f"{held.left_out:,} items are left out: they hold no text, or were never shown.")
    verb = "Would import" if dry_run else "Imported"
    click.echo(
        f"{verb} {done.memories_written:,} memories and {done.messages_written:,} messages; {done.unchanged:,} are there "
        f"already, {done.kept:,} kept as they are."
    )
    if done.kept:
        click.echo(KEPT)
    if held.shortened:
        click.echo(f"{held.shortened:,} texts are longer than one may be, and {'would be' if dry_run else 'were'} cut.")
