"""Proofs of the settings of authentication."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from agent_memory_server.app import open_app
from agent_memory_server.domain.identity import ANONYMOUS, Principal
from agent_memory_server.errors import ConfigurationError, NotAuthenticated
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.testing.language_model import ScriptedLanguageModel
from agent_memory_server.testing.running import running_app
from tests.setting_proofs.running import refused, settings_of
from tests.token_issuer import AUDIENCE, TokenIssuer, ec_key, running_issuer


async def _caller(folder: Path, credential: str | None, **values: Any) -> Principal | None:
    """Whom the credential stands for; None when it is refused."""
    async with open_app(settings_of(folder, **values)) as app:
        try:
            return await app.authentication.authenticate(credential)
        except NotAuthenticated:
            return None


def _oauth2(issuer: TokenIssuer) -> dict[str, Any]:
    return {"auth_mode": "oauth2", "oauth2_issuer_url": issuer.url, "oauth2_audience": AUDIENCE}


async def auth_mode(folder: Path) -> None:
    """token and oauth2 ask for a credential, disabled does not."""
    assert await _caller(folder, None, auth_mode="disabled") == ANONYMOUS
    assert await _caller(folder, None, auth_mode="token") is None
    with running_issuer() as issuer:
        assert await _caller(folder, None, **_oauth2(issuer)) is None


async def token_auth_enabled(folder: Path) -> None:
    """It asks for a credential, also beside settings that leave authentication off."""
    assert await _caller(folder, None, token_auth_enabled=True) is None
    assert await _caller(folder, None, token_auth_enabled=True, disable_auth=True, auth_mode="disabled") is None


async def disable_auth(folder: Path) -> None:
    """``false`` asks for a credential; ``true`` does not undo what another setting asks for."""
    assert await _caller(folder, None, disable_auth=False) is None
    assert await _caller(folder, None, disable_auth=True, auth_mode="token") is None
    assert await _caller(folder, None, disable_auth=True) == ANONYMOUS


async def oauth2_issuer_url(folder: Path) -> None:
    """Tokens of this issuer count and no others; it is needed, and it asks for a decision when it stands alone."""
    with running_issuer() as issuer, running_issuer() as other:
        found = await _caller(folder, issuer.token(), **_oauth2(issuer))
        assert found is not None
        assert found.subject == "oauth2:alice"
        assert await _caller(folder, other.token(), **_oauth2(issuer)) is None
    with pytest.raises(ConfigurationError, match="OAUTH2_ISSUER_URL"):
        await _caller(folder, None, auth_mode="oauth2", oauth2_audience=AUDIENCE)
    assert "AUTH_MODE" in refused(folder, "--port", "0", OAUTH2_ISSUER_URL="https://issuer.example")


async def oauth2_audience(folder: Path) -> None:
    """Tokens for another audience are refused; without one nothing starts."""
    with running_issuer() as issuer:
        settings = {**_oauth2(issuer), "oauth2_audience": "https://another.example"}
        assert await _caller(folder, issuer.token(), **settings) is None
        assert await _caller(folder, issuer.token(aud="https://another.example"), **settings) is not None
    with pytest.raises(ConfigurationError, match="OAUTH2_AUDIENCE"):
        await _caller(folder, None, auth_mode="oauth2", oauth2_issuer_url="https://issuer.example")


async def oauth2_jwks_url(folder: Path) -> None:
    """The keys are fetched from there, and the issuer is not asked."""
    with running_issuer() as issuer, running_issuer() as elsewhere:
        settings = {**_oauth2(issuer), "oauth2_jwks_url": f"{elsewhere.url}/keys"}
        assert await _caller(folder, issuer.token(), **settings) is not None
        assert (issuer.fetches, elsewhere.fetches) == (0, 1)


async def oauth2_algorithms(folder: Path) -> None:
    """Only these count, and none of them can be a shared secret."""
    with running_issuer() as issuer:
        token = jwt.encode(issuer.claims(), ec_key("one"), algorithm="ES256", headers={"kid": "ec-1"})
        assert await _caller(folder, token, **_oauth2(issuer)) is None
        assert await _caller(folder, token, **_oauth2(issuer), oauth2_algorithms=["ES256"]) is not None
        for unusable in ("HS256", "none", "RS1"):
            with pytest.raises(ConfigurationError, match="OAUTH2_ALGORITHMS"):
                await _caller(folder, token, **_oauth2(issuer), oauth2_algorithms=["RS256", unusable])


async def oauth2_tenant_claim(folder: Path) -> None:
    """It names the tenant; without the setting everybody is in the default one."""
    with running_issuer() as issuer:
        for values, tenant in (({}, "default"), ({"oauth2_tenant_claim": "org"}, "acme")):
            found = await _caller(folder, issuer.token(), **_oauth2(issuer), **values)
            assert found is not None
            assert found.tenant == tenant


async def oauth2_user_claim(folder: Path) -> None:
    """It binds the token to one user; a token without the claim is refused then."""
    with running_issuer() as issuer:
        for values, user in (({}, None), ({"oauth2_user_claim": "sub"}, "alice")):
            found = await _caller(folder, issuer.token(), **_oauth2(issuer), **values)
            assert found is not None
            assert found.user_id == user
        assert await _caller(folder, issuer.token(), **_oauth2(issuer), oauth2_user_claim="uid") is None


async def oauth2_namespace_claim(folder: Path) -> None:
    """It binds the token to one namespace."""
    with running_issuer() as issuer:
        for values, namespace in (({}, None), ({"oauth2_namespace_claim": "org"}, "acme")):
            found = await _caller(folder, issuer.token(), **_oauth2(issuer), **values)
            assert found is not None
            assert found.namespace == namespace


async def docs_public(folder: Path) -> None:
    """With authentication on the documentation needs a credential, unless it is public."""
    del folder
    for public, status in ((False, 401), (True, 200)):
        async with running_app(auth_mode="token", docs_public=public, background=False) as running:
            for path in ("/docs", "/redoc", "/openapi.json", "/docs-assets/favicon.png"):
                assert (await running.client.get(path)).status_code == status, path


async def rate_limit_requests_per_minute(folder: Path) -> None:
    """One more than the quota is told when to come back; another credential, and the health check, are not held up."""
    del folder
    async with running_app(auth_mode="token", rate_limit_requests_per_minute=3, background=False) as running:
        one, other = [(await running.app.access_tokens.add(description="d", actor="test"))[0] for _ in range(2)]
        path, client = "/v1/working-memory/", running.client
        answers = [await client.get(path, headers={"X-API-Key": one}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        assert (await client.get(path, headers={"X-API-Key": other})).status_code == 200
        assert (await client.get("/v1/health")).status_code == 200


async def rate_limit_model_tokens_per_hour(folder: Path) -> None:
    """What a caller's requests cost is counted; when it is used up they are told when to come back, and others go on."""
    del folder
    model = ScriptedLanguageModel()
    model.answer_with(lambda call: {"query": "tea"} if call.purpose is Purpose.QUERY else None)
    options: dict[str, Any] = {"auth_mode": "token", "rate_limit_model_tokens_per_hour": 1, "background": False}
    async with running_app(language_model=model, **options) as running:
        one, other = [(await running.app.access_tokens.add(description="d", actor="test"))[0] for _ in range(2)]

        async def searched(key: str, *, optimize: bool = True) -> httpx.Response:
            path = f"/v1/long-term-memory/search?optimize_query={str(optimize).lower()}"
            return await running.client.post(path, json={"text": "what about tea"}, headers={"X-API-Key": key})

        assert [(await searched(key)).status_code for key in (one, one, other)] == [200, 429, 200]
        assert int((await searched(one)).headers["retry-after"]) >= 1
        assert (await searched(one, optimize=False)).status_code == 200
