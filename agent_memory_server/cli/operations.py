"""``agent-memory operations`` and ``agent-memory undo``: what changed memories, and taking it back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from agent_memory_server.cli.running import OPERATOR, opened_app

if TYPE_CHECKING:
    from agent_memory_server.services.history import Listed, OperationPage
    from agent_memory_server.services.undo import UndoReport

_NAMED_MAX = 20


@click.command(short_help="List what changed memories.")
@click.option("-n", "--namespace", help="Only what touched this namespace.")
@click.option("-u", "--user-id", help="Only what touched this user.")
@click.option("-l", "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most so many.")
@click.option("--after", metavar="CURSOR", help="Go on behind the page before.")
@click.option("--oldest-first", is_flag=True, help="In the order in which they happened.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def operations(
    namespace: str | None, user_id: str | None, limit: int, after: str | None, oldest_first: bool, as_json: bool
) -> None:
    """List operations, the newest first: who, when, which and why, with counts of the memories they changed."""
    asyncio.run(_list(namespace, user_id, limit, after, oldest_first=oldest_first, as_json=as_json))


async def _list(
    namespace: str | None, user_id: str | None, limit: int, after: str | None, *, oldest_first: bool, as_json: bool
) -> None:
    async with opened_app() as app:
        page = await app.history.operations(
            OPERATOR, namespace=namespace, user_id=user_id, after=after, limit=limit, newest_first=not oldest_first
        )
    if as_json:
        from agent_memory_server.api.answers import encoded
        from agent_memory_server.api.schemas.history import operations_wire

        click.echo(encoded(operations_wire(page)).decode())
        return
    click.echo("\n".join(_lines(page)))


def _lines(page: OperationPage) -> list[str]:
    if not page.operations:
        return ["No operations."]
    lines = [line for listed in page.operations for line in _operation(listed)]
    return [*lines, f"There is more: --after {page.next_cursor}"] if page.next_cursor else lines


def _operation(listed: Listed) -> list[str]:
    operation = listed.operation
    counts = ", ".join(f"{count} {effect}" for effect, count in sorted(operation.counts.items()))
    run = f"  run {operation.run}" if operation.run else ""
    lines = [f"{operation.at:%Y-%m-%d %H:%M:%S}  {operation.id}  {operation.kind.value:<8} {operation.actor}{run}"]
    lines.append(f"    {counts}" + (f": {operation.reason}" if operation.reason else ""))
    return lines


@click.command(short_help="Take back an operation, or a whole run.")
@click.argument("operation_id", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would happen and what stands against it.")
@click.option("--skip-conflicts", is_flag=True, help="Leave what stands against it as it is, and take back the rest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def undo(operation_id: str, dry_run: bool, skip_conflicts: bool, as_json: bool) -> None:
    """Take back an edit, a merge, or by its run id a whole compaction or forgetting run.

    What came later is never overwritten: it is named, and nothing is changed. Explicit deletion is final. An undo can be undone.
    """
    asyncio.run(_undo(operation_id, dry_run=dry_run, skip_conflicts=skip_conflicts, as_json=as_json))


async def _undo(operation_id: str, *, dry_run: bool, skip_conflicts: bool, as_json: bool) -> None:
    async with opened_app() as app:
        if dry_run:
            report = await app.undo.plan(OPERATOR, operation_id=operation_id)
        else:
            report = await app.undo.undo(OPERATOR, operation_id=operation_id, skip_conflicts=skip_conflicts)
    if as_json:
        from agent_memory_server.api.answers import encoded
        from agent_memory_server.api.schemas.history import undo_wire

        click.echo(encoded(undo_wire(report, dry_run=dry_run)).decode())
        return
    click.echo("\n".join(_report(report, dry_run=dry_run)))


_SAID = {"revert": "gets its earlier state back", "bring_back": "comes back", "remove": "goes"}


def _report(report: UndoReport, *, dry_run: bool) -> list[str]:
    done = "Would undo" if dry_run else "Undid"
    counts = ", ".join(f"{count} {action.replace('_', ' ')}" for action, count in sorted(report.counts.items()))
    lines = [f"{done} {report.undoes}: {counts or 'nothing'}"]
    lines += [f"  {step.key.id} {_SAID[step.action.value]}" for step in report.steps[:_NAMED_MAX]]
    if len(report.steps) > _NAMED_MAX:
        lines.append(f"  … and {len(report.steps) - _NAMED_MAX} more")
    if report.conflicts:
        lines.append("It cannot be undone, because of:" if dry_run else "Left as they are:")
        lines += [
            f"  {each.key.id}: {each.reason}" + (f" ({each.operation_id})" if each.operation_id else "")
            for each in report.conflicts[:_NAMED_MAX]
        ]
    lines += report.notices
    if report.operation_ids:
        lines.append(f"To take that back: agent-memory undo {report.run or report.operation_ids[0]}")
    return lines
