"""Who is asking: one answer for every transport. The tenant, the binding and the permissions come from the credential alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent_memory_server.domain.access_tokens import is_signed_form
from agent_memory_server.domain.claims import ClaimsMapping, principal_from
from agent_memory_server.domain.identity import ANONYMOUS, Permission, Principal
from agent_memory_server.errors import NotAuthenticated, NotPermitted
from agent_memory_server.ports.signed_tokens import SignedTokens
from agent_memory_server.services.access_tokens import AccessTokenService
from agent_memory_server.services.audit import Audit
from agent_memory_server.services.quotas import RequestQuota, on_account_of

CREDENTIAL_LENGTH_MAX = 16 * 1024
"""Of a bearer token in characters; a longer one is refused unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Tokens of an issuer (OAuth2), and how their claims become a principal."""

    tokens: SignedTokens
    mapping: ClaimsMapping


Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""


class Authentication:
    """``tokens`` None: authentication is off, and everybody is the same caller of the default tenant."""

    def __init__(
        self,
        *,
        tokens: AccessTokenService | None,
        signed: Signed | None = None,
        audit: Audit,
        quota: RequestQuota | None = None,
    ) -> None:
        self._quota = quota or RequestQuota(None)
        self._tokens = tokens
        self._signed = signed
        self._audit = audit

    @property
    def is_on(self) -> bool:
        return self._tokens is not None

    async def authenticate(self, presented: str | Headers | None) -> Principal:
        """The verified caller. ``presented``: the credential, or the headers of a request that it is in.

        Counts as one request of the caller. Raises NotAuthenticated (401), TooManyRequests (429) beyond its quota, and 503s
        when it cannot be said: the store or the issuer's keys are out of reach.
        """
        caller = ANONYMOUS
        if self._tokens is not None:
            try:
                credential = presented if presented is None or isinstance(presented, str) else credential_in(presented)
                caller = await self._verified(self._tokens, credential)
            except NotAuthenticated as error:
                self._audit.authentication_failed(error.detail)
                raise
        self._quota.admit(caller)
        on_account_of(caller.tenant, caller.subject)
        return caller

    def require(self, caller: Principal, permission: Permission, *, action: str) -> None:
        """Raises NotPermitted (403) when the caller's credential does not hold the permission. ``action``: what it asked for."""
        if not caller.permits(permission):
            self._audit.permission_denied(
                subject=caller.subject, tenant=caller.tenant, permission=permission.value, action=action
            )
            raise NotPermitted(
                f"this needs the permission {permission.value}, which the credential does not have",
                scope=f"memory:{permission.value}",
            )

    async def _verified(self, tokens: AccessTokenService, credential: str | None) -> Principal:
        if credential is None:
            raise NotAuthenticated("Missing authorization header")
        if not credential:
            raise NotAuthenticated("Missing bearer token")
        if len(credential) > CREDENTIAL_LENGTH_MAX:
            raise NotAuthenticated("Invalid token", was_given=True)
        if self._signed is not None and is_signed_form(credential):
            claims = await self._signed.tokens.claims(credential)
            return principal_from(claims, self._signed.mapping)
        return (await tokens.verified(credential)).principal()

    async def close(self) -> None:
        if self._tokens is not None:
            await self._tokens.close()
        if self._signed is not None:
            await self._signed.tokens.close()


def credential_in(headers: Headers) -> str | None:
    """The credential of a request: ``Authorization: Bearer …``, else ``X-API-Key``. None when there is neither; ``""`` for a
    Bearer that names no token. A credential in a URL is never looked at.

    Raises NotAuthenticated when there are several of one kind: which one counts must not depend on who reads them.
    """
    bearers: list[str] = []
    keys: list[str] = []
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").strip().partition(" ")
            if scheme.lower() == "bearer":
                bearers.append(token.strip())
        elif name == b"x-api-key" and value.strip():
            keys.append(value.decode("latin-1").strip())
    for found in (bearers, keys):
        if len(found) > 1:
            raise NotAuthenticated("More than one credential was sent")
        if found:
            return found[0]
    return None
