"""The issuer's keys: few fetches, whatever comes, and an outage that is not mistaken for a bad token."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent_memory_server.auth.issuer_keys import FRESH_S, KEPT_S, LOOK_AGAIN_S, IssuerKeys, usable_keys
from agent_memory_server.errors import IssuerUnavailable
from tests.token_issuer import TokenIssuer, ec_key, public_jwk, rsa_key, running_issuer


@dataclass
class Clock:
    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with running_issuer() as started:
        yield started


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: TokenIssuer, clock: Clock) -> IssuerKeys:
    return IssuerKeys(issuer=issuer.url, url=None, clock_s=clock)


async def test_a_crowd_costs_one_fetch(keys: IssuerKeys, issuer: TokenIssuer) -> None:
    """All who come first wait for the same answer."""
    found = await asyncio.gather(*(keys.key("rsa-1") for _ in range(50)))
    assert all(found)
    assert issuer.fetches == 1


async def test_a_new_key_is_found_a_minute_after_the_last_look_at_the_latest(
    keys: IssuerKeys, issuer: TokenIssuer, clock: Clock
) -> None:
    """A flood of unknown ids costs one fetch a minute, and the rotated key comes with it; the removed one is gone."""
    await keys.key("rsa-1")
    issuer.keys = [public_jwk(rsa_key("two"), "rsa-2")]
    for _ in range(20):
        assert await keys.key("rsa-2") is None
    assert issuer.fetches == 1
    clock.seconds += LOOK_AGAIN_S
    assert all(await asyncio.gather(*(keys.key("rsa-2") for _ in range(20))))
    assert await keys.key("rsa-1") is None
    assert issuer.fetches == 2


async def test_an_outage_is_not_a_bad_token(keys: IssuerKeys, issuer: TokenIssuer, clock: Clock) -> None:
    """Known keys go on for a day; a key that nobody knows cannot be judged; after the day nothing can."""
    await keys.key("rsa-1")
    issuer.down = True
    clock.seconds += FRESH_S + 1
    assert await keys.key("rsa-1") is not None
    await keys.close()
    with pytest.raises(IssuerUnavailable):
        await keys.key("rsa-2")
    clock.seconds += KEPT_S
    with pytest.raises(IssuerUnavailable):
        await keys.key("rsa-1")
    issuer.down = False
    clock.seconds += LOOK_AGAIN_S
    assert await keys.key("rsa-1") is not None


async def test_an_issuer_that_was_never_reached_is_tried_again_soon(
    keys: IssuerKeys, issuer: TokenIssuer, clock: Clock
) -> None:
    """Without any key, every five seconds."""
    issuer.down = True
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            await keys.key("rsa-1")
    issuer.down = False
    clock.seconds += 5
    assert await keys.key("rsa-1") is not None


async def test_keys_that_prove_nothing_are_left_out() -> None:
    """Shared secrets, keys for encryption, without an id, short or broken ones, and what is no key at all."""
    good = public_jwk(ec_key("one"), "good")
    found = usable_keys(
        {
            "keys": [
                {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
                {**public_jwk(rsa_key("one"), "encrypts"), "use": "enc"},
                {name: value for name, value in good.items() if name != "kid"},
                {
                    **public_jwk(rsa_key("one"), "short"),
                    "n": "sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1Wl",
                },
                {"kty": "EC", "kid": "broken"},
                "text",
                None,
                good,
            ]
        }
    )
    assert list(found) == ["good"]
    for document in ({}, {"keys": "x"}, {"keys": None}):
        with pytest.raises(ValueError, match="key set"):
            usable_keys(document)


async def test_metadata_of_another_issuer_is_not_believed(issuer: TokenIssuer) -> None:
    """The address with a slash at its end is another issuer than the one that the metadata names."""
    keys = IssuerKeys(issuer=issuer.url + "/", url=None)
    with pytest.raises(IssuerUnavailable):
        await keys.key("rsa-1")
