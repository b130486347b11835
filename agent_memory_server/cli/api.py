"""``agent-memory api``."""

import click


@click.command()
def api() -> None:
    """Run the REST server."""
