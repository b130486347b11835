"""``/access``: who may use the server, and the settings in force. For administrators."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from starlette.datastructures import FormData
from starlette.responses import Response

from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.domain.identity import OutsideReach, Permission
from agent_memory_server.errors import InvalidInput, NotFound
from agent_memory_server.web.visits import PageRoute, Visit

EXPIRES_DAYS_MAX = 36_500


async def access(visit: Visit) -> Response:
    return await _shown(visit)


async def add(visit: Visit) -> Response:
    """Make a token. It is on the answer's page and nowhere else: loading another page loses it."""
    form = await visit.form()
    permissions = [each for each in Permission if form.get(each.value) == "1"]
    expires_days = _days(_text(form, "expires_days"))
    try:
        owner = visit.caller.owner(_text(form, "namespace") or None, _text(form, "user_id") or None)
    except OutsideReach:
        raise InvalidInput("you cannot give a token more than your own credential reaches") from None
    token, kept = await visit.app.access_tokens.add(
        description=_text(form, "description"),
        actor=visit.caller.subject,
        tenant=owner.tenant,
        namespace=owner.namespace,
        user_id=owner.user_id,
        permissions=permissions,
        expires_in=None if expires_days is None else timedelta(days=expires_days),
    )
    return await _shown(visit, token=token, made=kept)


async def revoke(visit: Visit) -> Response:
    form = await visit.form()
    wanted = _text(form, "token_id")
    found = next((each for each in await _tokens(visit) if each.id == wanted), None)
    if found is None:
        raise NotFound("This token is not there any more.")
    await visit.app.access_tokens.remove(found, actor=visit.caller.subject)
    return visit.to("/access")


async def _shown(visit: Visit, *, token: str | None = None, made: AccessToken | None = None) -> Response:
    return visit.page(
        "access.html",
        tokens=await _tokens(visit),
        token=token,
        made=made,
        permissions=[each.value for each in Permission],
        authenticates=visit.asks_for_credentials,
        settings=visit.facts.settings,
    )


async def _tokens(visit: Visit) -> Sequence[AccessToken]:
    """The tokens within the visitor's reach, the newest first. Without authentication whoever is here runs the server."""
    every = await visit.app.access_tokens.list()
    if not visit.asks_for_credentials:
        return every
    caller = visit.caller
    return [
        each
        for each in every
        if each.tenant == caller.tenant
        and caller.namespace in (None, each.namespace)
        and caller.user_id in (None, each.user_id)
    ]


def _days(value: str) -> int | None:
    if not value:
        return None
    if not value.isdecimal() or not 1 <= int(value[:9]) <= EXPIRES_DAYS_MAX:
        raise InvalidInput(
            f"a token lives a whole number of days, from 1 to {EXPIRES_DAYS_MAX}; leave it empty for ever"
        )
    return int(value)


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


ROUTES = (
    PageRoute(path="/access", handler=access, permission=Permission.ADMIN),
    PageRoute(path="/access/add", handler=add, methods=("POST",), permission=Permission.ADMIN),
    PageRoute(path="/access/revoke", handler=revoke, methods=("POST",), permission=Permission.ADMIN),
)
