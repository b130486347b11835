"""The composition root's part about who may use the server."""

from __future__ import annotations

from agent_memory_server.config import AuthMode, Settings
from agent_memory_server.domain.claims import ClaimsMapping
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.services.access_tokens import AccessTokenService
from agent_memory_server.services.audit import Audit
from agent_memory_server.services.authentication import Authentication, Signed
from agent_memory_server.services.quotas import RequestQuota


def check_authentication(settings: Settings) -> None:
    """Raises ConfigurationError with what to change when authentication is asked for and cannot be done."""
    named = settings.oauth2_issuer_url is not None or settings.oauth2_jwks_url is not None
    if named and settings.auth_mode is not AuthMode.OAUTH2 and "auth_mode" not in settings.model_fields_set:
        raise ConfigurationError(
            "OAUTH2_ISSUER_URL or OAUTH2_JWKS_URL is set, but AUTH_MODE is not: set AUTH_MODE=oauth2 to check tokens, or "
            "AUTH_MODE=disabled if you really want no authentication."
        )
    if settings.authentication_mode is not AuthMode.OAUTH2:
        return
    if settings.oauth2_issuer_url is None:
        raise ConfigurationError("AUTH_MODE=oauth2 needs OAUTH2_ISSUER_URL: whose tokens are accepted.")
    if settings.oauth2_audience is None:
        raise ConfigurationError(
            "AUTH_MODE=oauth2 needs OAUTH2_AUDIENCE: what the tokens' aud says for this server. Without it tokens that were "
            "made for other services would open this one."
        )


def open_authentication(settings: Settings, tokens: AccessTokenService, audit: Audit) -> Authentication:
    """As the settings ask for it; off only when none of them asks."""
    mode = settings.authentication_mode
    return Authentication(
        tokens=None if mode is AuthMode.DISABLED else tokens,
        signed=_signed(settings) if mode is AuthMode.OAUTH2 else None,
        audit=audit,
        quota=RequestQuota(settings.rate_limit_requests_per_minute),
    )


def _signed(settings: Settings) -> Signed:
    # Only who uses it pays for loading it.
    from agent_memory_server.auth.jwt_tokens import JwtTokens

    assert settings.oauth2_issuer_url is not None
    assert settings.oauth2_audience is not None
    mapping = ClaimsMapping(
        tenant=settings.oauth2_tenant_claim,
        user_id=settings.oauth2_user_claim,
        namespace=settings.oauth2_namespace_claim,
    )
    tokens = JwtTokens(
        issuer=settings.oauth2_issuer_url,
        audience=settings.oauth2_audience,
        algorithms=settings.oauth2_algorithms,
        jwks_url=settings.oauth2_jwks_url,
    )
    return Signed(tokens=tokens, mapping=mapping)
