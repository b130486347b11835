"""``agent-memory export`` and ``agent-memory import``: everything that is held, taken along as a file and taken in again."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import click

from agent_memory_server.cli.running import OPERATOR, opened_app
from agent_memory_server.errors import InvalidInput


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
    asyncio.run(_export(user_id, namespace, output, vectors=vectors, history=not no_history))


@click.command("import", short_help="Take in an export.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check the file and count; change nothing.")
def import_export(file: Path, dry_run: bool) -> None:
    """Take in FILE, which agent-memory export (or the API) wrote.

    It is checked as a whole before anything is written. What is there already is left as it is, so that it can be run again, and
    goes on where it was when it was stopped.
    """
    asyncio.run(_import(file, dry_run=dry_run))


async def _export(
    user_id: str | None, namespace: str | None, output: Path | None, *, vectors: bool, history: bool
) -> None:
    from agent_memory_server.services.exporting import ExportOptions

    async with opened_app() as app:
        selector = OPERATOR.selector(namespace, user_id)
        options = ExportOptions(vectors=vectors, history=history)
        lines = 0
        with _writing(output) as stream:
            async for piece in app.exporting.lines(selector, options):
                stream.write(piece)
                lines += piece.count(b"\n")
    if output is not None:
        click.echo(f"{lines - 2:,} records are in {output}.")


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
        raise InvalidInput(f"{output} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


async def _import(file: Path, *, dry_run: bool) -> None:
    try:
        stream = file.open("rb")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror or error}") from error
    with stream:
        async with opened_app() as app:
            done = await app.importing.run(OPERATOR, stream, dry_run=dry_run)
    found = ", ".join(f"{count:,} {kind.replace('_', ' ')} lines" for kind, count in sorted(done.found.items()))
    click.echo(f"In the file: {found or 'nothing'}.")
    verb = "would be written" if dry_run else "written"
    click.echo(f"{done.written:,} {verb}, {done.unchanged:,} are there already, {done.kept:,} kept as they are.")
    if done.kept:
        click.echo("Kept: something else is there under the same id. Delete it first if the file's is the right one.")
