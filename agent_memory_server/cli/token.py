"""``agent-memory token``: make, list, show and remove access tokens. Changes hold at once, for every running server.

A token is printed once, when it is made; the store keeps a digest, which is what ``hash`` shows and commands accept (its
beginning is enough while it is the only one).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from agent_memory_server.cli.running import OPERATOR, opened_app
from agent_memory_server.domain.identity import DEFAULT_TENANT

if TYPE_CHECKING:
    from agent_memory_server.domain.access_tokens import AccessToken
    from agent_memory_server.domain.identity import Permission

_SHOWN = 8
"""Digits of a hash at both ends, where it is masked."""
_FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)


@click.group(short_help="Make, list, show and remove access tokens.")
def token() -> None:
    """Make, list, show and remove access tokens.

    A server checks them when AUTH_MODE=token (or oauth2) is set.
    """


@token.command()
@click.option("-d", "--description", required=True, help="What the token is for.")
@click.option("-e", "--expires-days", type=click.IntRange(1, 36_500), help="Days until it expires. Default: never.")
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True, help="Whose memories it reaches.")
@click.option("-n", "--namespace", help="Bind it to this namespace: it reaches no other, and needs to name none.")
@click.option(
    "-u", "--user", "--user-id", "user_id", help="Bind it to this user: it reaches no other, and needs to name none."
)
@click.option(
    "--permissions",
    default="read,write,admin",
    show_default=True,
    help="What it may do, separated by commas. write includes read; admin (forgetting, compaction, upkeep) includes both.",
)
@click.option(
    "--token",
    "given",
    help="Use this token, of at least 32 characters, in place of a random one; - reads it from stdin.",
)
@_FORMAT
def add(
    description: str,
    expires_days: int | None,
    tenant: str,
    namespace: str | None,
    user_id: str | None,
    permissions: str,
    given: str | None,
    form: str,
) -> None:
    """Make a token and print it. It is not shown again."""
    granted = _permissions(permissions)
    chosen = sys.stdin.readline().strip() if given == "-" else given
    expires_in = None if expires_days is None else timedelta(days=expires_days)

    async def run() -> tuple[str, AccessToken]:
        async with opened_app() as app:
            return await app.access_tokens.add(
                description=description,
                actor=OPERATOR.subject,
                token=chosen,
                tenant=tenant,
                namespace=namespace,
                user_id=user_id,
                permissions=granted,
                expires_in=expires_in,
            )

    secret, kept = asyncio.run(run())
    if form == "json":
        _print_json({"token": secret, **_described(kept)})
        return
    click.echo(f"Token: {secret}")
    click.echo("Keep it now: it is not shown again.")
    click.echo()
    _print(kept)


@token.command(name="list")
@_FORMAT
def list_tokens(form: str) -> None:
    """List the tokens, the newest first."""
    held, at = asyncio.run(_listed())
    if form == "json":
        _print_json([{**_described(each), "status": _status(each, at)} for each in held])
        return
    if not held:
        click.echo("No tokens found.")
        return
    click.echo(f"{len(held)} token{'s' if len(held) != 1 else ''}")
    for each in held:
        click.echo()
        _print(each, status=_status(each, at), masked=True)


@token.command()
@click.argument("hash_or_id", metavar="HASH")
@_FORMAT
def show(hash_or_id: str, form: str) -> None:
    """Show the token whose hash begins with HASH, or whose id it is."""
    found, at = asyncio.run(_matching(hash_or_id))
    one = _only(found, hash_or_id, form)
    if form == "json":
        _print_json({**_described(one), "status": _status(one, at)})
        return
    _print(one, status=_status(one, at))


@token.command()
@click.argument("hash_or_id", metavar="HASH")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def remove(hash_or_id: str, force: bool) -> None:
    """Remove the token whose hash begins with HASH, or whose id it is: from now on every server refuses it."""
    asyncio.run(_remove(hash_or_id, force=force))


async def _listed() -> tuple[Sequence[AccessToken], datetime]:
    async with opened_app() as app:
        return await app.access_tokens.list(), app.now()


async def _matching(beginning: str) -> tuple[Sequence[AccessToken], datetime]:
    async with opened_app() as app:
        return await app.access_tokens.matching(beginning), app.now()


async def _remove(beginning: str, *, force: bool) -> None:
    async with opened_app() as app:
        found = _only(await app.access_tokens.matching(beginning), beginning, "text")
        if not force:
            click.confirm(f"Remove the token {found.description!r} ({_masked(found.hash)})?", abort=True)
        await app.access_tokens.remove(found, actor=OPERATOR.subject)
    click.echo(f"Removed the token {found.description!r}.")


def _only(found: Sequence[AccessToken], beginning: str, form: str) -> AccessToken:
    """The one that was meant; exit code 1 when there is none or several."""
    if len(found) == 1:
        return found[0]
    problem = (
        f"No token found for {beginning}"
        if not found
        else f"{len(found)} tokens begin with {beginning}: give more of it"
    )
    if form == "json":
        click.echo(json.dumps({"error": problem, **({"matches": [each.hash for each in found]} if found else {})}))
        raise click.exceptions.Exit(1)
    for each in found:
        click.echo(f"  {each.hash}  {each.description}", err=True)
    raise click.ClickException(problem)


def _permissions(given: str) -> frozenset[Permission]:
    from agent_memory_server.domain.identity import Permission

    named = [each.strip().lower() for each in given.split(",") if each.strip()]
    unknown = sorted(set(named) - {permission.value for permission in Permission})
    if unknown or not named:
        raise click.BadParameter(
            f"{', '.join(unknown) or 'nothing'} is no permission; there are read, write and admin",
            param_hint="--permissions",
        )
    return frozenset(Permission(each) for each in named)


def _described(kept: AccessToken) -> dict[str, Any]:
    return {
        "id": kept.id,
        "hash": kept.hash,
        "description": kept.description,
        "tenant": kept.tenant,
        "namespace": kept.namespace,
        "user_id": kept.user_id,
        "permissions": _sorted(kept),
        "created_at": kept.created_at.isoformat(),
        "expires_at": None if kept.expires_at is None else kept.expires_at.isoformat(),
        "last_used_at": None if kept.last_used_at is None else kept.last_used_at.isoformat(),
    }


def _status(kept: AccessToken, at: datetime) -> str:
    if kept.expires_at is None:
        return "Never Expires"
    return "EXPIRED" if kept.has_expired(at) else "Active"


def _sorted(kept: AccessToken) -> list[str]:
    return [each for each in ("read", "write", "admin") if each in {given.value for given in kept.permissions}]


def _masked(text: str) -> str:
    return f"{text[:_SHOWN]}...{text[-_SHOWN:]}"


def _print(kept: AccessToken, *, status: str | None = None, masked: bool = False) -> None:
    lines = {
        "Hash": _masked(kept.hash) if masked else kept.hash,
        "Description": kept.description,
        "Tenant": kept.tenant,
        "Namespace": kept.namespace,
        "User": kept.user_id,
        "Permissions": ", ".join(_sorted(kept)),
        "Created": f"{kept.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "Expires": "never" if kept.expires_at is None else f"{kept.expires_at:%Y-%m-%d %H:%M:%S} UTC",
        "Last used": None if kept.last_used_at is None else f"{kept.last_used_at:%Y-%m-%d %H:%M:%S} UTC",
        "Status": status,
        "Note": None if kept.imported_hash is None else "made by the reference server, and not used here yet",
    }
    for name, value in lines.items():
        if value is not None:
            click.echo(f"{name + ':':<13}{value}")


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))
