"""An issuer of signed tokens on loopback: its keys, its key set over HTTP, and tokens of every kind, good and bad."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "https://memory.example"


@functools.cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """One key for each name and test run: making one takes a while."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    del name
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str, **fields: str) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        described: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        described = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**described, "kid": kid, "use": "sig", **fields}


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class TokenIssuer:
    """``url`` is the issuer; ``down`` makes it answer 500; ``fetches`` counts requests for the key set."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [
            public_jwk(rsa_key("one"), "rsa-1", alg="RS256"),
            public_jwk(ec_key("one"), "ec-1", alg="ES256"),
        ]
        self.fetches = 0
        self.down = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a server is told to accept this issuer's tokens; the key set is found through its metadata."""
        return {
            "AUTH_MODE": "oauth2",
            "OAUTH2_ISSUER_URL": self.url,
            "OAUTH2_AUDIENCE": AUDIENCE,
            "OAUTH2_ALGORITHMS": '["RS256", "ES256"]',
            "OAUTH2_TENANT_CLAIM": "org",
            "OAUTH2_USER_CLAIM": "sub",
        }

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims that the server accepts, with changes; a change to None leaves the claim out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "alice",
            "org": "acme",
            "scope": "openid memory:read memory:write",
            "iat": now,
            "exp": now + 600,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, kid: str | None = "rsa-1", headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """A token of the RSA key that the key set shows."""
        header = {**({} if kid is None else {"kid": kid}), **(headers or {})}
        return jwt.encode(self.claims(**changes), rsa_key("one"), algorithm="RS256", headers=header)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers: dict[str, Any] = {
                    "/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                    "/keys": {"keys": issuer.keys},
                }
                issuer.fetches += self.path == "/keys"
                body = json.dumps(answers.get(self.path, {})).encode()
                self.send_response(500 if issuer.down else 200 if self.path in answers else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@contextlib.contextmanager
def running_issuer() -> Generator[TokenIssuer]:
    issuer = TokenIssuer()
    issuer.start()
    try:
        yield issuer
    finally:
        issuer.stop()


def part(value: Any) -> str:
    """One part of a token: the value as JSON (bytes as they are), encoded."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed_by_hand(header: Any, claims: Any, key: rsa.RSAPrivateKey | bytes) -> str:
    """A token with any header, signed by RS256, or by HS256 when the key is bytes."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    said = f"{part(header)}.{part(claims)}"
    if isinstance(key, bytes):
        signature = hmac.new(key, said.encode(), hashlib.sha256).digest()
    else:
        signature = key.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{said}.{part(signature)}"
