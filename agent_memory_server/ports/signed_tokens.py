"""Tokens that somebody else signed (JWT): verified by the issuer's keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class SignedTokens(Protocol):
    async def claims(self, token: str, /) -> Mapping[str, Any]:
        """What the issuer says, once signature, issuer, audience and times were checked.

        Raises NotAuthenticated (one sentence for every reason), IssuerUnavailable when the keys cannot be had.
        """
        ...

    async def close(self) -> None: ...
