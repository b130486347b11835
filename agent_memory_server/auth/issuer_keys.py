"""The public keys of an issuer (JWKS): fetched without holding up anything, kept, and fetched anew when they may have changed.

However many requests come, at most one fetch is under way, and for keys that nobody knows at most one a minute. While the
issuer is out of reach the keys that were fetched go on for a day.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from agent_memory_server.errors import IssuerUnavailable

FRESH_S = 600.0
"""How long keys are used before they are fetched again, beside the requests that use them."""
KEPT_S = 24 * 3600.0
"""How long keys are used when they cannot be fetched."""
LOOK_AGAIN_S = 60.0
"""Between two fetches for a key that is not there, and between two attempts at an issuer that does not answer."""
FIRST_AGAIN_S = 5.0
"""Between two attempts while there are no keys at all."""
_FETCH_LIMIT_S = 5.0
_BYTES_MAX = 1024 * 1024
_KEYS_MAX = 100
_RSA_BITS_MIN = 2048

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One public key. ``algorithm``: the only one that the issuer uses it for, None when it does not say."""

    public: Any
    kind: str
    algorithm: str | None


class IssuerKeys:
    """``key(kid)`` for the issuer's signing keys. ``url`` None: as the issuer's metadata says."""

    def __init__(
        self,
        *,
        issuer: str,
        url: str | None,
        clock_s: Callable[[], float] = time.monotonic,
        limit_s: float = _FETCH_LIMIT_S,
    ) -> None:
        self._issuer = issuer
        self._url = url
        self._clock_s = clock_s
        self._limit_s = limit_s
        self._keys: Mapping[str, IssuerKey] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._last_try_failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> IssuerKey | None:
        """The key with this id; None when the issuer has none. Raises IssuerUnavailable when that cannot be said."""
        found = self._keys.get(kid)
        age_s = self._age_s()
        if found is not None and age_s < KEPT_S:
            if age_s > FRESH_S and self._may_try(LOOK_AGAIN_S):
                self._fetch()
            return found
        if self._fetching is not None or self._may_try(LOOK_AGAIN_S if self._keys else FIRST_AGAIN_S):
            await asyncio.shield(self._fetching or self._fetch())
        if self._last_try_failed or self._age_s() >= KEPT_S:
            raise IssuerUnavailable("the keys of the token issuer cannot be fetched at the moment", retry_after_s=5)
        return self._keys.get(kid)

    async def close(self) -> None:
        if self._fetching is not None:
            await asyncio.wait([self._fetching])

    def _age_s(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock_s() - self._fetched_at

    def _may_try(self, pause_s: float) -> bool:
        return self._fetching is None and (self._tried_at is None or self._clock_s() - self._tried_at >= pause_s)

    def _fetch(self) -> asyncio.Task[None]:
        self._tried_at = self._clock_s()
        task = self._fetching = asyncio.create_task(self._fetched(), name="fetch the issuer's keys")
        return task

    async def _fetched(self) -> None:
        try:
            self._keys = await asyncio.to_thread(self._load)
            self._fetched_at = self._clock_s()
            self._last_try_failed = False
        except (OSError, ValueError) as error:
            # Which address and why is for the operator; whoever asks learns that it cannot be said now.
            self._last_try_failed = True
            _log.warning("the issuer's keys could not be fetched", issuer=self._issuer, error=str(error)[:300])
        finally:
            self._tried_at = self._clock_s()
            self._fetching = None

    def _load(self) -> Mapping[str, IssuerKey]:
        return usable_keys(_json_at(self._url or self._discovered(), self._limit_s))

    def _discovered(self) -> str:
        base = self._issuer.rstrip("/")
        try:
            metadata = _json_at(f"{base}/.well-known/openid-configuration", self._limit_s)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return f"{base}/.well-known/jwks.json"
        url = metadata.get("jwks_uri")
        if metadata.get("issuer") != self._issuer or not isinstance(url, str):
            raise ValueError("the issuer's metadata names another issuer, or no jwks_uri")
        return url


def usable_keys(document: Mapping[str, Any]) -> Mapping[str, IssuerKey]:
    """The public signing keys by their id; secrets, keys for encryption, short and broken ones are left out.

    Raises ValueError when the document is no key set.
    """
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise ValueError("the issuer answered something that is not a key set")
    keys: dict[str, IssuerKey] = {}
    for each in listed[:_KEYS_MAX]:  # pyright: ignore[reportUnknownVariableType]
        kid, key = _usable(each)
        if kid is not None and key is not None:
            keys[kid] = key
    return keys


def _usable(described: Any) -> tuple[str | None, IssuerKey | None]:
    if not isinstance(described, dict):
        return None, None
    fields: dict[str, Any] = {str(name): value for name, value in described.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    kid = fields.get("kid")
    if not isinstance(kid, str) or fields.get("kty") not in ("RSA", "EC", "OKP") or fields.get("use", "sig") != "sig":
        return None, None
    try:
        public: Any = jwt.PyJWK(fields).key
    except (jwt.PyJWTError, ValueError):
        return None, None
    if isinstance(public, RSAPublicKey) and public.key_size < _RSA_BITS_MIN:
        return None, None
    algorithm = fields.get("alg")
    return kid, IssuerKey(public, fields["kty"], algorithm if isinstance(algorithm, str) else None)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Keys come from where the operator said and from nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _json_at(url: str, limit_s: float) -> Mapping[str, Any]:
    if not url.startswith(("https://", "http://")):
        raise ValueError("keys are fetched over https only")
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
    with _OPENER.open(request, timeout=limit_s) as response:
        body = response.read(_BYTES_MAX + 1)
    if len(body) > _BYTES_MAX:
        raise ValueError("the issuer answered more than a megabyte")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the issuer answered something that is not a JSON object")
    return document  # pyright: ignore[reportUnknownVariableType]
