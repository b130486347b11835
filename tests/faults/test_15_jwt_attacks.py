"""Check 15: tokens that must not open anything, sent to a real server process with a real issuer beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.server_process import ServerProcess
from tests.token_issuer import (
    TokenIssuer,
    ec_key,
    part,
    public_jwk,
    public_pem,
    rsa_key,
    running_issuer,
    signed_by_hand,
)

PATH = "/v1/working-memory/"
Forge = Callable[[TokenIssuer], str]
HEADER = {"alg": "RS256", "typ": "JWT", "kid": "rsa-1"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[TokenIssuer]:
    with running_issuer() as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: TokenIssuer) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("oauth2") / "data", environment=issuer.environment) as started:
        yield started


def asked(server: ServerProcess, token: str, path: str = PATH) -> httpx.Response:
    with server.client() as client:
        return client.get(path, headers={"Authorization": f"Bearer {token}"})


def _tampered(issuer: TokenIssuer) -> str:
    header, _, signature = issuer.token().split(".")
    return f"{header}.{part(issuer.claims(sub='bob'))}.{signature}"


def _duplicate_claim(issuer: TokenIssuer) -> str:
    body = json.dumps(issuer.claims()).encode()
    return signed_by_hand(HEADER, b'{"sub":"bob",' + body[1:], rsa_key("one"))


def _by_hand(**changes: Any) -> Forge:
    return lambda issuer: signed_by_hand({**HEADER, **changes}, issuer.claims(), rsa_key("one"))


def _good_with(**changes: Any) -> Forge:
    return lambda issuer: issuer.token(**changes)


NOW = int(time.time())
ATTACKS: dict[str, Forge] = {
    "alg none": lambda issuer: f"{part({'alg': 'none', 'kid': 'rsa-1'})}.{part(issuer.claims())}.",
    "alg None": lambda issuer: f"{part({'alg': 'None', 'kid': 'rsa-1'})}.{part(issuer.claims())}.",
    "alg none with the signature": lambda issuer: (
        f"{part({'alg': 'none', 'kid': 'rsa-1'})}.{part(issuer.claims())}.{issuer.token().split('.')[2]}"
    ),
    "alg is a list": _by_hand(alg=["RS256"]),
    "alg missing": lambda issuer: signed_by_hand({"kid": "rsa-1"}, issuer.claims(), rsa_key("one")),
    "HMAC with the public key": lambda issuer: signed_by_hand(
        {"alg": "HS256", "kid": "rsa-1"}, issuer.claims(), public_pem(rsa_key("one"))
    ),
    "HMAC said to be RS256": lambda issuer: signed_by_hand(HEADER, issuer.claims(), public_pem(rsa_key("one"))),
    "an algorithm that is not allowed": lambda issuer: jwt.encode(
        issuer.claims(), rsa_key("one"), algorithm="PS256", headers={"kid": "rsa-1"}
    ),
    "EC signature under an RSA key": lambda issuer: jwt.encode(
        issuer.claims(), ec_key("one"), algorithm="ES256", headers={"kid": "rsa-1"}
    ),
    "RSA named for an EC key": _by_hand(kid="ec-1"),
    "signature empty": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "signature stripped": lambda issuer: issuer.token().rpartition(".")[0],
    "signature of zeros": lambda issuer: issuer.token().rpartition(".")[0] + "." + "A" * 342,
    "tampered": _tampered,
    "signed by another key": lambda issuer: jwt.encode(
        issuer.claims(), rsa_key("two"), algorithm="RS256", headers={"kid": "rsa-1"}
    ),
    "own key in the header": lambda issuer: jwt.encode(
        issuer.claims(),
        rsa_key("two"),
        algorithm="RS256",
        headers={"kid": "rsa-1", "jwk": public_jwk(rsa_key("two"), "rsa-1")},
    ),
    "keys from elsewhere": lambda issuer: jwt.encode(
        issuer.claims(), rsa_key("two"), algorithm="RS256", headers={"kid": "x", "jku": "http://127.0.0.1:9/keys"}
    ),
    "expired": _good_with(exp=NOW - 120),
    "expired long ago": _good_with(exp=1),
    "exp is text": _good_with(exp="tomorrow"),
    "exp is endless": _good_with(exp=1e400),
    "no exp": _good_with(exp=None),
    "not yet valid": _good_with(nbf=NOW + 3600),
    "issued in the future": _good_with(iat=NOW + 3600),
    "wrong issuer": _good_with(iss="https://elsewhere.example"),
    "no issuer": _good_with(iss=None),
    "issuer with a slash": lambda issuer: issuer.token(iss=issuer.url + "/"),
    "wrong audience": _good_with(aud="https://other.example"),
    "audience empty": _good_with(aud=[]),
    "no audience": _good_with(aud=None),
    "no subject": _good_with(sub=None),
    "subject blank": _good_with(sub=" "),
    "subject is a number": _good_with(sub=7),
    "no tenant": _good_with(org=None),
    "tenant is a list": _good_with(org=["acme", "globex"]),
    "no kid": _good_with(kid=None),
    "unknown kid": _good_with(kid="nobody's"),
    "path as kid": _good_with(kid="../../../../dev/null"),
    "URL as kid": _good_with(kid="http://127.0.0.1:9/keys"),
    "SQL as kid": _good_with(kid="' UNION SELECT 'secret' --"),
    "kid is a number": _by_hand(kid=1),
    "kid is endless": _good_with(kid="k" * 5_000),
    "unknown crit": _by_hand(crit=["exp2"], exp2=1),
    "crit empty": _by_hand(crit=[]),
    "b64 false": _by_hand(b64=False, crit=["b64"]),
    "a claim stands twice": _duplicate_claim,
    "alg stands twice": lambda issuer: signed_by_hand(
        b'{"alg":"none","kid":"rsa-1","alg":"RS256"}', issuer.claims(), rsa_key("one")
    ),
    "header is no JSON": lambda issuer: signed_by_hand(b"not json", issuer.claims(), rsa_key("one")),
    "header is a list": lambda issuer: signed_by_hand([], issuer.claims(), rsa_key("one")),
    "header nested deep": lambda issuer: signed_by_hand(b"[" * 5_000, issuer.claims(), rsa_key("one")),
    "claims are a list": lambda issuer: signed_by_hand(HEADER, [1], rsa_key("one")),
    "claims are not UTF-8": lambda issuer: signed_by_hand(HEADER, b"\xff\xfe{}", rsa_key("one")),
    "64 kB": lambda issuer: issuer.token(padding="x" * 48_000),
    "64 kB of nothing": lambda issuer: "a" * 65_536,
    "five parts": lambda issuer: issuer.token() + ".x.y",
    "no token at all": lambda issuer: "undefined",
    "two dots": lambda issuer: "..",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_check_15_a_forged_token_opens_nothing(server: ServerProcess, issuer: TokenIssuer, name: str) -> None:
    """401 with the same words whatever was wrong, and nothing of the inside."""
    answer = asked(server, ATTACKS[name](issuer))
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    body = answer.json()
    assert body["detail"] == "Invalid token"
    assert set(body) == {"type", "title", "status", "detail", "instance"}


def test_check_15_good_tokens_work(server: ServerProcess, issuer: TokenIssuer) -> None:
    """RS256 and ES256; audience in a list; permissions in scope, scp or permissions; a clock that is a little off."""
    good = {
        "RS256": issuer.token(),
        "ES256": jwt.encode(issuer.claims(), ec_key("one"), algorithm="ES256", headers={"kid": "ec-1"}),
        "several audiences": issuer.token(aud=["https://other.example", issuer.claims()["aud"]]),
        "scp": issuer.token(scope=None, scp=["memory:read"]),
        "permissions": issuer.token(scope=None, permissions=["memory:admin"]),
        "just expired": issuer.token(exp=int(time.time()) - 5),
        "issued a moment ahead": issuer.token(iat=int(time.time()) + 5),
    }
    for name, token in good.items():
        assert asked(server, token).status_code == 200, name


def test_check_15_a_token_in_the_url_is_not_one(server: ServerProcess, issuer: TokenIssuer) -> None:
    """URLs end in logs and histories: a token there counts as none."""
    with server.client() as client:
        for name in ("access_token", "token", "api_key", "authorization"):
            answer = client.get(PATH, params={name: issuer.token()})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), name


def test_two_credentials_are_none(server: ServerProcess, issuer: TokenIssuer) -> None:
    """Which of two counts must not depend on who reads them."""
    with server.client() as client:
        headers = [("Authorization", f"Bearer {issuer.token()}"), ("Authorization", "Bearer x")]
        assert client.get(PATH, headers=headers).status_code == 401


def test_scopes_say_what_a_token_may_do(server: ServerProcess, issuer: TokenIssuer) -> None:
    """Without memory:read nothing can be read, without memory:write nothing written: 403 that names the scope."""
    reader = issuer.token(scope="memory:read openid")
    nothing = issuer.token(scope="openid memory:reader read")
    with server.client() as client:
        for token, method, path, status, scope in (
            (reader, "GET", PATH, 200, None),
            (reader, "PUT", "/v1/working-memory/s", 403, "memory:write"),
            (nothing, "GET", PATH, 403, "memory:read"),
            (reader, "POST", "/v1/long-term-memory/compact", 403, "memory:admin"),
        ):
            answer = client.request(method, path, headers={"Authorization": f"Bearer {token}"}, content=b"not json")
            assert answer.status_code == status, answer.text
            if scope is not None:
                challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
                assert answer.headers["www-authenticate"] == challenge


def test_claims_decide_whose_memories(server: ServerProcess, issuer: TokenIssuer) -> None:
    """The tenant and the user of the token: the same session id is another session for everybody else."""
    with server.client() as client:

        def headers(**changes: Any) -> dict[str, str]:
            return {"Authorization": f"Bearer {issuer.token(**changes)}"}

        path = "/v1/working-memory/claims"
        assert client.put(path, json={"context": "alice's"}, headers=headers()).json()["user_id"] == "alice"
        assert client.get(path, headers=headers()).json()["context"] == "alice's"
        for changes in ({"sub": "bob"}, {"org": "globex"}):
            assert client.get(path, headers=headers(**changes)).status_code == 404, changes


class TestTheIssuersKeys:
    def test_rotation_outage_and_flood(self, tmp_path: Path) -> None:
        """A new key is found at once; a flood of unknown ones costs one fetch; without the issuer known keys go on, and what
        cannot be said is 503 and not 401."""
        with running_issuer() as issuer, ServerProcess(tmp_path / "data", environment=issuer.environment) as server:
            issuer.down = True
            unsaid = asked(server, issuer.token())
            assert (unsaid.status_code, unsaid.headers["retry-after"]) == (503, "5")
            issuer.down = False
            # The first look failed: the next one is five seconds later.
            deadline = time.monotonic() + 15
            while asked(server, issuer.token()).status_code == 503:
                assert time.monotonic() < deadline, "the keys were not fetched again"
            fetched = issuer.fetches
            issuer.keys.append(public_jwk(rsa_key("two"), "rsa-2"))
            issuer.down = True
            rotated = jwt.encode(issuer.claims(), rsa_key("two"), algorithm="RS256", headers={"kid": "rsa-2"})
            with server.client() as client:
                for number in range(50):
                    headers = {"Authorization": f"Bearer {issuer.token(kid=f'unknown-{number}')}"}
                    assert client.get(PATH, headers=headers).status_code in (401, 503)
            assert issuer.fetches - fetched <= 1
            assert asked(server, issuer.token()).status_code == 200, "a known key must go on without the issuer"
            assert asked(server, rotated).status_code in (401, 503)
