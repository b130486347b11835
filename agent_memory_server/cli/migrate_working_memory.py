"""``agent-memory migrate-working-memory``: carry over the reference server's sessions alone."""

from __future__ import annotations

import asyncio

import click

from agent_memory_server.cli.running import load_settings


@click.command("migrate-working-memory", short_help="Take over the reference server's sessions alone.")
@click.option(
    "--batch-size", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Sessions at a time."
)
@click.option("--dry-run", is_flag=True, help="Read every session, say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def migrate_working_memory(batch_size: int, dry_run: bool, as_json: bool) -> None:
    """Carry over the sessions of the reference server, in both of its forms (RedisJSON and the older strings), in place.

    It is the part of migrate-memories that is about sessions: that command carries over the rest, and then servers begin to
    serve. The old keys stay. Safe to interrupt and to repeat.
    """
    from agent_memory_server.cli.door import Wanted, pass_through
    from agent_memory_server.domain.transfer import Kind
    from agent_memory_server.migrations import DoorOptions, is_needed

    settings = load_settings()
    options = DoorOptions(batch=batch_size)
    if not asyncio.run(is_needed(settings, options)):
        click.echo("There are no sessions of the reference server here.")
        return
    wanted = Wanted(dry_run=dry_run, as_json=as_json, kinds=(Kind.SESSIONS,))
    if not asyncio.run(pass_through(settings, options, wanted)):
        raise click.exceptions.Exit(1)
