"""``agent-memory delete memory`` and ``delete session``: for good, after asking (unless --force)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from agent_memory_server.cli.running import OPERATOR, opened_app

if TYPE_CHECKING:
    from agent_memory_server.app import MemoryApp
    from agent_memory_server.domain.records import MemoryKey

_IDS_A_CALL_MAX = 500


@click.group()
def delete() -> None:
    """Delete memories or a session. This cannot be undone."""


@delete.command()
@click.argument("ids", nargs=-1)
@click.option("--empty-text", is_flag=True, help="Every memory without any text.")
@click.option("--invalid", is_flag=True, help="Every memory with a blank id or without any text.")
@click.option("-n", "--namespace", help="Only in this namespace.")
@click.option("-u", "--user-id", help="Only of this user.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (asks nothing, so it needs --force or --dry-run).")
def memory(
    ids: tuple[str, ...],
    empty_text: bool,
    invalid: bool,
    namespace: str | None,
    user_id: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Delete memories by IDS, or those that --empty-text or --invalid finds."""
    if not ids and not (empty_text or invalid):
        raise click.UsageError("name the ids of the memories, or use --empty-text or --invalid")
    if as_json and not (force or dry_run):
        raise click.UsageError("--json needs --force or --dry-run")
    asyncio.run(
        _delete_memories(
            ids,
            empty_text=empty_text or invalid,
            invalid=invalid,
            namespace=namespace,
            user_id=user_id,
            dry_run=dry_run,
            force=force,
            as_json=as_json,
        )
    )


@delete.command()
@click.argument("session_id")
@click.option("-n", "--namespace", help="The session's namespace, when several have this id.")
@click.option("-u", "--user-id", help="The session's user, when several have this id.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def session(session_id: str, namespace: str | None, user_id: str | None, force: bool) -> None:
    """Delete the session SESSION_ID with its messages and their memories.

    Memories that were extracted from it stay.
    """
    asyncio.run(_delete_session(session_id, namespace, user_id, force))


async def _delete_memories(
    ids: Sequence[str],
    *,
    empty_text: bool,
    invalid: bool,
    namespace: str | None,
    user_id: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    async with opened_app() as app:
        keys, absent = await _named(app, ids, namespace, user_id)
        if empty_text:
            keys.update(dict.fromkeys(await _unreadable(app, namespace, user_id, blank_id=invalid)))
        for missing in absent:
            click.echo(f"Memory with ID {missing} not found", err=True)
        if dry_run:
            _report_dry_run(list(keys), as_json)
            return
        if keys and not force:
            click.confirm(f"Delete {len(keys)} memories for good?", abort=True)
        deleted = 0
        for owner, owned in _by_owner(keys).items():
            for start in range(0, len(owned), _IDS_A_CALL_MAX):
                batch = owned[start : start + _IDS_A_CALL_MAX]
                deleted += await app.memories.delete(OPERATOR, memory_ids=batch, namespace=owner[0], user_id=owner[1])
        click.echo(json.dumps({"deleted": deleted}) if as_json else f"Deleted {deleted} memories.")


async def _named(
    app: MemoryApp, ids: Sequence[str], namespace: str | None, user_id: str | None
) -> tuple[dict[MemoryKey, None], list[str]]:
    """The keys of the ids in order, and the ids that are not there. Raises AmbiguousScope before anything is deleted."""
    from agent_memory_server.errors import NotFound

    keys: dict[MemoryKey, None] = {}
    absent: list[str] = []
    for each in dict.fromkeys(ids):
        try:
            found = await app.memories.get(OPERATOR, memory_id=each, namespace=namespace, user_id=user_id)
        except NotFound:
            absent.append(each)
        else:
            keys[found.key] = None
    return keys, absent


async def _unreadable(
    app: MemoryApp, namespace: str | None, user_id: str | None, *, blank_id: bool
) -> Sequence[MemoryKey]:
    """Looks at every memory, not only at the first page."""
    from agent_memory_server.domain.filters import MemoryFilter

    criteria = MemoryFilter(selector=OPERATOR.selector(namespace, user_id), include_superseded=True)
    found: list[MemoryKey] = []
    cursor: str | None = None
    while True:
        page = await app.memories.list(criteria, limit=100, cursor=cursor)
        found += [each.key for each in page.memories if not each.text.strip() or (blank_id and not each.id.strip())]
        cursor = page.next_cursor
        if cursor is None:
            return found


def _by_owner(keys: dict[MemoryKey, None]) -> dict[tuple[str | None, str | None], list[str]]:
    owned: dict[tuple[str | None, str | None], list[str]] = {}
    for key in keys:
        owned.setdefault((key.namespace, key.user_id), []).append(key.id)
    return owned


def _report_dry_run(keys: Sequence[MemoryKey], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"deleted": 0, "would_delete": [key.id for key in keys]}, ensure_ascii=False))
        return
    click.echo(f"Would delete {len(keys)} memories.")
    for key in keys:
        click.echo(f"  {key.id}")


async def _delete_session(session_id: str, namespace: str | None, user_id: str | None, force: bool) -> None:
    from agent_memory_server.errors import NotFound

    async with opened_app() as app:
        try:
            view = await app.working_memory.get(
                OPERATOR, session_id=session_id, namespace=namespace, user_id=user_id, recent_messages=1
            )
        except NotFound:
            click.echo(f"Session {session_id} not found; nothing to delete.")
            return
        scope = view.session.scope
        if not force:
            click.confirm(
                f"Delete session {session_id} with {view.session.message_count} messages for good?", abort=True
            )
        await app.working_memory.delete(
            OPERATOR, session_id=session_id, namespace=scope.namespace, user_id=scope.user_id
        )
        click.echo(f"Deleted session {session_id}.")
