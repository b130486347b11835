"""What the claims of a verified token mean: a principal, or a refusal, never more than the claims say."""

from __future__ import annotations

from typing import Any

import pytest

from agent_memory_server.domain.access_tokens import is_signed_form, problem_with
from agent_memory_server.domain.claims import ClaimsMapping, permissions_in, principal_from
from agent_memory_server.domain.identity import Permission, Principal
from agent_memory_server.errors import NotAuthenticated

BOUND = ClaimsMapping(tenant="org", user_id="sub", namespace="team")
CLAIMS: dict[str, Any] = {"sub": "alice", "org": "acme", "team": "red", "scope": "memory:read"}


def test_claims_become_a_principal() -> None:
    """Only the claims that settings name bind; a subject cannot pass for a token of the store."""
    bound = principal_from(CLAIMS, BOUND)
    assert bound == Principal(
        subject="oauth2:alice",
        tenant="acme",
        namespace="red",
        user_id="alice",
        permissions=frozenset({Permission.READ}),
    )
    plain = principal_from({**CLAIMS, "sub": "token:1"}, ClaimsMapping())
    assert (plain.subject, plain.tenant, plain.namespace, plain.user_id) == ("oauth2:token:1", "default", None, None)


@pytest.mark.parametrize("name", ["sub", "org", "team"])
@pytest.mark.parametrize("value", [None, "", " ", 7, True, ["acme"], {"a": 1}, "x" * 513, "a\0b"])
def test_a_claim_that_binds_must_be_text(name: str, value: Any) -> None:
    """Missing, blank, too long or of another type: refused, and never taken as "not bound"."""
    claims = {key: each for key, each in {**CLAIMS, name: value}.items() if each is not None}
    with pytest.raises(NotAuthenticated):
        principal_from(claims, BOUND)


SCOPES: list[tuple[dict[str, Any], str]] = [
    ({"scope": "openid memory:read  memory:write"}, "read write"),
    ({"scp": ["memory:write"]}, "write"),
    ({"permissions": ["memory:admin", 7, None]}, "admin"),
    ({"scope": "memory:read", "scp": ["memory:admin"]}, "admin read"),
    ({"scope": "read write admin memory:* MEMORY:READ memory:reader xmemory:read"}, ""),
    ({"scope": {"memory:read": True}, "scp": 7}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("claims", "expected"), SCOPES)
def test_permissions_are_exact_scopes(claims: dict[str, Any], expected: str) -> None:
    """As text with spaces, or as a list; nothing that only looks alike."""
    assert {each.value for each in permissions_in(claims)} == set(expected.split())


def test_permissions_include_one_another() -> None:
    """Who administers may write, and who writes may read; without any nothing may be done."""
    for scope, expected in (("admin", set(Permission)), ("write", {Permission.READ, Permission.WRITE})):
        caller = principal_from({**CLAIMS, "scope": f"memory:{scope}"}, BOUND)
        assert caller.permissions == expected
    assert principal_from({**CLAIMS, "scope": ""}, BOUND).permissions == frozenset()


def test_tokens_and_jwts_are_told_apart_by_their_form() -> None:
    """What is looked up in the store can never be taken for something signed."""
    assert is_signed_form("eyJhbGciOiJub25lIn0.e30.")
    assert is_signed_form("a.b.c")
    assert not is_signed_form("a.b")
    assert not is_signed_form("a" * 43)
    assert problem_with("a" * 32) is None
    assert "JWT" in (problem_with(f"{'a' * 20}.{'b' * 20}.{'c' * 20}") or "")
