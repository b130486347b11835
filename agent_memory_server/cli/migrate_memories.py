"""``agent-memory migrate-memories``: bring stored data to the form of this version, the reference server's data included."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agent_memory_server.cli.running import load_settings

if TYPE_CHECKING:
    from agent_memory_server.migrations import Vectors


@click.command("migrate-memories", short_help="Bring stored data up to date; take over the reference server's.")
@click.option("--from", "from_url", metavar="URL", help="The reference server's Redis. Default: the configured store.")
@click.option("--to", "to_url", metavar="URL", help="Another store to carry it to. Default: in place.")
@click.option("--dry-run", is_flag=True, help="Read everything, say what would be done, and do nothing.")
@click.option("--verify", is_flag=True, help="Compare both sides at the end: counts and content.")
@click.option("--prune", is_flag=True, help="Remove the old keys of what was carried over, after a passed --verify.")
@click.option("--merge", is_flag=True, help="Carry into a store that holds data of its own, which stays as it is.")
@click.option(
    "--vectors",
    type=click.Choice(["auto", "reuse", "embed"]),
    default="auto",
    show_default=True,
    help="The old vectors: reuse them as vectors of EMBEDDING_MODEL, embed anew, or (auto) reuse an endpoint's.",
)
@click.option(
    "--discard-queue", is_flag=True, help="Take the reference's unfinished tasks out of its queue, into the report."
)
@click.option("--quarantine", metavar="FILE", help="Where records that cannot be read are listed, as NDJSON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def migrate_memories(
    from_url: str | None,
    to_url: str | None,
    dry_run: bool,
    verify: bool,
    prune: bool,
    merge: bool,
    vectors: Vectors,
    discard_queue: bool,
    quarantine: str | None,
    as_json: bool,
) -> None:
    """Bring the stored data to the form that this version writes.

    A store of this server: steps of its schema, which the embedded engine also does when it is opened. A Redis that the
    reference server wrote: everything is carried over, in place or into another store. The old keys are only read, and the
    reference server may go on meanwhile. Safe to interrupt and to repeat.
    """
    from agent_memory_server.cli.door import Wanted, pass_through
    from agent_memory_server.migrations import DoorOptions, is_needed

    settings = load_settings()
    options = DoorOptions(from_url=from_url, to_url=to_url, vectors=vectors, merge=merge)
    if prune and dry_run:
        raise click.UsageError("--prune has no dry run: without it nothing is removed.")
    if asyncio.run(is_needed(settings, options)):
        wanted = Wanted(
            dry_run=dry_run,
            verify=verify,
            prune=prune,
            discard_queue=discard_queue,
            quarantine=quarantine,
            as_json=as_json,
        )
        if not asyncio.run(pass_through(settings, options, wanted)):
            raise click.exceptions.Exit(1)
        return
    if verify or prune:
        raise click.ClickException("there is no data of the reference server here: name its Redis with --from.")
    _schema(dry_run=dry_run, as_json=as_json)


def _schema(*, dry_run: bool, as_json: bool) -> None:
    from agent_memory_server.migrations import migrate

    report = asyncio.run(migrate(load_settings(), dry_run=dry_run))
    if as_json:
        click.echo(json.dumps(asdict(report)))
    elif not report.steps:
        click.echo(f"{report.storage} is up to date.")
    else:
        click.echo(f"{'Would apply' if dry_run else 'Applied'} {len(report.steps)} steps to {report.storage}:")
        for step in report.steps:
            click.echo(f"  {step}")
