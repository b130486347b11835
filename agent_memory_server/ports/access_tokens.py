"""Access tokens of all tenants: who may use the server. They are looked up by digest, never scanned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from agent_memory_server.domain.access_tokens import AccessToken


class AccessTokenStore(Protocol):
    async def digest_key(self, proposed: bytes, /) -> bytes:
        """The key of all digests in this store, the same for every process; ``proposed`` becomes it when there is none."""
        ...

    async def add(self, token: AccessToken, /) -> bool:
        """False, and nothing is changed, when its id, digest or imported hash is there already."""
        ...

    async def find(self, digest: str, /) -> AccessToken | None:
        """The token with this digest, also an expired one."""
        ...

    async def list(self) -> Sequence[AccessToken]:
        """Every token, the newest first."""
        ...

    async def imported(self) -> Sequence[AccessToken]:
        """The tokens that are known by their imported hash alone, the newest first."""
        ...

    async def remove(self, token_id: str, /) -> bool:
        """Whether there was one. When this returns no process finds it."""
        ...

    async def adopt(self, token_id: str, /, *, digest: str) -> AccessToken | None:
        """An imported token has shown itself: it is found by ``digest`` from now on, and its imported hash is gone.

        The token as it is stored then; None when it was removed meanwhile.
        """
        ...

    async def note_use(self, token_id: str, /, *, digest: str, at: datetime) -> None:
        """Set the time of the last use, never back; nothing happens when the token is gone."""
        ...
