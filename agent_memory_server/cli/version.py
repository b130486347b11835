"""``agent-memory version``."""

from __future__ import annotations

import json

import click

from agent_memory_server import __version__


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(as_json: bool) -> None:
    """Print the version of the server."""
    click.echo(json.dumps({"version": __version__}) if as_json else f"agent-memory-server version {__version__}")
