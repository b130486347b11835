"""``agent-memory copy``: everything of one store into another, whatever their engines are."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from agent_memory_server.cli.running import load_settings
from agent_memory_server.cli.transfer_reports import (
    print_counts,
    print_transfer,
    print_verification,
    transfer_json,
    verification_json,
)

if TYPE_CHECKING:
    from agent_memory_server.transfers import Preview, Transfer

NOT_CARRIED = (
    "Not copied: when schedules ran last. What was done before the copy is told in the histories of memories and cannot be "
    "undone in the target. ETags of memories are new."
)


@click.command("copy", short_help="Copy a whole store to another engine or place.")
@click.option(
    "--from", "from_url", required=True, metavar="URL", help="What is copied: sqlite:////path.db or redis://…"
)
@click.option("--to", "to_url", required=True, metavar="URL", help="Where it goes; made when it is not there.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--merge", is_flag=True, help="Add to a target that holds data of its own, which stays as it is.")
@click.option("--no-verify", is_flag=True, help="Do not compare both sides at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def copy(from_url: str, to_url: str, dry_run: bool, merge: bool, no_verify: bool, as_json: bool) -> None:
    """Copy memories with their vectors and histories, sessions with all messages, summary views, tasks, access tokens and
    pending work.

    The source is only read, and may be in use. Safe to interrupt and to repeat: it goes on where it was, and carries what
    changed since. Both sides are compared at the end; exit code 1 when they differ.
    """
    settings = load_settings()
    if dry_run:
        from agent_memory_server.transfers import preview_copy

        preview = asyncio.run(preview_copy(from_url, to_url, queue_name=settings.docket_name))
        _print_preview(preview, as_json=as_json)
        return
    asyncio.run(
        _copy(
            from_url,
            to_url,
            merge=merge,
            verify=not no_verify,
            as_json=as_json,
            strict=settings.durability == "strict",
            queue_name=settings.docket_name,
        )
    )


def _print_preview(preview: Preview, *, as_json: bool) -> None:
    if as_json:
        sides = {"source": preview.source, "target": preview.target}
        click.echo(
            json.dumps({side: {kind.value: count for kind, count in held.items()} for side, held in sides.items()})
        )
        return
    click.echo(f"Would copy from {preview.source_place} to {preview.target_place}:")
    print_counts(preview.source)
    if any(preview.target.values()):
        click.echo("The target holds already:")
        print_counts(preview.target)
        click.echo("What an earlier run of this copy left there is gone on with; anything else needs --merge.")
    click.echo(NOT_CARRIED)
    click.echo("Nothing was written.")


async def _copy(
    from_url: str, to_url: str, *, merge: bool, verify: bool, as_json: bool, strict: bool, queue_name: str
) -> None:
    from agent_memory_server.transfers import open_copy

    async with open_copy(from_url, to_url, merge=merge, strict=strict, queue_name=queue_name) as transfer:
        told = await carried(transfer, verify=verify, as_json=as_json)
    if as_json:
        click.echo(json.dumps(told))
    if not told["done"]:
        raise click.exceptions.Exit(1)


async def carried(transfer: Transfer, *, verify: bool, as_json: bool) -> dict[str, Any]:
    from agent_memory_server.cli.progress import counting_kinds

    totals = {kind.value: count for kind, count in transfer.totals.items()}
    if not as_json:
        again = "Going on with the copy" if transfer.is_resumed else "Copying"
        click.echo(f"{again} from {transfer.source_place} to {transfer.target_place}:")
    if not transfer.is_resumed:
        await transfer.note(source=transfer.source_place, begun_at=transfer.now().isoformat())
    with counting_kinds("Copying", totals, quiet=as_json) as tell:
        report = await transfer.service.run(
            kinds=transfer.kinds, tell=lambda kind, done: tell(kind.value, done), quarantine=lambda _, __: None
        )
    if not as_json:
        print_transfer(report)
        if len(transfer.kinds) < len(transfer.totals):
            click.echo(
                "  access tokens were not copied: the target has tokens under a key of its own; make new ones there."
            )
    told: dict[str, Any] = {"transfer": transfer_json(report), "done": report.settled}
    if not report.settled:
        if not as_json:
            click.echo("The source is being written to: stop its server, then run this again to carry the rest.")
        return told
    await transfer.note(finished_at=transfer.now().isoformat())
    if verify:
        told |= await verified(transfer, as_json=as_json)
    if not as_json and told["done"]:
        click.echo(f"Done. {NOT_CARRIED}")
        click.echo(f"Point the server at it with STORAGE_URL, and keep {transfer.source_place} until you are content.")
    return told


async def verified(transfer: Transfer, *, as_json: bool) -> dict[str, Any]:
    """Compare both sides, say so, and remember in the target when they are equal."""
    from agent_memory_server.cli.progress import counting_kinds

    totals = {kind.value: count for kind, count in transfer.totals.items()}
    with counting_kinds("Comparing", totals, quiet=as_json) as tell:
        report = await transfer.service.verify(kinds=transfer.kinds, tell=lambda kind, done: tell(kind.value, done))
    if report.passed:
        await transfer.note(verified_at=transfer.now().isoformat())
    if not as_json:
        click.echo("Compared both sides:")
        print_verification(report)
        if not report.passed:
            click.echo("Not everything is as it should be: see above. Run this again, which carries what is missing.")
    return {"verification": verification_json(report), "done": report.passed}
