"""Signed tokens (JWT, RFC 7519) of one issuer, verified with its public keys. Every refusal is the same sentence.

What a token says about its own verification is not believed: the algorithm must be one that the operator allows and that
belongs to the key, the key is one of the issuer's, and nothing in the header leads anywhere else.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from agent_memory_server.auth.issuer_keys import IssuerKeys
from agent_memory_server.errors import ConfigurationError, NotAuthenticated

LEEWAY_S = 30
"""How far the issuer's clock may be off."""
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""What OAUTH2_ALGORITHMS may name: signatures by a private key. A shared secret, or none, would let anybody sign."""
_KID_LENGTH_MAX = 512


class JwtTokens:
    """``ports.signed_tokens.SignedTokens``. Raises ConfigurationError for algorithms that prove nothing."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        jwks_url: str | None,
        keys: IssuerKeys | None = None,
    ) -> None:
        unusable = sorted(set(algorithms) - ALGORITHMS)
        if unusable or not algorithms:
            raise ConfigurationError(
                f"OAUTH2_ALGORITHMS cannot hold {', '.join(unusable) or 'nothing'}: use some of {', '.join(sorted(ALGORITHMS))}."
            )
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._keys = keys or IssuerKeys(issuer=issuer, url=jwks_url)

    async def claims(self, token: str, /) -> Mapping[str, Any]:
        """Raises NotAuthenticated, IssuerUnavailable."""
        algorithm, kid = self._header_of(token)
        key = await self._keys.key(kid)
        if key is None or key.kind != _KEY_TYPES[algorithm[:2]] or key.algorithm not in (None, algorithm):
            raise _refused()
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"], "strict_aud": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise _refused() from error
        return claims

    async def close(self) -> None:
        await self._keys.close()

    def _header_of(self, token: str) -> tuple[str, str]:
        """Algorithm and key id, of a token whose parts are plain JSON objects."""
        header, claims, _ = token.split(".")
        fields = _object(header)
        # Names that stand twice would mean one thing here and another to whoever reads the token next.
        _object(claims)
        algorithm, kid = fields.get("alg"), fields.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _refused()
        if not isinstance(kid, str) or not 0 < len(kid) <= _KID_LENGTH_MAX:
            raise _refused()
        # We understand no critical extension, and a payload is always base64.
        if "crit" in fields or "b64" in fields:
            raise _refused()
        return algorithm, kid


def _object(part: str) -> Mapping[str, Any]:
    try:
        value = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _refused() from error
    if not isinstance(value, dict):
        raise _refused()
    return value  # pyright: ignore[reportUnknownVariableType]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused() -> NotAuthenticated:
    return NotAuthenticated("Invalid token", was_given=True)
