"""``agent-memory migrate-memories``: bring the stored data to the form that this version writes, and say what was done."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import click

from agent_memory_server.cli.running import load_settings


@click.command("migrate-memories", short_help="Bring stored data up to date.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def migrate_memories(dry_run: bool, as_json: bool) -> None:
    """Bring the stored data to the form that this version writes.

    Safe to repeat, to interrupt, and beside a running server. The embedded engine does the same when it is opened.
    """
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
