"""``agent-memory rebuild-index``: vectors of the model that is configured now, beside live traffic."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agent_memory_server.cli.running import opened_app

if TYPE_CHECKING:
    from agent_memory_server.services.reindexing import ReindexingReport


@click.command("rebuild-index", short_help="Embed every memory with the configured model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rebuild_index(as_json: bool) -> None:
    """Embed every memory with the model that EMBEDDING_MODEL names now.

    Safe beside a running server, to interrupt, and to repeat: it goes on with what is still missing. Vectors of other
    models are removed when nothing is without a new one.
    """
    report = asyncio.run(_rebuild(quiet=as_json))
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        click.echo(f"Embedded {report.embedded} memories with {report.model}; removed {report.dropped} old vectors.")
    if report.remaining:
        raise click.ClickException("memories were written faster than they were embedded; run this again")


async def _rebuild(*, quiet: bool) -> ReindexingReport:
    from agent_memory_server.cli.progress import counting

    async with opened_app() as app:
        with counting("Embedding memories", quiet=quiet) as tell:
            return await app.reindexing.rebuild(on_progress=tell)
