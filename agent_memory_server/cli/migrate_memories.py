"""``agent-memory migrate-memories``."""

import click


@click.command("migrate-memories")
def migrate_memories() -> None:
    """x"""
