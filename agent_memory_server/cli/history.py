"""``agent-memory history``: what happened to one memory, when, by whom and why; where it came from and what came of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from agent_memory_server.cli.running import OPERATOR, opened_app

if TYPE_CHECKING:
    from agent_memory_server.domain.records import Memory
    from agent_memory_server.services.history import Event, History

_SHOWN_MAX = 200


@click.command(short_help="Show what happened to a memory.")
@click.argument("memory_id", metavar="ID")
@click.option("-n", "--namespace", help="Of this namespace, when several have the id.")
@click.option("-u", "--user-id", help="Of this user, when several have the id.")
@click.option("-l", "--limit", type=click.IntRange(1, 100), default=100, show_default=True, help="Revisions to show.")
@click.option("--after", metavar="CURSOR", help="Go on behind the page before.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def history(
    memory_id: str, namespace: str | None, user_id: str | None, limit: int, after: str | None, as_json: bool
) -> None:
    """Show every revision of a memory, oldest first, with what changed in it.

    Of a memory that is gone too: who removed it, when and why; its text only as far as the journal still has it.
    """
    asyncio.run(_show(memory_id, namespace, user_id, limit, after, as_json=as_json))


async def _show(
    memory_id: str, namespace: str | None, user_id: str | None, limit: int, after: str | None, *, as_json: bool
) -> None:
    async with opened_app() as app:
        found = await app.history.history(
            OPERATOR, memory_id=memory_id, namespace=namespace, user_id=user_id, after=after, limit=limit
        )
    if as_json:
        from agent_memory_server.api.answers import encoded
        from agent_memory_server.api.schemas.history import history_wire

        click.echo(encoded(history_wire(found)).decode())
        return
    click.echo("\n".join(_lines(found)))


def _lines(found: History) -> list[str]:
    owner = ", ".join(
        f"{name} {value}"
        for name, value in (("namespace", found.key.namespace), ("user", found.key.user_id))
        if value is not None
    )
    state = "is gone" if found.memory is None else _shortened(found.memory.text)
    lines = [f"Memory {found.key.id}" + (f" ({owner})" if owner else "") + f": {state}"]
    for event in found.events:
        lines += ["", *_event(event)]
    if found.origin is not None and (found.origin.messages or found.origin.memories):
        lines += ["", "It came from:"]
        lines += [f'  {each.role}: "{_shortened(each.content)}" ({each.id})' for each in found.origin.messages]
        lines += [f"  {_named(each)}" for each in found.origin.memories]
    if found.outcome is not None:
        for title, memory in (
            ("Its place was taken by", found.outcome.superseded_by),
            ("What stands for it now", found.outcome.stands),
            ("What is so since it ended", found.outcome.replaced_by),
        ):
            if memory is not None:
                lines += ["", f"{title}: {_named(memory)}"]
    if found.next_cursor is not None:
        lines += ["", f"There is more: --after {found.next_cursor}"]
    return lines


def _event(event: Event) -> list[str]:
    revision = event.revision
    operation = revision.operation
    where = " (in another store, as an import told)" if revision.imported else ""
    lines = [
        f"{operation.at:%Y-%m-%d %H:%M:%S}  {operation.kind.value} by {operation.actor}: {revision.effect.value}{where}",
        f"    operation {operation.id}" + (f", run {operation.run}" if operation.run else ""),
    ]
    if operation.reason:
        lines.append(f"    why: {_shortened(operation.reason)}")
    if revision.scrubbed:
        lines.append("    its text is not kept")
    for change in event.changes:
        if change.before not in (None, "", []):
            lines.append(f"    - {change.name}: {_value(change.before)}")
        if change.after not in (None, "", []):
            lines.append(f"    + {change.name}: {_value(change.after)}")
    return lines


def _named(memory: Memory) -> str:
    return f'"{_shortened(memory.text)}" ({memory.id})'


def _value(value: Any) -> str:
    return _shortened(", ".join(map(str, value)) if isinstance(value, list) else str(value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_MAX else f"{line[:_SHOWN_MAX]}…"
