"""Access tokens: what the server keeps of one, and what it gives its holder. The token itself is shown once and not kept.

What is kept is a keyed digest: it is looked up, so that a thousand tokens cost what one costs, and a copy of the data gives
nobody a token. Tokens that were made by the reference server are known by a bcrypt hash until their holder first uses them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_memory_server.domain.identity import Permission, Principal, implied

LENGTH_MIN = 32
"""Of a token that somebody else generated, in characters: shorter ones can be guessed."""
LENGTH_MAX = 512
SUBJECT_PREFIX = "token:"
USE_NOTED_EVERY = timedelta(minutes=1)
"""How exact the time of the last use is: a write for every request would cost more than the requests."""

_SIGNED = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """One token as it is stored. Exactly one of ``digest`` and ``imported_hash`` is set."""

    id: str
    description: str
    created_at: datetime
    tenant: str
    namespace: str | None = None
    user_id: str | None = None
    permissions: frozenset[Permission] = frozenset(Permission)
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    digest: str | None = None
    imported_hash: str | None = None
    """The bcrypt hash that the reference server kept; None once its token was used here."""

    @property
    def hash(self) -> str:
        """What lists show and commands accept (also its beginning)."""
        return self.digest or self.imported_hash or ""

    def has_expired(self, at: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= at

    def is_unused_since(self, at: datetime) -> bool:
        """Whether a use now is worth noting."""
        return self.last_used_at is None or at - self.last_used_at >= USE_NOTED_EVERY

    def principal(self) -> Principal:
        return Principal(
            subject=SUBJECT_PREFIX + self.id,
            tenant=self.tenant,
            namespace=self.namespace,
            user_id=self.user_id,
            permissions=implied(self.permissions),
        )


def digest_of(token: str, key: bytes) -> str:
    """64 hex digits that stand for the token in stores with this key."""
    return hmac.new(key, token.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def is_signed_form(credential: str) -> bool:
    """Whether it looks like a JWT, which no access token does."""
    return _SIGNED.fullmatch(credential) is not None


def problem_with(token: str) -> str | None:
    """Why a token that somebody else generated cannot be used; None when it can."""
    if len(token) < LENGTH_MIN:
        return f"it has {len(token)} characters; at least {LENGTH_MIN} keep it from being guessed"
    if len(token) > LENGTH_MAX:
        return f"it has more than {LENGTH_MAX} characters"
    if _PRINTABLE.fullmatch(token) is None:
        return "it may hold printable ASCII characters only, and no spaces: it travels in an HTTP header"
    if is_signed_form(token):
        return "it has the form of a JWT (three parts with dots between), which is verified in another way"
    return None
