"""Access tokens: made, shown once, looked up by digest, listed and removed."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import structlog

from agent_memory_server.domain.access_tokens import (
    LENGTH_MAX,
    AccessToken,
    digest_of,
    problem_with,
)
from agent_memory_server.domain.identity import DEFAULT_TENANT, Permission, implied
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.errors import Conflict, InvalidInput, MemoryServerError, NotAuthenticated
from agent_memory_server.ports.access_tokens import AccessTokenStore
from agent_memory_server.services.audit import Audit
from agent_memory_server.services.imported_tokens import ImportedTokens

_log = structlog.stdlib.get_logger(__name__)


class AccessTokenService:
    def __init__(
        self,
        *,
        store: AccessTokenStore,
        imported: ImportedTokens,
        audit: Audit,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._imported = imported
        self._audit = audit
        self._now = now
        self._new_id = new_id
        self._key: bytes | None = None
        self._notes: dict[str, asyncio.Task[None]] = {}

    # -- for operators

    async def add(
        self,
        *,
        description: str,
        actor: str,
        token: str | None = None,
        tenant: str = DEFAULT_TENANT,
        namespace: str | None = None,
        user_id: str | None = None,
        permissions: Iterable[Permission] = tuple(Permission),
        expires_in: timedelta | None = None,
    ) -> tuple[str, AccessToken]:
        """The token, which is not shown again, and what is kept of it.

        Raises InvalidInput for values that cannot be used, Conflict when the given ``token`` is there already.
        """
        granted = implied(permissions)
        for name, value in (("tenant", tenant), ("namespace", namespace), ("user", user_id)):
            _check_scope(name, value)
        if not granted:
            raise InvalidInput("a token needs at least one permission: read, write or admin", field=("permissions",))
        if not description.strip() or len(description) > LIMITS.id_length_max or "\0" in description:
            raise InvalidInput(
                f"a token needs a description of 1 to {LIMITS.id_length_max} characters", field=("description",)
            )
        if token is not None and (problem := problem_with(token)) is not None:
            raise InvalidInput(f"the token cannot be used: {problem}", field=("token",))
        chosen = token or secrets.token_urlsafe(32)
        at = self._now()
        kept = AccessToken(
            id=self._new_id(),
            description=description,
            created_at=at,
            tenant=tenant,
            namespace=namespace,
            user_id=user_id,
            permissions=granted,
            expires_at=None if expires_in is None else at + expires_in,
            digest=await self._digest(chosen),
        )
        if not await self._store.add(kept):
            raise Conflict("this token is there already")
        self._audit.token_added(
            actor=actor, token_id=kept.id, tenant=tenant, permissions=sorted(each.value for each in granted)
        )
        return chosen, kept

    async def list(self) -> Sequence[AccessToken]:
        """Every token of the store, the newest first."""
        return await self._store.list()

    async def matching(self, beginning: str) -> Sequence[AccessToken]:
        """The tokens whose hash begins so, or whose id it is."""
        if not beginning:
            return ()
        held = await self._store.list()
        return [each for each in held if each.hash.startswith(beginning) or each.id == beginning.upper()]

    async def remove(self, token: AccessToken, *, actor: str) -> bool:
        """Whether it was there; from now on every process refuses it."""
        removed = await self._store.remove(token.id)
        if removed:
            self._audit.token_removed(actor=actor, token_id=token.id, tenant=token.tenant)
        return removed

    # -- for requests

    async def verified(self, credential: str) -> AccessToken:
        """The token that this credential is. Raises NotAuthenticated, or what the store raises: never one for the other."""
        if not credential or len(credential) > LENGTH_MAX:
            raise NotAuthenticated("Invalid token", was_given=True)
        digest = await self._digest(credential)
        found = await self._store.find(digest)
        if found is None:
            found = await self._imported.find(credential, digest)
            if found is not None:
                self._audit.token_adopted(token_id=found.id, tenant=found.tenant)
        if found is None or not hmac.compare_digest(found.digest or "", digest):
            raise NotAuthenticated("Invalid token", was_given=True)
        at = self._now()
        if found.has_expired(at):
            raise NotAuthenticated("Token has expired", was_given=True)
        if found.is_unused_since(at):
            self._note_use(found, digest, at)
        return found

    async def close(self) -> None:
        """Finish what is under way."""
        await self._imported.close()
        while self._notes:
            await asyncio.gather(*self._notes.values())

    async def _digest(self, token: str) -> str:
        if self._key is None:
            self._key = await self._store.digest_key(secrets.token_bytes(32))
        return digest_of(token, self._key)

    def _note_use(self, token: AccessToken, digest: str, at: datetime) -> None:
        """After the answer, and at most one write a minute: nobody waits for it, and a failure is only logged."""
        if token.id not in self._notes:
            task = asyncio.create_task(self._noted(token.id, digest, at), name="note the use of a token")
            self._notes[token.id] = task
            task.add_done_callback(lambda _: self._notes.pop(token.id, None))

    async def _noted(self, token_id: str, digest: str, at: datetime) -> None:
        try:
            await self._store.note_use(token_id, digest=digest, at=at)
        except MemoryServerError as error:
            _log.warning("the use of a token could not be noted", token_id=token_id, reason=error.detail)


def _check_scope(name: str, value: str | None) -> None:
    if value is None:
        return
    if not value.strip() or len(value) > LIMITS.id_length_max or "\0" in value:
        raise InvalidInput(
            f"{name} needs 1 to {LIMITS.id_length_max} characters that are not all blank; leave it out for none",
            field=(name,),
        )
