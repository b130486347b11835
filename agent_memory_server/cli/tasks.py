"""``agent-memory tasks``: what is to be done, what failed for good and why; and ``--replay`` to try that again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from agent_memory_server.cli.running import OPERATOR, opened_app

if TYPE_CHECKING:
    from agent_memory_server.domain.jobs import Task
    from agent_memory_server.ports.jobs import TaskPage

_STATUSES = ("pending", "running", "success", "failed", "dead")
_REASON_LENGTH = 200


@click.command(short_help="List background work, and replay what failed.")
@click.option("-s", "--status", type=click.Choice(_STATUSES), help="Only these; dead: what can be replayed.")
@click.option("-l", "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most so many.")
@click.option(
    "--replay", "ids", multiple=True, metavar="ID", help="Give this dead task all its attempts again. Repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tasks(status: str | None, limit: int, ids: tuple[str, ...], as_json: bool) -> None:
    """List tasks, newest first: the work of the server and how it ended.

    With --replay, tasks that failed for good become pending again; a running server takes them within seconds.
    """
    if ids:
        asyncio.run(_replay(ids, as_json=as_json))
    else:
        asyncio.run(_list(status, limit, as_json=as_json))


async def _list(status: str | None, limit: int, *, as_json: bool) -> None:
    from agent_memory_server.domain.jobs import TaskStatus

    async with opened_app() as app:
        wanted = None if status is None else TaskStatus(status)
        page = await app.jobs.list(OPERATOR, status=wanted, limit=limit)
    if as_json:
        _print_json(page.tasks, page)
        return
    click.echo(f"{page.total} tasks (showing {len(page.tasks)})" if page.total else "No tasks.")
    for task in page.tasks:
        _print(task)


async def _replay(ids: Sequence[str], *, as_json: bool) -> None:
    async with opened_app() as app:
        replayed = [await app.jobs.replay(OPERATOR, task_id=each) for each in dict.fromkeys(ids)]
    if as_json:
        _print_json(replayed, None)
        return
    for task in replayed:
        click.echo(f"Task {task.id} ({task.type}) is pending again.")


def _print_json(tasks: Sequence[Task], page: TaskPage | None) -> None:
    from agent_memory_server.api.answers import encoded
    from agent_memory_server.api.schemas.tasks import task_wire

    wire = {"tasks": [task_wire(task) for task in tasks]}
    known = {} if page is None else {"total": page.total}
    click.echo(json.dumps({**json.loads(encoded(wire)), **known}, ensure_ascii=False))


def _print(task: Task) -> None:
    view = f"  view {task.view_id}" if task.view_id else ""
    click.echo(f"{task.status.value:<8} {task.created_at:%Y-%m-%d %H:%M:%S}  {task.id}  {task.type}{view}")
    if task.error_message:
        reason = " ".join(task.error_message.split())
        click.echo(f"         {reason[:_REASON_LENGTH]}{'…' if len(reason) > _REASON_LENGTH else ''}")
