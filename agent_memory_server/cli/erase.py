"""``agent-memory erase user|namespace|session|memory``, ``verify-receipt`` and ``purge``: nothing left, and the proof of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent_memory_server.cli.running import OPERATOR, opened_app
from agent_memory_server.domain.erasure import Target
from agent_memory_server.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from agent_memory_server.app import MemoryApp
    from agent_memory_server.domain.jobs import Task

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would go, and erase nothing.")
_FORCE = click.option("-f", "--force", is_flag=True, help="Do not ask.")
_RECEIPT = click.option(
    "--receipt", type=click.Path(path_type=Path), help="Write the signed receipt to this file; else it is printed."
)


_OF_NAMESPACE = click.option("-n", "--namespace", help="The namespace of the one that is meant.")
_OF_USER = click.option("-u", "--user-id", help="The user of the one that is meant.")


@click.group(short_help="Erase a memory, a session, or everything of a user or a namespace.")
def erase() -> None:
    """Erase a memory, a session, or everything of a user or a namespace for good: it cannot be undone.

    What was made of it goes too: histories, exact copies, merged memories, summaries. The receipt counts by kind.
    """


@erase.command()
@click.argument("user_id")
@click.option("-n", "--namespace", help="Only what the user has in this namespace.")
@_DRY_RUN
@_FORCE
@_RECEIPT
def user(user_id: str, namespace: str | None, dry_run: bool, force: bool, receipt: Path | None) -> None:
    """Erase everything of USER_ID."""
    whose = f"the user {user_id}"
    asyncio.run(_erase(Target(namespace=namespace, user_id=user_id), whose, dry_run, force, receipt))


@erase.command()
@click.argument("namespace")
@_DRY_RUN
@_FORCE
@_RECEIPT
def namespace(namespace: str, dry_run: bool, force: bool, receipt: Path | None) -> None:
    """Erase everything in NAMESPACE, of all users."""
    asyncio.run(_erase(Target(namespace=namespace), f"the namespace {namespace}", dry_run, force, receipt))


@erase.command()
@click.argument("session_id")
@_OF_NAMESPACE
@_OF_USER
@_DRY_RUN
@_FORCE
@_RECEIPT
def session(
    session_id: str, namespace: str | None, user_id: str | None, dry_run: bool, force: bool, receipt: Path | None
) -> None:
    """Erase SESSION_ID with its messages and the memories that were extracted from it."""
    target = Target(namespace=namespace, user_id=user_id, session_id=session_id)
    asyncio.run(_erase(target, f"the session {session_id}", dry_run, force, receipt))


@erase.command()
@click.argument("memory_id")
@_OF_NAMESPACE
@_OF_USER
@_DRY_RUN
@_FORCE
@_RECEIPT
def memory(
    memory_id: str, namespace: str | None, user_id: str | None, dry_run: bool, force: bool, receipt: Path | None
) -> None:
    """Erase MEMORY_ID with its history and its exact copies; also one that a policy forgot."""
    target = Target(namespace=namespace, user_id=user_id, memory_id=memory_id)
    asyncio.run(_erase(target, f"the memory {memory_id}", dry_run, force, receipt))


@click.command("verify-receipt", short_help="Check the signature of an erasure's receipt.")
@click.argument("file", type=click.Path(path_type=Path))
def verify_receipt(file: Path) -> None:
    """Whether this store's server signed the receipt in FILE, and nothing in it was changed. Exit code 1 if not."""
    asyncio.run(_verify(file))


@click.command(short_help="Leave nothing of what was deleted in the data files.")
def purge() -> None:
    """Write the data files anew, so that nothing of what was deleted is left in them.

    Deleted text is out of the store at once; this takes its last traces out of the files. It may take long, and needs as much
    room again on the disk meanwhile. Backups and replicas are yours to purge.
    """
    asyncio.run(_purge())


async def _erase(target: Target, named: str, dry_run: bool, force: bool, receipt: Path | None) -> None:
    async with opened_app() as app:
        planned = await app.erasure.plan(OPERATOR, target)
        counts: dict[str, int] = (planned.result or {})["counts"]
        click.echo(_said(counts))
        if dry_run:
            return
        if not force:
            click.confirm(f"Erase all of {named} for good, with what was made of it?", abort=True)
        begun = await app.erasure.begin(OPERATOR, target)
        done = await _finished(app, begun)
        text = json.dumps(done.result, indent=2, ensure_ascii=False)
        if receipt is None:
            click.echo(text)
            return
        await asyncio.to_thread(receipt.write_text, text + "\n", encoding="utf-8")
        click.echo(f"Erased. The receipt is in {receipt}; agent-memory verify-receipt checks it.")


async def _finished(app: MemoryApp, begun: Task) -> Task:
    """Do it here; where another process has begun with it, wait for that."""
    from agent_memory_server.domain.jobs import Lane, TaskStatus

    while True:
        await app.lanes[Lane.UPKEEP].run_due()
        task = await app.jobs.get(OPERATOR, task_id=begun.id)
        if task.status is TaskStatus.SUCCESS:
            return task
        if task.status is TaskStatus.FAILED:
            raise ConfigurationError(
                f"the erasure failed: {task.error_message}. Mend that, then: agent-memory tasks --replay {task.id}"
            )
        await asyncio.sleep(0.2)


def _said(counts: dict[str, int]) -> str:
    found = [f"{count:,} {_singular(name) if count == 1 else name}" for name, count in counts.items() if count]
    return f"To be erased: {', '.join(found).replace('_', ' ')}." if found else "There is nothing of it."


def _singular(name: str) -> str:
    return f"{name[:-3]}y" if name.endswith("ies") else name[:-1]


async def _verify(file: Path) -> None:
    try:
        receipt: Any = json.loads(await asyncio.to_thread(file.read_text, encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{file} cannot be read as a receipt: {error}") from error
    # A whole task holds its receipt as its result.
    if isinstance(receipt, dict) and isinstance(receipt.get("result"), dict):  # pyright: ignore[reportUnknownMemberType]
        receipt = receipt["result"]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(receipt, dict):
        raise InvalidInput(f"{file} holds no receipt: it is a JSON object")
    async with opened_app() as app:
        if not await app.erasure.is_genuine(receipt):  # pyright: ignore[reportUnknownArgumentType]
            raise InvalidInput(
                "This is no receipt of this store, or it was changed. Receipts are checked on the store that they are of."
            )
    click.echo("The receipt is genuine.")


async def _purge() -> None:
    async with opened_app() as app:
        click.echo(await app.erasure.purge())
